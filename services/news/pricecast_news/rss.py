"""RSS and Atom feeds: news without an account.

Feeds are asked with what they said last time (`ETag`, `Last-Modified`), so that an unchanged one costs a few bytes.
They are read beside each other, and one that fails or is slow keeps none of the others from being read. Where no feed
is named, the list in `feeds.toml` is read.
"""

from __future__ import annotations

import hashlib
import io
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

import feedparser
import httpx

from pricecast_core import logs, metrics
from pricecast_core.errors import BadMessageError, SourceError
from pricecast_core.messages import News
from pricecast_core.settings import NewsSettings
from pricecast_news import times
from pricecast_news.source import Refused, Surroundings, as_json, headline
from pricecast_news.web import TIMEOUT, USER_AGENT, fetch, shown_url

AT_ONCE = 8
"""Feeds read beside each other."""

_parse: Any = feedparser.parse  # type: ignore[attr-defined]  # untyped
_WORLDWIDE = re.compile(r"https?://[^/]+/.+|tag:[^,]+,[\d-]+:.+|urn:uuid:.+", re.IGNORECASE)
"""Ids that no other feed gives to something else: addresses, tag URIs (RFC 4151), UUIDs."""
log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class DefaultFeed:
    """A feed of the list that is read where none is named."""

    name: str
    url: str


@cache
def default_feeds() -> tuple[DefaultFeed, ...]:
    """Returns the maintained list of feeds."""
    data = tomllib.loads(resources.files(__package__).joinpath("feeds.toml").read_text("utf-8"))
    return tuple(DefaultFeed(**feed) for feed in data["feeds"])


def open_source(settings: NewsSettings, _surroundings: Surroundings) -> Feeds:
    """Returns the feeds that the settings name, else those of the maintained list."""
    return Feeds(settings.rss_urls or [feed.url for feed in default_feeds()])


class Feeds:
    """Headlines of feeds.

    Args:
        urls: Addresses of the feeds.
    """

    name = "rss"
    finite = False
    least_seconds = 0.0

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = list(urls)
        self._validators: dict[str, dict[str, str]] = {}
        self._client = httpx.Client(timeout=TIMEOUT, headers={"User-Agent": USER_AGENT}, follow_redirects=True)
        self.problems: dict[str, str] = {}
        """What is wrong with each feed that couldn't be read last time, by its address."""

    def read(self) -> Iterator[News | Refused]:
        """Yields the entries of all feeds that changed, oldest first.

        Raises:
            SourceError: If none of the feeds can be read.
        """
        found: list[News] = []
        problems: dict[str, str] = {}
        first: SourceError | None = None
        with ThreadPoolExecutor(min(AT_ONCE, len(self._urls)), thread_name_prefix="feed") as pool:
            for url, items in zip(self._urls, pool.map(self._try, self._urls), strict=True):
                if isinstance(items, SourceError):
                    first = first or items
                    problems[shown_url(url)] = str(items)
                    metrics.NEWS_SOURCE_ERRORS.labels(self.name).inc()
                    if shown_url(url) not in self.problems:
                        log.warning("a feed can't be read", error=str(items))
                    continue
                found += [item for item in items if isinstance(item, News)]
                yield from (item for item in items if isinstance(item, Refused))
        self.problems = problems
        yield from sorted(found, key=lambda news: (news.timestamp_ms, news.id))
        if first is not None and len(problems) == len(self._urls):
            raise first

    def _try(self, url: str) -> list[News | Refused] | SourceError:
        try:
            response = fetch(self._client, url, self._validators.get(url))
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return []
            items = list(entries(response.content, dict(response.headers), url))
        except SourceError as error:
            return error
        self._validators[url] = {
            ask: response.headers[said]
            for ask, said in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
            if said in response.headers
        }
        return items


def entries(body: bytes, headers: dict[str, str], url: str) -> Iterator[News | Refused]:
    """Yields each entry of a feed, as news or as what can't be.

    Args:
        body: The feed.
        headers: The answer's headers; `Content-Type` may name the encoding.
        url: The feed's address, which its entries' ids are scoped to.

    Raises:
        SourceError: If it is no feed.
    """
    shown = shown_url(url)
    try:
        feed: Any = _parse(io.BytesIO(body), response_headers=headers, sanitize_html=False, resolve_relative_uris=False)
    except Exception as error:
        raise SourceError(f"{shown}: is not a feed: {type(error).__name__}: {error}") from None
    if not feed.entries and (feed.bozo or not feed.get("version")):
        reason = feed.get("bozo_exception") or "neither RSS nor Atom"
        raise SourceError(f"{shown}: is not a feed: {reason}")
    publisher = feed.feed.get("title") or httpx.URL(url).host
    unusable = _shared_ids(feed.entries)
    for position, entry in enumerate(feed.entries):
        try:
            yield _entry(entry, publisher, url, unusable)
        except (BadMessageError, ValueError, OverflowError, TypeError) as error:
            bad = error if isinstance(error, BadMessageError) else BadMessageError(f"not a headline: {error}")
            yield Refused(bad, shown, position, as_json(dict(entry)))


def _entry(entry: Any, publisher: str, url: str, unusable: frozenset[str]) -> News:
    title, link = entry.get("title") or "", entry.get("link") or ""
    published = _published(entry)
    given = entry.get("id") or link
    if not given or given in unusable:
        given = f"{given}|{link}|{title}|{published:%Y-%m-%d}"
    scope = "" if _WORLDWIDE.fullmatch(given) else f"{_digest(url)[:12]}:"
    return headline(
        identity=f"rss:{scope}{given if len(given) <= 150 else _digest(given)}",
        title=title,
        source=publisher,
        published=published,
        url=link,
    )


def _published(entry: Any) -> datetime:
    text = entry.get("published") or entry.get("updated") or entry.get("created")
    if not text:
        raise BadMessageError("published_at: the entry has no date", "published_at")
    return times.parse(text)  # feedparser's own reading drops hours and zones that it doesn't know


def _shared_ids(found: Sequence[Any]) -> frozenset[str]:
    """Returns the ids that this feed gives to several entries of other titles: they say nothing."""
    pairs = {(entry.get("id") or entry.get("link") or "", entry.get("title")) for entry in found}
    counts = Counter(given for given, _ in pairs)
    return frozenset(given for given, count in counts.items() if count > 1)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
