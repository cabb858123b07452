"""Commands that the testbed runs to fetch and build, with their output where it explains a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pricecast_testbed import cache


class TestbedError(Exception):
    """The testbed can't provide something; the message says what and what to do about it."""

    __test__ = False  # pytest collects classes that are named Test*


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    user: int | None = None,
) -> str:
    """Runs a command to its end and returns what it printed.

    Args:
        command: Program and arguments.
        cwd: Folder to run in.
        env: What is added to this process's environment.
        stdin: What the command reads.
        user: Number of the user and of the group to run as; None for this process's.

    Raises:
        TestbedError: It isn't there or it failed; with the end of what it printed.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except FileNotFoundError:
        raise TestbedError(f"{words[0]} is not installed") from None
    if done.returncode != 0:
        shown = textwrap.shorten(" ".join(words), 300, placeholder=" ...")
        raise TestbedError(f"{shown} failed with status {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def say(text: str) -> None:
    """Tells the person who waits what is being fetched or built, and since when."""
    print(f"testbed {time.strftime('%X')}: {text}", file=sys.stderr, flush=True)


def apt_install(*packages: str, provides: Sequence[str] = ()) -> None:
    """Installs Debian packages, unless the commands they provide are all there.

    Raises:
        TestbedError: Not allowed to, or apt failed.
    """
    if provides and all(find(command) for command in provides):
        return
    if os.geteuid() != 0:
        raise TestbedError(f"needs {' '.join(packages)}: run `sudo apt-get install {' '.join(packages)}`")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with cache.locked("apt"):  # apt itself gives up where another one runs
        if provides and all(find(command) for command in provides):
            return
        say(f"installing {' '.join(packages)}")
        run(["apt-get", "update", "-qq"], env=quiet)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], env=quiet)


def find(command: str) -> str | None:
    """Returns the path of a command, looking where administrators' commands are as well."""
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def pip_install(requirement: str, target: Path) -> None:
    """Installs one Python package without its dependencies into a folder of its own."""
    uv = os.environ.get("UV") or find("uv")  # `uv run` says where it is: it need not be on the PATH
    if uv:
        run(
            [
                uv,
                "pip",
                "install",
                "--quiet",
                "--python",
                sys.executable,
                "--no-deps",
                "--target",
                target,
                requirement,
            ]
        )
    else:
        run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, requirement])
