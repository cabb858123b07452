"""When a headline was published, from what publishers write.

A time that is read too early dates a headline before anybody knew it, and a model that learns from that looks ahead.
So a zone that can't be told is refused rather than taken for UTC, and a day without a time counts from its end.
"""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import cache
from importlib import resources

from pricecast_core.errors import BadMessageError

_FIELD = "published_at"
_COMMENT = re.compile(r"\([^()]*\)")
_RFC822 = re.compile(
    r"(?:[^\W\d]+\.?,?\s+)?"  # the day's name, which says nothing
    r"(?:(?P<day>\d{1,2})[\s-]+(?P<month>[^\W\d]{3,9})\.?|(?P<month_first>[^\W\d]{3,9})\.?\s+(?P<day_second>\d{1,2}),?)"
    r"[\s,-]+(?P<year>\d{4}|\d{2})"
    r"(?:,?\s+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?\s*(?P<half>[AaPp][Mm])?)?"
    r"\s*(?P<zone>.*)"
)
_CTIME = re.compile(r"(?:[^\W\d]+,?\s+)?([^\W\d]{3,9})\s+(\d{1,2})\s+(\d{1,2}:\d{2}(?::\d{2})?)\s+(.*?)\s*(\d{4})")
_OFFSET = re.compile(r"(?:GMT|UTC?)?\s*([+-])\s*(\d{1,2}):?(\d{2})?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MAX_CHARACTERS = 100


def parse(text: str, now: datetime | None = None) -> datetime:
    """Returns the time in ISO 8601 or in the form of e-mails and RSS (RFC 2822), in UTC.

    A time without any zone is UTC. A day without a time counts from its end, or from now where that is still ahead.

    Args:
        text: What the publisher wrote.
        now: The clock; the machine's by default.

    Raises:
        BadMessageError: If it is no time, or names a zone that isn't in `zones.toml`.
    """
    value = _COMMENT.sub(" ", text[:_MAX_CHARACTERS]).strip()
    try:
        return _end_of_day(datetime.combine(date.fromisoformat(value), time()), now)
    except ValueError:
        pass
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        unix = _CTIME.fullmatch(value)
        match = _RFC822.fullmatch(unix.expand(r"\2 \1 \5 \3 \4") if unix else value)
        if match is None:
            raise _no_time(text) from None
        parsed = _rfc822(match, text, now)
    try:
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except OverflowError:
        raise _no_time(text) from None


def names_unknown_zone(text: str) -> bool:
    """Returns whether a text ends in a word that may be a zone's name and is none that is known."""
    word = re.search(r"[A-Za-z]{1,6}$", text.strip())
    return word is not None and word[0].upper() not in _zones()


def _rfc822(match: re.Match[str], text: str, now: datetime | None) -> datetime:
    month = (match["month"] or match["month_first"])[:3].lower()
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += 2000 if year < 90 else 1900
    try:
        day = datetime(year, _MONTHS.index(month) + 1, int(match["day"] or match["day_second"]))
        if match["hour"] is None:
            return _end_of_day(day, now)
        hour = int(match["hour"])
        if match["half"]:
            hour = hour % 12 + (12 if match["half"].lower() == "pm" else 0)
        second = min(int(match["second"] or 0), 59)  # a leap second
        return day.replace(hour=hour, minute=int(match["minute"]), second=second, tzinfo=_zone(match["zone"], text))
    except (ValueError, OverflowError):
        raise _no_time(text) from None


def _zone(name: str, text: str) -> timezone:
    """Returns the zone of a name, an offset, or both, of which the offset counts."""
    name = name.strip().removeprefix("Etc/").upper()
    offset = _OFFSET.match(name)
    if offset is not None and (not name[offset.end() :] or name[offset.end()] == " "):
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    if not name:
        return UTC
    zone = _zones().get(name)
    if zone is None:
        raise BadMessageError(
            f"{_FIELD}: {text[:60]!r} is in zone {name[:20]!r}, which is not known; have the feed give an offset",
            _FIELD,
            "unknown_zone",
        )
    return zone


def _end_of_day(day: datetime, now: datetime | None) -> datetime:
    end = day.replace(tzinfo=UTC) + timedelta(days=1, seconds=-1)
    current = (now or datetime.now(UTC)).replace(microsecond=0)
    return current if end - timedelta(days=1) < current < end else end


@cache
def _zones() -> dict[str, timezone]:
    table = tomllib.loads(resources.files(__package__).joinpath("zones.toml").read_text("utf-8"))
    zero = datetime.fromisoformat("2000-01-01T00:00:00")
    return {
        name: timezone(datetime.fromisoformat(f"{zero.isoformat()}{offset}").utcoffset() or timedelta())
        for name, offset in table["offsets"].items()
    }


def _no_time(text: str) -> BadMessageError:
    return BadMessageError(
        f"{_FIELD}: {text[:60]!r} is not a time; write it as 2024-06-04T10:00:00Z or 'Tue, 04 Jun 2024 10:00:00 GMT'",
        _FIELD,
    )
