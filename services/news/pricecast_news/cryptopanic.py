"""CryptoPanic's REST API: `GET <base>/posts/?auth_token=…`, newest first, further pages by `next`.

Written against the public description of the developer API v2; the older v1 answers in the same form. Pages are read
until one holds nothing new, so that a service that was away for a night catches up, and one that wasn't asks once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import httpx
import msgspec

from pricecast_core.errors import BadMessageError, SettingsError, SourceError
from pricecast_core.messages import News
from pricecast_core.news import titles
from pricecast_news.source import TIMEOUT, USER_AGENT, HttpStatusError, Refused, fetch, headline, parse_time

MAX_PAGES = 50
"""Pages read at once: the API itself ends earlier."""


class _Publisher(msgspec.Struct):
    title: str | None = None
    domain: str | None = None


class _Post(msgspec.Struct):
    title: str
    published_at: str
    id: int | str | None = None
    url: str | None = None
    original_url: str | None = None
    domain: str | None = None
    source: _Publisher | None = None


class _Page(msgspec.Struct):
    results: list[msgspec.Raw]
    next: str | None = None


class CryptoPanic:
    """Headlines of CryptoPanic.

    Args:
        base_url: Address with the API's version, such as `https://cryptopanic.com/api/developer/v2`.
        api_key: The account's token.
        coins: Only news of these coins; empty means all.
        is_new: Says whether a headline hasn't been seen; a page without a new one is the last.
    """

    name = "cryptopanic"
    finite = False

    def __init__(self, base_url: str, api_key: str, coins: Sequence[str], is_new: Callable[[News], bool]) -> None:
        self._api_key = api_key
        self._is_new = is_new
        self._client = httpx.Client(timeout=TIMEOUT, headers={"User-Agent": USER_AGENT})
        parameters = {"auth_token": api_key, "public": "true", "kind": "news"}
        if coins:
            parameters["currencies"] = ",".join(coins)
        self._first = httpx.URL(f"{base_url.rstrip('/')}/posts/", params=parameters)

    def read(self) -> Iterator[News | Refused]:
        """Yields the posts since the last read, oldest first."""
        found: list[News | Refused] = []
        url: httpx.URL | None = self._first
        for _ in range(MAX_PAGES):
            if url is None:
                break
            page = self._page(url)
            posts = [self._post(raw) for raw in page.results]
            found += posts
            if not any(isinstance(post, News) and self._is_new(post) for post in posts):
                break
            url = self._next(page.next)
        yield from reversed(found)

    def _page(self, url: httpx.URL) -> _Page:
        try:
            body = fetch(self._client, str(url)).content
        except HttpStatusError as error:
            if error.status in (401, 403):
                raise SettingsError(
                    f"cryptopanic_api_key: {self._first.host} refuses it ({error.status}); check the key and its plan"
                ) from None
            raise
        try:
            return msgspec.json.decode(body, type=_Page)
        except msgspec.MsgspecError as error:
            raise SourceError(f"{self._first.host}: the answer isn't a page of posts: {error}") from None

    def _next(self, link: str | None) -> httpx.URL | None:
        if not link:
            return None
        url = httpx.URL(link)
        if (url.scheme, url.host, url.port) != (self._first.scheme, self._first.host, self._first.port):
            raise SourceError(f"{self._first.host}: `next` leads to {url.host}; the key isn't sent there")
        return url.copy_set_param("auth_token", self._api_key)

    def _post(self, raw: msgspec.Raw) -> News | Refused:
        try:
            post = msgspec.json.decode(raw, type=_Post)
            return headline(
                identity=f"cryptopanic:{post.id if post.id is not None else _digest(post)}",
                title=post.title,
                source=(post.source and (post.source.domain or post.source.title)) or post.domain or "cryptopanic.com",
                published=parse_time(post.published_at),
                url=post.original_url or post.url or "",
            )
        except msgspec.MsgspecError as error:
            return Refused(BadMessageError(f"not a post: {error}"), str(self._first.host), value=bytes(raw))
        except BadMessageError as error:
            return Refused(error, str(self._first.host), value=bytes(raw))


def _digest(post: _Post) -> str:
    """The developer plan gives some posts no id; the words and the time stand for it."""
    return hashlib.sha256(f"{titles.normalise(post.title)}|{post.published_at}".encode()).hexdigest()[:24]
