"""What a source of headlines is, and what all of them do alike: build a valid `News`, fetch politely, say what is wrong.

A source yields everything it finds, old and new; the service drops what it has seen. What can't be a headline is
yielded too, as `Refused`, so that it ends in the dead letters instead of vanishing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import httpx
import msgspec

from pricecast_core.errors import BadMessageError, SourceError
from pricecast_core.messages import News, decode, encode

MAX_BODY_BYTES = 10_000_000
"""Largest answer of a feed or an API that is read."""
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
USER_AGENT = "pricecast-news/0.1"
MAX_TITLE = 20_000

_TAG = re.compile(r"<[^<>]{1,200}>")
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


class Source(Protocol):
    """Where headlines come from."""

    name: str
    """Short name, for metrics."""
    finite: bool
    """Whether one read gives all there will ever be."""

    def read(self) -> Iterator[News | Refused]:
        """Yields what is there now, oldest first where the source knows.

        Raises:
            SourceError: If the source can't be read. `RateLimitedError` tells how long to leave it alone.
            SettingsError: If it never will be: a wrong key, a file that isn't there.
        """
        ...


class RateLimitedError(SourceError):
    """The source asks for a pause.

    Attributes:
        retry_after: Seconds it asks for, or None where it doesn't say.
    """

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def headline(*, identity: str, title: str, source: str, published: datetime, url: str = "") -> News:
    """Returns a valid `News`.

    Args:
        identity: Unique among all headlines of all sources.
        title: May hold HTML entities, tags and line breaks; they are removed.
        source: Who published it.
        published: Publication time; without a zone it is UTC.
        url: Where to read it.

    Raises:
        BadMessageError: If the title is empty, or the time lies in the future or before the first coin.
    """
    when = published.replace(tzinfo=UTC) if published.tzinfo is None else published.astimezone(UTC)
    text = _SPACE.sub(" ", _TAG.sub(" ", html.unescape(title))).strip()
    news = News(
        id=identity[:200],
        title=text[:MAX_TITLE],
        source=source.strip()[:200] or "unknown",
        url=url if len(url) <= 4_000 else "",
        published_at=when.isoformat(timespec="seconds").replace("+00:00", "Z"),
        timestamp_ms=int(when.timestamp() * 1000),
    )
    return decode(News, encode(news))  # the reader's own rules: what would be refused there is refused here


def parse_time(text: str) -> datetime:
    """Returns the time in ISO 8601; without a zone it is UTC.

    Raises:
        BadMessageError: If it is none.
    """
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadMessageError(f"published_at: {text[:60]!r} is not a time in ISO 8601", "published_at") from None


def fetch(client: httpx.Client, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """Returns the answer to a GET, its body read and bounded; also one that says 304.

    Raises:
        RateLimitedError: On 429, and on 503 with `Retry-After`.
        SourceError: On any other failure. The message names the address without its query, where keys are.
    """
    shown = shown_url(url)
    try:
        with client.stream("GET", url, headers=headers) as response:
            retry_after = _seconds(response.headers.get("Retry-After", ""))
            if response.status_code == 429 or (response.status_code == 503 and retry_after is not None):
                raise RateLimitedError(f"{shown}: asks for a pause ({response.status_code})", retry_after)
            if response.status_code != 304 and not response.is_success:
                raise HttpStatusError(f"{shown}: answered {response.status_code}", response.status_code)
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise SourceError(f"{shown}: answers with more than {MAX_BODY_BYTES} bytes; not read")
            return httpx.Response(response.status_code, headers=_plain(response.headers), content=bytes(body))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceError(f"{shown}: can't be read: {type(error).__name__}: {error}".replace(url, shown)) from None


class HttpStatusError(SourceError):
    """The source answered with an error.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def shown_url(url: str) -> str:
    """Returns an address without its query and user, where secrets are."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return url.partition("?")[0]
    return str(parsed.copy_with(query=None, username="", password="", fragment=None))


def as_json(value: object) -> bytes:
    """Returns what came from a source as JSON, for the dead letters."""
    return msgspec.json.encode(value, enc_hook=str)


def _plain(headers: httpx.Headers) -> dict[str, str]:
    return {name: headers[name] for name in ("ETag", "Last-Modified", "Content-Type") if name in headers}


def _seconds(text: str) -> float | None:
    return float(text) if text.strip().isdigit() else None
