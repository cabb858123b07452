"""RSS and Atom feeds: news without an account.

Feeds are asked with what they said last time (`ETag`, `Last-Modified`), so that an unchanged one costs a few bytes. A
feed that fails doesn't keep the others from being read.
"""

from __future__ import annotations

import calendar
import hashlib
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import feedparser
import httpx

from pricecast_core import logs, metrics
from pricecast_core.errors import BadMessageError, SourceError
from pricecast_core.messages import News
from pricecast_news.source import TIMEOUT, USER_AGENT, Refused, as_json, fetch, headline

_parse: Any = feedparser.parse  # type: ignore[attr-defined]  # untyped
log = logs.get(__name__)


class Feeds:
    """Headlines of feeds.

    Args:
        urls: Addresses of the feeds.
    """

    name = "rss"
    finite = False

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = list(urls)
        self._validators: dict[str, dict[str, str]] = {}
        self._client = httpx.Client(timeout=TIMEOUT, headers={"User-Agent": USER_AGENT}, follow_redirects=True)

    def read(self) -> Iterator[News | Refused]:
        """Yields the entries of all feeds that changed, oldest first."""
        found: list[News] = []
        errors: list[SourceError] = []
        for url in self._urls:
            try:
                for item in self._feed(url):
                    if isinstance(item, News):
                        found.append(item)
                    else:
                        yield item
            except SourceError as error:
                errors.append(error)
                metrics.NEWS_SOURCE_ERRORS.labels(self.name).inc()
                log.warning("a feed can't be read", error=str(error))
        yield from sorted(found, key=lambda news: (news.timestamp_ms, news.id))
        if errors and len(errors) == len(self._urls):
            raise errors[0]

    def _feed(self, url: str) -> Iterator[News | Refused]:
        response = fetch(self._client, url, self._validators.get(url))
        if response.status_code == 304:
            return
        feed: Any = _parse(io.BytesIO(response.content), response_headers=dict(response.headers))
        if not feed.entries and feed.bozo:
            raise SourceError(f"{url}: is not a feed: {feed.bozo_exception}")
        publisher = feed.feed.get("title", "") or httpx.URL(url).host
        for position, entry in enumerate(feed.entries):
            yield _entry(entry, publisher, url, position)
        self._validators[url] = {
            ask: response.headers[said]
            for ask, said in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
            if said in response.headers
        }


def _entry(entry: Any, publisher: str, url: str, position: int) -> News | Refused:
    published: Any = entry.get("published_parsed") or entry.get("updated_parsed")
    try:
        if published is None:
            raise BadMessageError("published_at: the entry has no date", "published_at")
        title, link = entry.get("title", ""), entry.get("link", "")
        return headline(
            identity=f"rss:{_short(entry.get('id') or link or title)}",
            title=title,
            source=publisher,
            published=datetime.fromtimestamp(calendar.timegm(published), UTC),  # feedparser gives UTC
            url=link,
        )
    except (BadMessageError, ValueError, OverflowError) as error:
        bad = error if isinstance(error, BadMessageError) else BadMessageError(f"published_at: {error}", "published_at")
        return Refused(bad, url, position, as_json(dict(entry)))


def _short(identity: str) -> str:
    return identity if len(identity) <= 150 else hashlib.sha256(identity.encode()).hexdigest()
