"""Where the testbed keeps what it fetched or built, so that the second run on a machine is fast.

Everything lies under one folder, by name and version; what is made there is made once, under a lock, in a temporary
folder that is renamed when complete: a run that is cut off leaves nothing half-made behind.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_kept: list[IO[str]] = []
"""The locks on what this process has to itself, held while it lives."""


def root() -> Path:
    """Returns the folder of everything that may be deleted and made again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pricecast-testbed"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds off other processes that make the same thing."""
    with _lock_file(name) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def kept(name: str) -> bool:
    """Says whether this process has something to itself, from now on until it ends."""
    file = _lock_file(name)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _kept.append(file)
    return True


def _lock_file(name: str) -> IO[str]:
    folder = root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / name.replace("/", "-")).open("w")


def made(name: str, make: Callable[[Path], None]) -> Path:
    """Returns the folder `name` of the cache, filled by `make` if it isn't there yet."""
    target = root() / name
    if target.is_dir():
        return target
    with locked(name):
        if not target.is_dir():
            partial = target.with_name(f"{target.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            try:
                make(partial)
            except BaseException:
                shutil.rmtree(partial)
                raise
            partial.rename(target)
    return target
