"""When a headline was published, from what publishers write.

A time that is read too early dates a headline before anybody knew it, and a model that learns from that looks ahead.
So a zone that can't be told is refused rather than taken for UTC, and a day without a time counts from its end.
"""

from __future__ import annotations

import re
import tomllib
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import cache
from importlib import resources

from pricecast_core.errors import BadMessageError

_FIELD = "published_at"
_COMMENT = re.compile(r"\(([^()]*)\)")
_ISO_ZONE = re.compile(
    r"(?P<time>\d{4}-?\d{2}-?\d{2}[T ]\d{2}:?\d{2}\S*?)(?:\s*\[(?P<bracket>[^\[\]]+)\]|\s+(?P<zone>[A-Za-z+-].*))"
)
"""ISO 8601 followed by a zone's name, as `2024-06-04 12:00 CEST` or, by RFC 9557, `2024-06-04T12:00+02:00[Europe/Berlin]`."""
_RFC822 = re.compile(
    r"(?:[^\W\d]+\.?,?\s+)?"  # the day's name, which says nothing
    r"(?:(?P<day>\d{1,2})[\s-]+(?P<month>[^\W\d]{3,9})\.?|(?P<month_first>[^\W\d]{3,9})\.?\s+(?P<day_second>\d{1,2}),?)"
    r"[\s,-]+(?P<year>\d{4}|\d{2})"
    r"(?:,?\s+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?\s*(?P<half>[AaPp][Mm](?![A-Za-z]))?)?"
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
        BadMessageError: If it is no time, or names a zone that is neither in `zones.toml` nor one of IANA's.
    """
    value = text[:_MAX_CHARACTERS].strip()
    comment = _COMMENT.search(value)
    try:
        local, zone, whole_day = _read(_COMMENT.sub(" ", value).strip())
    except ValueError:
        raise _no_time(text) from None
    where = _zone(zone or (comment[1] if comment else ""), text)  # a comment counts only where nothing else tells
    try:
        if whole_day:
            return _end_of_day(local, where, now)
        return local.astimezone(UTC) if local.tzinfo is not None else _in_zone(local, where)
    except (ValueError, OverflowError):
        raise _no_time(text) from None


def _read(value: str) -> tuple[datetime, str, bool]:
    """Returns the time as written, the name of its zone (empty if there is none), and whether it is a day without a time.

    Raises:
        ValueError: If it is no time.
    """
    try:
        return datetime.combine(date.fromisoformat(value), time()), "", True
    except ValueError:
        pass
    try:
        iso = _ISO_ZONE.fullmatch(value)
        if iso is None:
            return datetime.fromisoformat(value), "", False
        local = datetime.fromisoformat(iso["time"])
        return local, "" if local.tzinfo is not None else iso["bracket"] or iso["zone"], False
    except ValueError:
        unix = _CTIME.fullmatch(value)
        match = _RFC822.fullmatch(unix.expand(r"\2 \1 \5 \3 \4") if unix else value)
        if match is None:
            raise
        return _rfc822(match), match["zone"], match["hour"] is None


def _rfc822(match: re.Match[str]) -> datetime:
    month = (match["month"] or match["month_first"])[:3].lower()
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += 2000 if year < 90 else 1900
    day = datetime(year, _MONTHS.index(month) + 1, int(match["day"] or match["day_second"]))
    if match["hour"] is None:
        return day
    hour = int(match["hour"])
    if match["half"]:
        hour = hour % 12 + (12 if match["half"].lower() == "pm" else 0)
    second = min(int(match["second"] or 0), 59)  # a leap second
    return day.replace(hour=hour, minute=int(match["minute"]), second=second)


def _in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """Returns the time in UTC; the later one of an hour that a change of the clocks brings twice, or leaves out."""
    return max(moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def _zone(name: str, text: str) -> tzinfo:
    """Returns the zone of a name, an offset, or both, of which the offset counts."""
    name = name.strip().upper()
    place = name.replace(" ", "_")
    offset = _OFFSET.match(name)
    if offset is not None and (not name[offset.end() :] or name[offset.end()] == " "):
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        if minutes >= 24 * 60:
            raise _no_time(text)
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    if not name:
        return UTC
    zone = _zones().get(name)
    if zone is None and place in _iana():
        zone = zoneinfo.ZoneInfo(_iana()[place])
    if zone is None:
        raise BadMessageError(
            f"{_FIELD}: {text[:60]!r} is in zone {name[:20]!r}, which is not known; have the feed give an offset",
            _FIELD,
            "unknown_zone",
        )
    return zone


def _end_of_day(day: datetime, zone: tzinfo, now: datetime | None) -> datetime:
    end = _in_zone(day + timedelta(days=1, seconds=-1), zone)
    current = (now or datetime.now(UTC)).replace(microsecond=0)
    return current if end - timedelta(days=1) < current < end else end


@cache
def _iana() -> dict[str, str]:
    """Returns the names of the IANA time zone database, by themselves in capitals; those that name no place left out."""
    return {name.upper(): name for name in zoneinfo.available_timezones() - {"Factory", "localtime"}}


@cache
def _zones() -> dict[str, tzinfo]:
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
