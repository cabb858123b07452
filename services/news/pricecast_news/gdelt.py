"""GDELT's document API: news of the whole world's media, without an account.

`GET <url>?query=…&mode=ArtList&format=json&sort=DateAsc&maxrecords=250`, as its makers describe it in "GDELT DOC 2.0
API Debuts". An article is dated by `seendate`, the quarter of an hour in which GDELT saw it: never before it was known.
Each read asks for the time since the one before it, oldest first, further on by `startdatetime` where more than one page
came; what is too much for one read is left to the next. The API asks everybody for no more than one request in five seconds.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import msgspec

from pricecast_core import logs
from pricecast_core.errors import BadMessageError, SettingsError, SourceError
from pricecast_core.messages import News
from pricecast_core.settings import NewsSettings
from pricecast_news import times
from pricecast_news.source import Refused, Surroundings, as_json, headline
from pricecast_news.web import TIMEOUT, USER_AGENT, fetch, shown_url

PAGE = 250
"""The most articles that one answer gives."""
MAX_PAGES = 20
FIRST_READ = timedelta(days=1)
LONGEST_AWAY = timedelta(days=30)
"""A service that was away for longer doesn't catch up on more."""
OVERLAP = timedelta(hours=1)
"""Asked for again, for articles that GDELT lists late."""
PAUSE_SECONDS = 5.0

_STRAY_BACKSLASH = re.compile(r'\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})')
_REFUSED_QUERY = re.compile(
    r"\b(?:query|queries|keywords?|phrase|parenthes[ei]s)\b.*"
    r"\b(?:too (?:short|long|common)|must be|may only be|illegal|not (?:valid|allowed|supported))\b",
    re.IGNORECASE | re.DOTALL,
)
"""How GDELT refuses a query for good; "Your query timed out. Please try again in a few minutes." passes."""
log = logs.get(__name__)


class _Article(msgspec.Struct):
    url: str
    title: str
    seendate: str
    domain: str = ""


def open_source(settings: NewsSettings, surroundings: Surroundings) -> Gdelt:
    """Returns GDELT, asked by the settings' query."""
    return Gdelt(settings.gdelt_url, settings.gdelt_query, surroundings.wait)


class Gdelt:
    """Headlines of GDELT.

    Args:
        url: Address of the document API.
        query: What to look for, in GDELT's language.
        wait: Waits so many seconds; returns whether the service is to stop.
    """

    name = "gdelt"
    finite = False
    least_seconds = 60.0

    def __init__(self, url: str, query: str, wait: Callable[[float], bool]) -> None:
        self._url = httpx.URL(url)
        self._shown = shown_url(url)
        self._query = query
        self._wait = wait
        self._client = httpx.Client(timeout=TIMEOUT, headers={"User-Agent": USER_AGENT}, follow_redirects=True)
        self._since: datetime | None = None

    def read(self) -> Iterator[News | Refused]:
        """Yields the articles since the last read, oldest first.

        Raises:
            SourceError: If GDELT can't be asked, or answers with no list of articles.
            SettingsError: If it refuses the query.
        """
        now = datetime.now(UTC)
        since = now - FIRST_READ if self._since is None else max(self._since, now - LONGEST_AWAY)
        found: dict[str, News | Refused] = {}
        following = now - OVERLAP
        for page in range(MAX_PAGES):
            if page and self._wait(PAUSE_SECONDS):
                return
            articles = self._articles(since, now)
            items = [self._item(article) for article in articles]
            found |= {item.id if isinstance(item, News) else str(item.value): item for item in items}
            if len(articles) < PAGE:
                break
            newest = max((item.timestamp_ms for item in items if isinstance(item, News)), default=0) / 1000
            if not newest:
                log.warning(
                    "a page of articles none of which can be used; the rest isn't read", since=since.isoformat()
                )
                break
            if newest <= since.timestamp():
                log.warning(
                    "more articles of one moment than GDELT gives; narrow gdelt_query", moment=since.isoformat()
                )
                newest = since.timestamp() + 1
            since = datetime.fromtimestamp(newest, UTC)
            if since >= now:
                break
        else:
            following = since
            log.warning(
                "more articles than one read takes, the next read goes on from there",
                read=len(found),
                through=since.isoformat(),
            )
        yield from sorted(found.values(), key=lambda item: item.timestamp_ms if isinstance(item, News) else 0)
        self._since = following

    def _articles(self, since: datetime, until: datetime) -> list[object]:
        asked = {
            "query": self._query,
            "mode": "ArtList",
            "format": "json",
            "sort": "DateAsc",
            "maxrecords": str(PAGE),
            "startdatetime": f"{since:%Y%m%d%H%M%S}",
            "enddatetime": f"{until:%Y%m%d%H%M%S}",
        }
        text = fetch(self._client, str(self._url.copy_merge_params(asked))).content.decode("utf-8", "replace").strip()
        try:
            answer = _loads(text)
        except (ValueError, RecursionError):
            if not text.startswith(("{", "[", "<")) and _REFUSED_QUERY.search(text):
                raise SettingsError(f"gdelt_query: {self._query!r}: {self._shown} says: {text[:200]}") from None
            raise SourceError(f"{self._shown}: the answer isn't a list of articles: {text[:200]!r}") from None
        articles = answer.get("articles", []) if isinstance(answer, dict) else None
        if not isinstance(articles, list):
            raise SourceError(f"{self._shown}: the answer isn't a list of articles: {text[:200]!r}")
        return articles

    def _item(self, raw: object) -> News | Refused:
        try:
            article = msgspec.convert(raw, _Article)
            return headline(
                identity=f"gdelt:{hashlib.sha256(article.url.encode('utf-8', 'replace')).hexdigest()[:32]}",
                title=article.title,
                source=article.domain or httpx.URL(article.url).host,
                published=times.parse(article.seendate),
                url=article.url,
            )
        except (msgspec.ValidationError, httpx.InvalidURL, ValueError) as error:
            return Refused(BadMessageError(f"not an article: {error}"), self._shown, value=as_json(raw))
        except BadMessageError as error:
            return Refused(error, self._shown, value=as_json(raw))


def _loads(text: str) -> object:
    """Reads JSON; GDELT copies titles with stray backslashes and control characters into it."""
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return json.loads(_STRAY_BACKSLASH.sub(r"\\\\", text), strict=False)
