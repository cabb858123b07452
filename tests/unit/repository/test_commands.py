"""What the commands of the project promise: the hooks of a commit check what continuous integration checks."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
MAKEFILE = (ROOT / "Makefile").read_text()


def test_pre_commit_runs_what_lint_and_types_run() -> None:
    recipes = re.search(r"^lint: .*?\n\n", MAKEFILE, re.M | re.S), re.search(r"^types: .*?\n\n", MAKEFILE, re.M | re.S)
    made = {line for recipe in recipes if recipe for line in re.findall(r"^\t\$\(RUN\) (.*)$", recipe[0], re.M)}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    hooked = {hook["entry"].removeprefix("uv run --no-sync ") for hook in hooks}
    assert {plain(command) for command in made} == {plain(command) for command in hooked}


def plain(command: str) -> str:
    """Returns a command without what differs between checking and mending."""
    return command.removesuffix(" --fix").removesuffix(" --check").partition(" --python-version")[0]


def test_continuous_integration_runs_targets_that_are_there() -> None:
    steps = re.findall(r'^step "make ([\w-]+)"', (ROOT / ".ci" / "run").read_text(), re.M)
    assert steps
    assert all(re.search(rf"^{step}:", MAKEFILE, re.M) for step in steps)
