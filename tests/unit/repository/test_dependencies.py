"""What a program installs, as uv.lock has it: neither the operator nor the CLI brings along what only the other needs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

LOCK = Path(__file__).parents[3] / "uv.lock"
PACKAGES: dict[str, dict[str, Any]] = {one["name"]: one for one in tomllib.loads(LOCK.read_text())["package"]}


def needed_by(name: str) -> set[str]:
    found: set[tuple[str, str]] = set()
    rest = [(name, "")]
    while rest:
        package, extra = rest.pop()
        if (package, extra) in found:
            continue
        found.add((package, extra))
        told = PACKAGES[package]
        for one in told.get("optional-dependencies", {}).get(extra, []) if extra else told.get("dependencies", []):
            rest += [(one["name"], each) for each in ("", *one.get("extra", []))]
    return {package for package, _ in found}


@pytest.mark.parametrize(
    ("program", "own", "others"),
    [
        ("pricecast-operator", {"kopf", "kubernetes"}, {"typer", "rich", "psutil", "polars", "pricecast-cli"}),
        ("pricecast-cli", {"typer", "polars"}, {"kopf", "kubernetes", "pricecast-operator"}),
    ],
)
def test_a_program_installs_nothing_that_only_the_other_needs(program: str, own: set[str], others: set[str]) -> None:
    needed = needed_by(program)
    assert own <= needed
    assert not others & needed
