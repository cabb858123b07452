"""What the supervisor does when a program ends: pure decisions, apart from processes and clocks.

Exit codes are those of `pricecast_core.service`: 0 done, 75 try again later, 78 a setting is wrong, else a crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pricecast_core.service import EX_CONFIG, EX_OK
from pricecast_core.starting import EX_TEMPFAIL

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
RETRY_LATER_SECONDS = 10.0
"""How long to wait after a program said that it can't work yet (75)."""
HEALTHY_SECONDS = 60.0
"""A program that ran so long starts again at once, as if it had never failed."""


@dataclass(frozen=True, slots=True)
class Again:
    """Start it again after so many seconds.

    Attributes:
        delay_seconds: How long to wait.
        failures: Failures in a row, this one included.
        reason: Why, for people.
    """

    delay_seconds: float
    failures: int
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """Don't start it again.

    Attributes:
        state: `done`; `refused` if a setting is wrong; `failed` if it crashed too often.
        reason: Why, for people.
    """

    state: Literal["done", "refused", "failed"]
    reason: str


def describe(code: int) -> str:
    """Returns an exit code in words; negative codes are signals."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def after_exit(code: int, *, ends: bool, attempts: int, ran_seconds: float, failures: int) -> Again | End:
    """Returns what follows the end of a program.

    Args:
        code: Its exit code; negative is the signal that killed it.
        ends: True if it may end by itself.
        attempts: How often it is tried in a row; 0 for ever.
        ran_seconds: How long it ran.
        failures: Failures in a row before this one.
    """
    if code == EX_CONFIG:
        return End("refused", "a setting is wrong")
    if code == EX_OK and ends:
        return End("done", "")
    if code == EX_TEMPFAIL:
        return Again(RETRY_LATER_SECONDS, failures, "not possible yet")
    if ran_seconds >= HEALTHY_SECONDS:
        failures = 0
    if 0 < attempts <= failures + 1:
        return End("failed", f"{describe(code)}, {failures + 1} times in a row")
    delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures, 20))
    return Again(delay, failures + 1, describe(code))
