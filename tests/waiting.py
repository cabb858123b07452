"""Waiting for what other processes do: until it is so, however slow the machine; never for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE_SECONDS = 120.0
"""Generous: it is spent only by a test that fails. A busy machine is ten times slower than a quiet one."""


def eventually(condition: Callable[[], T], what: str = "", seconds: float = DEADLINE_SECONDS) -> T:
    """Returns the first true value of `condition`, asked again until it is; fails after so long."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what or 'it'}: not within {seconds:.0f} s; last: {value!r}"
        time.sleep(0.05)
    return value
