"""A stand-in for GDELT's document API, in the form that "GDELT DOC 2.0 API Debuts" and its clients' code show.

Its habits that a client must know: no article gives `{}`, a mistake gives a sentence with status 200, titles bring
stray backslashes into the JSON.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.doubles.http import HttpDouble

PAGE = 250


def article(number: int, seen: datetime, title: str = "", **fields: Any) -> dict[str, Any]:
    """Returns an article as the API gives it."""
    return {
        "url": f"https://paper.example/{number}",
        "url_mobile": "",
        "title": title or f"Bitcoin headline number {number}",
        "seendate": f"{seen:%Y%m%dT%H%M%SZ}",
        "socialimage": "",
        "domain": "paper.example",
        "language": "English",
        "sourcecountry": "United States",
    } | fields


class GdeltDouble(HttpDouble):
    """The API on a loopback port.

    Attributes:
        articles: What it knows.
        requests: Queries that came, in order.
        answers: Answers to give first: (status, content type, body).
    """

    def __init__(self) -> None:
        self.articles: list[dict[str, Any]] = []
        self.requests: list[dict[str, str]] = []
        self.answers: list[tuple[int, str, bytes]] = []
        super().__init__(self._handler(), path="/api/v2/doc/doc")

    def answer(self, query: dict[str, str]) -> tuple[int, str, bytes]:
        self.requests.append(query)
        if self.answers:
            return self.answers.pop(0)
        if query.get("format") != "json" or query.get("mode") != "ArtList":
            return 200, "text/html", b"<html>a page for people</html>"
        start, end = (
            datetime.strptime(query[name], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
            for name in ("startdatetime", "enddatetime")
        )
        found = [each for each in self.articles if start <= datetime.fromisoformat(each["seendate"]) <= end]
        found.sort(key=lambda each: str(each["seendate"]), reverse=query.get("sort") != "DateAsc")
        body = {"articles": found[: int(query.get("maxrecords", "75"))]} if found else {}
        return 200, "application/json; charset=utf-8", json.dumps(body).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                status, content_type, body = double.answer(query)
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Silent."""

        return Handler
