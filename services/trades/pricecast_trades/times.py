"""Points in time as people write them in settings, and exchanges in messages."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pricecast_core.errors import SettingsError

_AGE = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|m|h|d|w)$")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse(name: str, text: str, now_ms: int) -> int:
    """Returns the time in milliseconds since the Unix epoch, UTC.

    Args:
        name: The setting, for the error.
        text: ISO 8601 (UTC where it names no zone), or an age such as `7d`, `12h`, `30m`; empty means now.
        now_ms: What an age is subtracted from.

    Raises:
        SettingsError: If it is neither, or lies in the future.
    """
    text = text.strip()
    if not text:
        return now_ms
    age = _AGE.match(text)
    if age is not None:
        return now_ms - round(float(age.group(1)) * _UNIT_MS[age.group(2)])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(
            f"{name}: {text!r} is no time; write ISO 8601 (2026-01-31T00:00:00Z) or an age (7d, 12h)"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    time_ms = round(moment.timestamp() * 1000)
    if time_ms > now_ms:
        raise SettingsError(f"{name}: {text} lies in the future; name a time that has passed")
    return time_ms


def exact_ms(text: str) -> int | None:
    """Returns an ISO 8601 time with a zone in whole milliseconds since the Unix epoch, cut; None if it is none."""
    try:
        elapsed = datetime.fromisoformat(text) - _EPOCH
    except (ValueError, TypeError, OverflowError):  # no time; one without a zone; one that leaves the calendar
        return None
    return (elapsed.days * 86_400 + elapsed.seconds) * 1000 + elapsed.microseconds // 1000
