"""One version for everything: the root pyproject.toml has it, everything else takes it from there."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from pricecast_operator.render.pods import RenderOptions

ROOT = Path(__file__).parents[3]
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = WORKSPACE["project"]["version"]
MEMBERS = [path for member in WORKSPACE["tool"]["uv"]["workspace"]["members"] for path in sorted(ROOT.glob(member))]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_each_package_takes_the_version_from_the_root(member: Path) -> None:
    package = tomllib.loads((member / "pyproject.toml").read_text())
    assert "version" not in package["project"]
    assert (member / package["tool"]["hatch"]["version"]["path"]).resolve() == ROOT / "pyproject.toml"
    assert metadata.version(package["project"]["name"]) == VERSION


def test_the_chart_and_the_images_have_it_too() -> None:
    chart = yaml.safe_load((ROOT / "charts" / "pricecast" / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
    assert RenderOptions().image_of("trades") == f"pricecast/trades:{VERSION}"
