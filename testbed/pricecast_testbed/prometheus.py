"""Prometheus and promtool, which check our rules and scrape our metrics in tests: Debian's build of them."""

from __future__ import annotations

from pathlib import Path

from pricecast_testbed import cache
from pricecast_testbed.shell import find, run, say


def promtool() -> Path:
    """Returns the path of `promtool`."""
    return _command("promtool")


def prometheus() -> Path:
    """Returns the path of the Prometheus server."""
    return _command("prometheus")


def _command(name: str) -> Path:
    if (installed := find(name)) is not None:
        return Path(installed)
    return cache.made("prometheus-debian", _unpack) / "usr" / "bin" / name


def _unpack(target: Path) -> None:
    """Unpacks the package instead of installing it: needs no root and starts no daemon."""
    say("fetching prometheus")
    if not list(Path("/var/lib/apt/lists").glob("*_Packages*")):
        run(["apt-get", "update", "-qq"])
    run(["apt-get", "download", "-qq", "prometheus"], cwd=target)
    for package in target.glob("prometheus_*.deb"):
        run(["dpkg-deb", "-x", package, target])
        package.unlink()
