"""A program that is told to end ends in order: while it imports, while it works, and once its work is done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAMS = [
    entry
    for folder in ("services", "operator", "cli")
    for file in sorted((ROOT / folder).rglob("pyproject.toml"))
    if ".venv" not in file.parts
    for entry in tomllib.loads(file.read_text())["project"].get("scripts", {}).values()
    if entry != "pricecast_embedded_broker.main:main"  # it becomes the broker, which is no program of Python's
]
IMPORTS = "print('importing', flush=True); input()"
WORKS = """
import signal, sys
def main():
    if sys.argv[1] == "handles": signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print('working', flush=True); input()
"""
IS_DONE = """
import threading
def wait():
    print('done', flush=True); input()
def main():
    global waiting
    waiting = threading._register_atexit(wait)  # the interpreter ends
"""


def started(tmp_path: Path, source: str, *arguments: str) -> subprocess.Popen[str]:
    """Returns a program that has printed its line and waits for another."""
    (tmp_path / "slow.py").write_text(source)
    process = subprocess.Popen(
        [sys.executable, "-c", "from pricecast_core.starting import program; program('slow')()", *arguments],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_told_to_end_while_it_imports_it_ends_at_once(tmp_path: Path, number: int, code: int) -> None:
    process = started(tmp_path, IMPORTS)
    process.send_signal(number)
    assert (process.wait(30), process.communicate()) == (code, ("", ""))


@pytest.mark.parametrize(
    ("how", "number", "code"),
    [("does not", signal.SIGTERM, 75), ("handles", signal.SIGTERM, 0), ("does not", signal.SIGINT, 130)],
)
def test_told_to_end_while_it_works_it_ends_as_the_work_says(tmp_path: Path, how: str, number: int, code: int) -> None:
    process = started(tmp_path, WORKS, how)
    process.send_signal(number)
    assert (process.wait(30), process.communicate()) == (code, ("", ""))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_once_its_work_is_done_it_ends_as_it_would_have(tmp_path: Path, number: int) -> None:
    process = started(tmp_path, IS_DONE)
    process.send_signal(number)
    assert (process.communicate("\n", 30), process.returncode) == (("", ""), 0)


@pytest.mark.parametrize("entry", PROGRAMS)
def test_each_program_can_be_told_to_end_before_it_imports_anything(entry: str) -> None:
    module, _, name = entry.partition(":")
    assert name == "main"
    check = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("pricecast_")}
    assert ours == {"pricecast_core", "pricecast_core.starting", module.partition(".")[0], module}
    assert not {"pydantic", "msgspec", "structlog"} & set(done.stdout.split())
