"""Kraken's REST API: trades since a moment, at the pace that Kraken allows, however long it takes to answer."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from pricecast_core import logs, metrics
from pricecast_core.errors import PricecastError, SettingsError, SourceError
from pricecast_core.messages import Trade
from pricecast_core.service import Stop
from pricecast_trades.kraken import wire
from pricecast_trades.source import Refused

PAGE_ROWS = 1_000
"""Most trades that Kraken gives at once."""
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_TIMEOUT_SECONDS = 10.0
_TRY_AGAIN = ("EAPI:Rate limit", "EGeneral:Too many", "EGeneral:Temporary", "EGeneral:Internal", "EService:")
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
log = logs.get(__name__)


class StoppedError(PricecastError):
    """The process is to stop."""


@dataclass(frozen=True, slots=True)
class Page:
    """Trades of one answer.

    Attributes:
        items: In exchange order.
        last_ns: The cursor that Kraken gives: time of the last trade in nanoseconds.
        full: True if there may be more.
    """

    items: list[Trade | Refused]
    last_ns: int
    full: bool


class _AgainError(Exception):
    """A call failed in a way that passes."""

    def __init__(self, reason: str, error: str, after_seconds: float = 0.0) -> None:
        super().__init__(error)
        self.reason = reason
        self.after_seconds = after_seconds


class RestClient:
    """Reads trades, one call at a time.

    Args:
        url: Base URL.
        requests_per_second: Pace.
        stop: Ends waits.
    """

    def __init__(self, url: str, requests_per_second: float, stop: Stop) -> None:
        self._endpoint = f"{url.rstrip('/')}/0/public/Trades"
        self._interval = 1 / requests_per_second
        self._stop = stop
        self._next = 0.0
        self._client = httpx.Client(timeout=_TIMEOUT_SECONDS, headers={"User-Agent": "pricecast"})
        self.problem: str | None = None

    def trades(self, pair: str, since_ns: int) -> Page:
        """Returns the trades after a moment, oldest first.

        What passes (rate limits, timeouts, 5xx, broken connections) is tried again, with pauses that grow to half a
        minute, for as long as it takes; `problem` tells meanwhile.

        Args:
            pair: The pair.
            since_ns: Nanoseconds since the Unix epoch.

        Raises:
            SettingsError: If Kraken doesn't know the pair.
            SourceError: If Kraken refuses the call.
            StoppedError: If the process is to stop.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._wait(self._next - time.monotonic())
            self._next = time.monotonic() + self._interval
            try:
                page = self._call(pair, since_ns)
            except _AgainError as error:
                metrics.TRADES_REST_RETRIES.labels(error.reason).inc()
                if self.problem is None:
                    log.warning("trying again", error=str(error), pair=pair)
                self.problem = f"kraken_rest_url: {self._endpoint}: {error}"
                self._wait(max(error.after_seconds, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - only spreads load
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                self.problem = None
                return page

    def _wait(self, seconds: float) -> None:
        if self._stop.is_set() or (seconds > 0 and self._stop.wait(seconds)):
            raise StoppedError("asked to stop")

    def _call(self, pair: str, since_ns: int) -> Page:
        parameters: dict[str, Any] = {"pair": wire.rest_pair(pair), "since": since_ns, "count": PAGE_ROWS}
        try:
            response = self._client.get(self._endpoint, params=parameters)
        except httpx.TimeoutException:
            raise _AgainError("timeout", f"no answer within {_TIMEOUT_SECONDS:.0f} s") from None
        except httpx.TransportError as error:
            raise _AgainError("connection", f"{type(error).__name__}: {error}") from None
        if response.status_code == 429:
            wait = response.headers.get("Retry-After", "")
            seconds = min(float(wait), 300.0) if wait.isdigit() else 0.0
            raise _AgainError("rate_limit", "HTTP status 429: too many requests", seconds)
        if response.status_code >= 500:
            raise _AgainError("server_error", f"HTTP status {response.status_code}")
        if response.status_code != 200:
            raise SourceError(f"kraken_rest_url: {response.request.url} answers HTTP status {response.status_code}")
        try:
            answer = wire.rest_answer.decode(response.content)
            if answer.error:
                raise _refusal(pair, answer.error)
            last_ns = int(msgspec.json.decode(answer.result.pop("last"), type=int | str))
            [rows] = answer.result.values()
            items = wire.rest_trades(pair, rows, self._endpoint)
        except (msgspec.MsgspecError, KeyError, ValueError) as error:
            raise _AgainError("malformed", f"answer is not of the form of Trades: {error}") from None
        return Page(items, last_ns, len(items) >= PAGE_ROWS)


def _refusal(pair: str, errors: list[str]) -> Exception:
    text = ", ".join(errors)
    if any(error.startswith("EQuery:Unknown asset pair") for error in errors):
        return SettingsError(f"pairs: Kraken doesn't know {pair} ({text}); see its list of pairs")
    if any(error.startswith(_TRY_AGAIN) for error in errors):
        return _AgainError("rate_limit" if "limit" in text or "Too many" in text else "unavailable", text)
    return SourceError(f"pairs: Kraken refuses to give the trades of {pair}: {text}")
