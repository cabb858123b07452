"""CryptoPanic's REST API: `GET https://cryptopanic.com/api/<plan>/v2/posts/?auth_token=…`, newest first.

Written against the public description of the developer API v2. The free API and v1 were closed in 2026; who still
names one of them is told so. Further pages are read by `next` until one holds nothing new, so that a service that was
away for a night catches up, and one that wasn't asks once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import msgspec

from pricecast_core import logs
from pricecast_core.errors import BadMessageError, PricecastError, SettingsError, SourceError
from pricecast_core.messages import News
from pricecast_core.news import titles
from pricecast_core.settings import NewsSettings
from pricecast_news import times
from pricecast_news.source import Refused, Surroundings, as_json, headline
from pricecast_news.web import TIMEOUT, USER_AGENT, HttpStatusError, fetch

URL_FORM = "https://cryptopanic.com/api/<plan>/v2"
_CLOSED = re.compile(r"/(?P<free>free)(?=/)|/(?P<v1>v1)(?=/)")
MAX_PAGES = 50
"""Pages read at once: the API itself ends earlier."""
MAX_UNUSABLE_PAGES = 3
"""After so many pages in a row without one usable post the API is taken to have changed: each page costs a request."""
log = logs.get(__name__)


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


class _ApiError(msgspec.Struct):
    status: str
    info: str = ""


class _Page(msgspec.Struct):
    results: list[Any]
    next: Any = None


def open_source(settings: NewsSettings, surroundings: Surroundings) -> CryptoPanic:
    """Returns CryptoPanic with the account that the settings name.

    Raises:
        SettingsError: If no key is set.
    """
    if settings.cryptopanic_api_key is None:
        raise SettingsError("CRYPTOPANIC_API_KEY: is not set; CryptoPanic needs one, RSS feeds and GDELT need none")
    key = settings.cryptopanic_api_key.get_secret_value()
    return CryptoPanic(settings.cryptopanic_url, key, settings.coins, surroundings.is_new)


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
    least_seconds = 0.0

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
        unusable_pages = 0
        for _ in range(MAX_PAGES):
            if url is None:
                break
            page = self._page(url)
            posts = [self._post(raw) for raw in page.results]
            found += posts
            usable = [post for post in posts if isinstance(post, News)]
            unusable_pages = unusable_pages + 1 if posts and not usable else 0
            if not any(map(self._is_new, usable)) and not 0 < unusable_pages < MAX_UNUSABLE_PAGES:
                break
            url = self._next(page.next)
        yield from reversed(found)

    def _page(self, url: httpx.URL) -> _Page:
        try:
            body = fetch(self._client, str(url)).content
        except HttpStatusError as error:
            raise self._explained(error) from None
        try:  # by the reader that takes half a surrogate in one title, which is no reason to refuse the others
            return msgspec.convert(json.loads(body), _Page)
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            raise SourceError(f"{self._first.host}: the answer isn't a page of posts: {error}") from None

    def _explained(self, error: HttpStatusError) -> PricecastError:
        """Returns what an error means, where it means more than a passing failure."""
        shown = str(self._first.copy_with(query=None)).removesuffix("/posts/")
        remedy = f"set the plan's own address, {URL_FORM}, or read RSS feeds, which need no account"
        closed = _CLOSED.search(self._first.path)
        if closed is not None and error.status in (401, 403, 404, 410):
            return SettingsError(
                f"cryptopanic_url: {shown} answered {error.status}: the {closed.lastgroup} API was closed in 2026; {remedy}"
            )
        if error.status == httpx.codes.FORBIDDEN and not _is_api_error(error.body):
            return SourceError(f"{error}, and not by CryptoPanic's API; does a proxy or a firewall refuse it?")
        if error.status in (401, 403):
            return SettingsError(
                f"cryptopanic_api_key: {self._first.host} refuses it ({error.status}); check the key and its plan"
            )
        if error.status == httpx.codes.NOT_FOUND:
            return SourceError(f"cryptopanic_url: {shown} answered 404; if that doesn't pass, {remedy}")
        return error

    def _next(self, link: Any) -> httpx.URL | None:
        if not link or not isinstance(link, str):
            if link:
                log.warning("`next` is no address: taken for the last page", next=str(link)[:100])
            return None
        try:
            url = httpx.URL(link)
        except httpx.InvalidURL:
            raise SourceError(f"{self._first.host}: `next` is no address: {link[:100]!r}") from None
        if (url.scheme, url.host, url.port) != (self._first.scheme, self._first.host, self._first.port):
            raise SourceError(f"{self._first.host}: `next` leads to {url.host}; the key isn't sent there")
        return url.copy_set_param("auth_token", self._api_key)

    def _post(self, raw: object) -> News | Refused:
        try:
            post = msgspec.convert(raw, _Post)
            return headline(
                identity=f"cryptopanic:{post.id if post.id is not None else _digest(post)}",
                title=post.title,
                source=(post.source and (post.source.domain or post.source.title)) or post.domain or "cryptopanic.com",
                published=times.parse(post.published_at),
                url=post.original_url or post.url or "",
            )
        except (msgspec.ValidationError, ValueError) as error:
            return Refused(BadMessageError(f"not a post: {error}"), str(self._first.host), value=as_json(raw))
        except BadMessageError as error:
            return Refused(error, str(self._first.host), value=as_json(raw))


def _is_api_error(body: bytes) -> bool:
    """Returns whether an error is the API's own rather than that of something on the way to it."""
    try:
        msgspec.json.decode(body, type=_ApiError)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def _digest(post: _Post) -> str:
    """The developer plan gives some posts no id; the words and the time stand for it."""
    return hashlib.sha256(f"{titles.normalise(post.title)}|{post.published_at}".encode("utf-8", "replace")).hexdigest()[
        :24
    ]
