"""Coinbase Exchange, put together from its REST API and its WebSocket feed."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from pricecast_core import logs
from pricecast_core.errors import SettingsError
from pricecast_core.messages import Trade
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_core.settings.exchanges import CoinbaseSettings
from pricecast_trades.errors import PassingError
from pricecast_trades.exchange import Exchange, Page
from pricecast_trades.exchanges.coinbase import wire
from pricecast_trades.exchanges.coinbase.session import CoinbaseSession
from pricecast_trades.feed import Feed
from pricecast_trades.known_pairs import KnownPairs
from pricecast_trades.rest import RestClient
from pricecast_trades.seam import Seam
from pricecast_trades.source import Refused
from pricecast_trades.websocket import WebSocketFeed

PAGE_ROWS = 1_000
"""Most trades that Coinbase gives at once."""
_SETTING = "coinbase_rest_url"
log = logs.get(__name__)


class Coinbase:
    """Coinbase Exchange, for the pairs of a pipeline.

    Its pages run from the newest trade back: `after` (the header `cb-after` of the page before) names a trade and asks
    for those with lower numbers. Numbers have no gaps, so a page of the trades after N is the one *after* N + 1 + rows.

    Args:
        settings: Pairs and times.
        coinbase: How it is reached.
        stop: Ends waits.
    """

    consecutive = True

    def __init__(self, settings: TradesSettings, coinbase: CoinbaseSettings, stop: Stop) -> None:
        self._settings = settings
        self._coinbase = coinbase
        self._known = KnownPairs("Coinbase", self._listed)
        self.rest = RestClient(_SETTING, coinbase.requests_per_second, stop)

    def page(self, pair: str, seam: Seam, cursor: int) -> Page:
        """Returns the trades after the newest known number, or, without one, from the time that is known on."""
        start = max(cursor, seam.last_id or 0) or self._number_before(pair, seam.last_ms)
        items = self._trades(pair, after=start + 1 + PAGE_ROWS, limit=PAGE_ROWS)
        last = max((item.trade_id or 0 for item in items if isinstance(item, Trade)), default=start)
        return Page(items, max(last, start, 1), last >= start + PAGE_ROWS)

    def feed(self) -> Feed:
        """Returns the stream of matches and heartbeats."""
        url, names = self._coinbase.stream_url, self._settings.pairs
        return WebSocketFeed(
            url,
            lambda: CoinbaseSession(url, names, self._known),
            setting="coinbase_websocket_url",
            source="coinbase",
            silence_seconds=self._coinbase.silence_seconds,
            stuck_seconds=self._settings.stall_timeout_seconds,
        )

    def knows(self, pair: str) -> None:
        """Says that Coinbase has given trades of the pair before."""
        self._known.add(pair)

    def _listed(self, _pair: str) -> frozenset[str] | None:
        """Returns the pairs that Coinbase lists; None if it doesn't answer with a list."""
        url = f"{self._coinbase.rest_url.rstrip('/')}/products"
        try:
            return self.rest.once(url, {}, lambda response: wire.listed(response.content))
        except PassingError as error:
            log.warning("the list of products can't be read", error=str(error), url=url)
            return None

    def _number_before(self, pair: str, last_ms: int) -> int:
        """Returns the number of the last trade up to a time, by bisection; 0 if there is none."""
        low, high = 0, self._newest(pair)
        if high is None or high.timestamp_ms <= last_ms:
            return 0 if high is None else high.trade_id or 0
        end = high.trade_id or 0
        while end - low > 1:
            middle = (low + end) // 2
            found = self._newest(pair, after=middle + 1)
            if found is None or found.timestamp_ms <= last_ms:
                low = middle
            else:
                end = middle
        return low

    def _newest(self, pair: str, after: int | None = None) -> Trade | None:
        items = self._trades(pair, limit=1, **({} if after is None else {"after": after}))
        return next((item for item in items if isinstance(item, Trade)), None)

    def _trades(self, pair: str, **parameters: int) -> list[Trade | Refused]:
        url = f"{self._coinbase.rest_url.rstrip('/')}/products/{wire.product(pair)}/trades"

        def read(response: httpx.Response) -> list[Trade | Refused]:
            if response.status_code != 200:
                raise self._fault(pair, response)
            try:
                rows = wire.rows.decode(response.content)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise PassingError("malformed", f"answer is no list of trades: {error}") from None
            return [wire.trade(pair, bytes(row), url) for row in reversed(rows)]

        query: dict[str, Any] = parameters
        items = self.rest.get(url, query, read)
        self.knows(pair)
        return items

    def _fault(self, pair: str, response: httpx.Response) -> PassingError | SettingsError:
        status = f"HTTP status {response.status_code}"
        try:
            text = wire.problem.decode(response.content).message
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # a proxy's page
            return PassingError("server_error", status)
        if response.status_code == 404:
            return self._known.unknown(pair, text[:500])
        return PassingError("unavailable", f"{status}: {text[:500]}")


def connect(settings: TradesSettings, stop: Stop) -> Exchange:
    """Returns Coinbase, for the pairs of the settings."""
    coinbase = settings.exchange
    assert isinstance(coinbase, CoinbaseSettings)
    return Coinbase(settings, coinbase, stop)
