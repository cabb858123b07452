"""Reading an address politely and within bounds: of time, of size, and of what an error message may show."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from pricecast_core.errors import SourceError

MAX_BODY_BYTES = 10_000_000
"""Largest answer of a feed or an API that is read."""
MAX_ERROR_BYTES = 10_000
"""So much is read of what comes with an error."""
MAX_SECONDS = 60.0
"""Longest time that one answer may take as a whole: a server that sends a byte now and then isn't waited for."""
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
USER_AGENT = "pricecast-news/0.1"


class RateLimitedError(SourceError):
    """The source asks for a pause.

    Attributes:
        retry_after: Seconds it asks for, or None where it doesn't say.
    """

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class HttpStatusError(SourceError):
    """The source answered with an error.

    Attributes:
        status: HTTP status.
        body: Start of what came with it.
    """

    def __init__(self, message: str, status: int, body: bytes) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


def fetch(client: httpx.Client, url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """Returns the answer to a GET, its body read and bounded; also one that says 304.

    Raises:
        RateLimitedError: On 429, and on 503 with `Retry-After`.
        SourceError: On any other failure. The message names the address without its query, where keys are.
    """
    shown = shown_url(url)
    deadline = time.monotonic() + MAX_SECONDS
    try:
        with client.stream("GET", url, headers=headers) as response:
            retry_after = _seconds(response.headers.get("Retry-After", ""))
            if response.status_code == 429 or (response.status_code == 503 and retry_after is not None):
                raise RateLimitedError(f"{shown}: asks for a pause ({response.status_code})", retry_after)
            if response.status_code != 304 and not response.is_success:
                status = response.status_code
                raise HttpStatusError(f"{shown}: answered {status}", status, _start(response, deadline))
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise SourceError(f"{shown}: answers with more than {MAX_BODY_BYTES} bytes; not read")
                if time.monotonic() > deadline:
                    raise SourceError(f"{shown}: still answering after {MAX_SECONDS:.0f} s; not read")
            return httpx.Response(response.status_code, headers=_plain(response.headers), content=bytes(body))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceError(f"{shown}: can't be read: {type(error).__name__}: {error}".replace(url, shown)) from None


def _start(response: httpx.Response, deadline: float) -> bytes:
    """Returns the start of an answer's body, or what of it can be read."""
    body = bytearray()
    with suppress(httpx.HTTPError):
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) >= MAX_ERROR_BYTES or time.monotonic() > deadline:
                break
    return bytes(body[:MAX_ERROR_BYTES])


def shown_url(url: str) -> str:
    """Returns an address without its query and user, where secrets are."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return url.partition("?")[0]
    return str(parsed.copy_with(query=None, username="", password="", fragment=None))


def _plain(headers: httpx.Headers) -> dict[str, str]:
    return {name: headers[name] for name in ("ETag", "Last-Modified", "Content-Type") if name in headers}


def _seconds(text: str) -> float | None:
    """Returns the seconds of a `Retry-After`, given as such or as a date."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
