"""The cache makes each thing once, and never shows one that is half made."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pricecast_testbed import cache


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pricecast-testbed"


def write(target: Path) -> None:
    (target / "file").write_text("made")


def test_what_is_made_is_kept(root: Path) -> None:
    assert cache.made("thing/part", write) == root / "thing" / "part"
    assert (cache.made("thing/part", lambda _: pytest.fail("made again")) / "file").read_text() == "made"


def test_a_failure_leaves_nothing_and_is_tried_again(root: Path) -> None:
    def fail(target: Path) -> None:
        write(target)
        raise ValueError("cut off")

    with pytest.raises(ValueError, match="cut off"):
        cache.made("thing", fail)
    assert [path.name for path in root.iterdir()] == ["locks"]
    assert (cache.made("thing", write) / "file").exists()


def test_those_who_want_the_same_thing_at_once_make_it_once() -> None:
    calls: list[Path] = []
    together = threading.Barrier(4)

    def make(target: Path) -> None:
        calls.append(target)
        write(target)

    def want(_: int) -> Path:
        together.wait()
        return cache.made("thing", make)

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(want, range(4)))) == 1
    assert len(calls) == 1
