"""Free ports on loopback, each given to one run alone."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import IO

_TRIED = 100
_held: list[IO[str]] = []
"""The locks on ports given out, until this process ends."""


def free_port(preferred: int = 0) -> int:
    """Returns `preferred` or, if it is taken, the next free port after it; any free one for 0.

    What is to listen there may start much later, the API a minute after the broker. So a preferred port is locked
    for as long as this process lives: no other run on this machine is given it in the meantime.

    Raises:
        OSError: If a hundred ports in a row are taken.
    """
    for port in range(preferred, preferred + _TRIED) if preferred else [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port == 0 or _lock(port):
                return int(probe.getsockname()[1])
    raise OSError(f"no free port from {preferred} to {preferred + _TRIED - 1}")


def _lock(port: int) -> bool:
    file = (Path(tempfile.gettempdir()) / f"pricecast-{os.getuid()}-port-{port}.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _held.append(file)
    return True
