"""Writes what the chart and docs/ hold of generated files: `make crds`.

`python -m pricecast_operator.generate --check` fails where a file is out of date.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from pricecast_operator import monitoring
from pricecast_operator.crds import files as crd_files

ROOT = crd_files.ROOT
CHART = ROOT / "charts" / "pricecast" / "Chart.yaml"


def files() -> dict[Path, str]:
    """Returns each generated file and what belongs into it."""
    return {**crd_files.files(), **monitoring.files(ROOT / "charts" / "pricecast" / "files"), CHART: chart()}


def chart() -> str:
    """Returns Chart.yaml with the version of the repository's pyproject.toml as its own and its images'."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return re.sub(r"(?m)^(version|appVersion): .*$", rf"\1: {version}", CHART.read_text())


def main() -> int:
    """Writes the files, or with `--check` names those that are out of date."""
    wanted = files()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        if stale:
            names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
            sys.stderr.write(f"out of date: {names}; run `make crds`\n")
        return int(bool(stale))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
