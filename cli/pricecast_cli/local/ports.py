"""Free ports on loopback, each given to one run alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_TRIED = 100
_UNASKED = range(13_000, 15_000)
"""Where ports are that nobody asked for by number: below those that systems take for outgoing connections (32768 and up
on Linux, 49152 elsewhere), of which one could have the port before the program listens that it is for."""
_held: list[IO[str]] = []
"""The locks on ports given out, until this process ends."""


def free_port(preferred: int = 0) -> int:
    """Returns `preferred` or, if it is taken, the next free port after it; any free one for 0.

    What is to listen there may start much later, the API a minute after the broker. So the port is locked for as long as
    this process lives: no other run on this machine is given it in the meantime.

    Raises:
        OSError: If a hundred ports in a row are taken.
    """
    port, lock = _take(preferred)
    _held.append(lock)
    return port


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """Holds a free port that no other run is given meanwhile.

    Raises:
        OSError: If a hundred are taken.
    """
    port, lock = _take(0)
    with lock:
        yield port


def _take(preferred: int) -> tuple[int, IO[str]]:
    ports = range(preferred, preferred + _TRIED) if preferred else random.sample(_UNASKED, _TRIED)
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if (lock := _lock(port)) is not None:
                return port, lock
    raise OSError(f"no free port, of {_TRIED} from {ports[0]} on" if preferred else f"none of {_TRIED} ports is free")


def _lock(port: int) -> IO[str] | None:
    """Returns the lock on a port, until it is closed; None if another run holds it."""
    file = (Path(tempfile.gettempdir()) / f"pricecast-{os.getuid()}-port-{port}.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
