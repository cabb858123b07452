"""A stand-in for CryptoPanic's REST API, in the form that its documentation shows for the developer API v2."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.doubles.http import HttpDouble, JsonHandler

PAGE = 20


def post(number: int, title: str = "", published_at: str = "2024-05-01T12:00:00Z", **fields: Any) -> dict[str, Any]:
    """Returns a post as the API gives it."""
    return {
        "id": number,
        "slug": f"post-{number}",
        "title": title or f"Bitcoin headline number {number}",
        "description": "",
        "published_at": published_at,
        "created_at": published_at,
        "kind": "news",
        "source": {"title": "Example News", "region": "en", "domain": "news.example", "type": "feed"},
        "original_url": f"https://news.example/{number}",
        "url": f"https://cryptopanic.com/news/{number}/post-{number}",
        "votes": {"negative": 0, "positive": 3},
        "panic_score": None,
    } | fields


class CryptoPanicDouble(HttpDouble):
    """The API on a loopback port. Posts are given newest first, twenty a page.

    Attributes:
        posts: What it knows, oldest first.
        requests: Queries that came, in order.
        failures: Answers to give first: (status, headers).
        bodies: Bodies to answer with first, those of failures too.
        next_host: Host to put into `next` instead of its own.
    """

    key = "secret-key"

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.requests: list[dict[str, list[str]]] = []
        self.failures: list[tuple[int, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.next_host = ""
        super().__init__(self._handler(), path="/api/developer/v2")

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, str], Any]:
        self.requests.append(query)
        if self.failures:
            status, headers = self.failures.pop(0)
            return status, headers, {"status": "api_error", "info": "no"}
        if path != "/api/developer/v2/posts/":
            return 404, {}, {"status": "Incomplete"}
        if query.get("auth_token") != [self.key]:
            return 401, {}, {"status": "api_error", "info": "Token not found"}
        page = int(query.get("page", ["1"])[0])
        newest = self.posts[::-1]
        results = newest[(page - 1) * PAGE : page * PAGE]
        following = None
        if len(newest) > page * PAGE:
            flat = {name: values[0] for name, values in query.items()} | {"page": str(page + 1)}
            following = f"{self.next_host or self.url}/posts/?{urlencode(flat)}"
        return 200, {}, {"next": following, "previous": None, "results": results}

    def _handler(self) -> type[JsonHandler]:
        double = self

        class Handler(JsonHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                status, headers, body = double.answer(parts.path, parse_qs(parts.query))
                self.reply(status, double.bodies.pop(0) if double.bodies else body, headers)

        return Handler
