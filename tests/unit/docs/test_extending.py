"""The pages on extending are true: each one's change is made in a copy, touches the files it lists, and works.

A page lists the files to touch in the first column of its table, makes the change as a `diff`, and ends with the
commands (`sh`) that regenerate what follows from it and test it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "extending").glob("*.md"))
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["mypy_path"]


def apply(diff: str, folder: Path) -> None:
    """Makes the change that a diff shows. Its hunks name no lines: what they replace is there once."""
    for file in re.split(r"^--- .*\n", diff, flags=re.M)[1:]:
        head, *hunks = re.split(r"^@@.*\n", file, flags=re.M)
        path = folder / head.removeprefix("+++ b/").strip()
        text = path.read_text() if path.exists() else ""
        for hunk in hunks:
            lines = hunk.splitlines(keepends=True)
            old, new = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
            assert text.count(old) == 1 or not text, f"{path.name} holds this {text.count(old)} times:\n{old}"
            text = text.replace(old, new) if text else new
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(command: list[str], folder: Path) -> str:
    """Runs a command in a copy, with the copy's packages in place of this repository's."""
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(str(folder / package) for package in PACKAGES),
        "PYTEST_ADDOPTS": "-p no:cacheprovider --numprocesses=0",
        "MAKEFLAGS": "UV=/bin/true RUN= PYTEST=pytest",
    }
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A repository of its own with everything that is in this one."""
    listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT)
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    run(["git", "init", "-q"], tmp_path)
    run(["git", "add", "-A"], tmp_path)
    run(["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "as it is"], tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_change_touches_what_the_page_lists_and_works(page: Path, copy: Path) -> None:
    text = page.read_text()
    blocks = dict.fromkeys(("diff", "sh"), "")
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S):
        blocks[language] += block
    assert all(blocks.values()), "a page has a diff and commands"
    apply(blocks["diff"], copy)
    for command in blocks["sh"].splitlines():
        run(["bash", "-c", command], copy)
    changed = {line[3:] for line in run(["git", "status", "--porcelain", "--untracked-files=all"], copy).splitlines()}
    assert changed == set(re.findall(r"^\| `([^`]+)` \|", text, re.M))
