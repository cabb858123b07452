"""What a source of headlines is, and what all of them do alike: build a valid `News`, say what is wrong.

A source yields everything it finds, old and new; the service drops what it has seen and holds back what is dated
ahead. What can't be a headline is yielded too, as `Refused`, so that it ends in the dead letters instead of vanishing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from pricecast_core.errors import BadMessageError
from pricecast_core.messages import News, decode, encode

MAX_TITLE = 20_000
MAX_RAW_TITLE = 2 * MAX_TITLE
"""So much of a title, its markup with it, is read: the rest would only cost time."""
MAX_AHEAD = timedelta(days=1)
"""A headline dated further ahead is a mistake; one dated less is published when its time comes."""

_ATTRIBUTE = r"""(?:\s++|/|(?<=["']))[^\s"'<>/=]++(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s"'<>]++))?+"""
_TAG = re.compile(
    rf"""
    <!--.{{0,500}}?-->
    | <!\[CDATA\[ | \]\]>
    | </[a-z][a-z0-9]*+\s*+>
    | <(?P<name>[a-z][a-z0-9]*+)(?:(?P<attributes>(?:{_ATTRIBUTE})++)|(?P<unclosed>\s[^<>]{{0,1000}}=[^<>]{{0,1000}})|)\s*+/?+>
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
"""Tags by HTML's own grammar: a `>` or `<` between quotes ends none."""
_ELEMENT = re.compile(
    "a|abbr|b|big|blockquote|br|center|cite|code|del|div|em|figure|font|h[1-6]|hr|i|img|ins|kbd|li|mark|ol|p|pre|q|s|script"
    "|small|span|strike|strong|style|sub|sup|table|tbody|td|th|tr|tt|u|ul|wbr",
    re.IGNORECASE,
)
"""HTML's elements that titles hold; `<BTC>` and `<LINK>` are words."""
_MOST_ESCAPED = 3
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that a source gave and that can't be used.

    Attributes:
        error: Why.
        origin: The file or address.
        position: Line number or the like, or -1.
        value: What came.
    """

    error: BadMessageError
    origin: str
    position: int = -1
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the service lends to its sources.

    Attributes:
        is_new: Says whether a headline hasn't been published.
        wait: Waits so many seconds, or until the service is to stop; returns whether it is.
    """

    is_new: Callable[[News], bool]
    wait: Callable[[float], bool]


class Source(Protocol):
    """Where headlines come from. Read by a thread of its own, one read after the other."""

    name: str
    """Short name, for metrics."""
    finite: bool
    """Whether one read gives all there will ever be."""
    least_seconds: float
    """Shortest time between two reads that the source asks of everybody; 0 where it asks for none."""

    def read(self) -> Iterator[News | Refused]:
        """Yields what is there now, oldest first where the source knows.

        Raises:
            SourceError: If the source can't be read. `RateLimitedError` tells how long to leave it alone.
            SettingsError: If it never will be: a wrong key, a file that isn't there.
        """
        ...


def headline(*, identity: str, title: str, source: str, published: datetime, url: str = "") -> News:
    """Returns a valid `News`.

    Args:
        identity: Unique among all headlines of all sources.
        title: May hold HTML entities, tags and line breaks; they are removed.
        source: Who published it.
        published: Publication time; without a zone it is UTC.
        url: Where to read it.

    Raises:
        BadMessageError: If the title is empty, or the time lies before the first coin or more than a day ahead.
    """
    when = published.replace(tzinfo=UTC) if published.tzinfo is None else published.astimezone(UTC)
    news = News(
        id=_encodable(identity[:200]),
        title=plain_text(title[:MAX_RAW_TITLE])[:MAX_TITLE],
        source=plain_text(source[:MAX_RAW_TITLE])[:200] or "unknown",
        url=_encodable(url) if len(url) <= 4_000 else "",
        published_at=when.isoformat(timespec="seconds").replace("+00:00", "Z"),
        timestamp_ms=int(when.timestamp() * 1000),
    )
    limit = datetime.now(UTC) + MAX_AHEAD
    if when > limit:
        raise BadMessageError(
            f"published_at: {news.published_at} lies more than a day ahead; is the publisher's clock right?",
            "published_at",
        )
    # the reader's own rules: what would be refused there is refused here
    return decode(News, encode(news), now_ms=int(limit.timestamp() * 1000))


def plain_text(text: str) -> str:
    """Returns a text without HTML's entities, tags and line breaks."""
    for _ in range(_MOST_ESCAPED):  # what goes from system to system is escaped more than once
        text, before = html.unescape(text), text
        if text == before:
            break
    return _SPACE.sub(" ", _TAG.sub(_kept, _encodable(text))).strip()


def _kept(tag: re.Match[str]) -> str:
    """Returns what stays of something between angle brackets: all of it where it is no tag."""
    name, attributes = tag["name"], tag["attributes"]
    if name is None:
        return " "
    is_tag = _ELEMENT.fullmatch(name) is not None and not (attributes and "=" not in attributes)
    return " " if is_tag or (attributes and '="' in attributes) else tag[0]


def as_json(value: object) -> bytes:
    """Returns what came from a source as JSON, for the dead letters."""
    try:
        return msgspec.json.encode(value, enc_hook=str)
    except ValueError:  # half a surrogate
        return ascii(value).encode()


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
