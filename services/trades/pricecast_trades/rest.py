"""Asks an exchange's REST API at the pace that it allows, however long it takes to answer."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from pricecast_core import logs, metrics
from pricecast_core.service import Stop
from pricecast_trades.errors import PassingError, StoppedError

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 300.0
_TIMEOUT_SECONDS = 10.0
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
log = logs.get(__name__)
T = TypeVar("T")


class RestClient:
    """Asks, one call at a time, until there is an answer.

    Args:
        setting: The setting of the base URL, for messages.
        requests_per_second: Pace.
        stop: Ends waits.

    Attributes:
        problem: Why no answer comes in now, or None.
        lag_ms: How much this machine's clock was ahead of the exchange's at the newest answer; None before one.
    """

    def __init__(self, setting: str, requests_per_second: float, stop: Stop) -> None:
        self._setting = setting
        self._interval = 1 / requests_per_second
        self._stop = stop
        self._next = 0.0
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, headers={"User-Agent": "pricecast"})
        self.problem: str | None = None
        self.lag_ms: int | None = None

    def get(self, url: str, parameters: Mapping[str, str | int], read: Callable[[httpx.Response], T]) -> T:
        """Returns what `read` makes of the answer.

        What passes (rate limits, timeouts, 5xx, broken connections, whatever `read` takes for it) is tried again,
        with pauses that grow to half a minute, for as long as it takes; `problem` tells meanwhile.

        Args:
            url: Address.
            parameters: Of the query.
            read: Reads an answer; raises `PassingError` where the same should be asked again.

        Raises:
            StoppedError: If the process is to stop.
            PricecastError: What else `read` raises.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = self.once(url, parameters, read)
            except PassingError as error:
                metrics.TRADES_REST_RETRIES.labels(error.reason).inc()
                if self.problem is None:
                    log.warning("trying again", error=str(error), url=url, **parameters)
                self.problem = f"{self._setting}: {url}: {error}"
                wait = min(error.after_seconds, _LONGEST_WAIT_SECONDS)
                self._wait(max(wait, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - only spreads load
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                self.problem = None
                return answer

    def once(self, url: str, parameters: Mapping[str, str | int], read: Callable[[httpx.Response], T]) -> T:
        """Returns what `read` makes of the answer to one call, made when the pace allows.

        Raises:
            PassingError: If there is none, or `read` doesn't like it.
            StoppedError: If the process is to stop.
        """
        self._wait(self._next - time.monotonic())
        self._next = time.monotonic() + self._interval
        return read(self._call(url, parameters))

    def _wait(self, seconds: float) -> None:
        if self._stop.is_set() or (seconds > 0 and self._stop.wait(seconds)):
            raise StoppedError("asked to stop")

    def _call(self, url: str, parameters: Mapping[str, str | int]) -> httpx.Response:
        try:
            response = self._client.get(url, params=dict(parameters))
        except httpx.TimeoutException:
            raise PassingError("timeout", f"no answer within {_TIMEOUT_SECONDS:.0f} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PassingError("connection", f"{type(error).__name__}: {error}") from None
        if response.status_code == 429:
            wait = response.headers.get("Retry-After", "")
            raise PassingError(
                "rate_limit", "HTTP status 429: too many requests", float(wait) if wait.isdecimal() else 0.0
            )
        if response.status_code >= 500:
            raise PassingError("server_error", f"HTTP status {response.status_code}")
        self._note_clock(response)
        return response

    def _note_clock(self, response: httpx.Response) -> None:
        try:
            sent = parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
        except (ValueError, TypeError, OverflowError):  # none; no date; one that leaves the calendar
            return
        self.lag_ms = int((time.time() - sent) * 1000)
