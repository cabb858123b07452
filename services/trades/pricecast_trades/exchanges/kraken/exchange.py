"""Kraken, put together from its REST API and one of its WebSocket APIs."""

from __future__ import annotations

import httpx
import msgspec

from pricecast_core import logs
from pricecast_core.errors import SettingsError
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_core.settings.exchanges import KrakenSettings
from pricecast_trades.errors import PassingError
from pricecast_trades.exchange import Exchange, Page
from pricecast_trades.exchanges.kraken import wire
from pricecast_trades.exchanges.kraken.faults import Faults
from pricecast_trades.feed import Feed
from pricecast_trades.rest import RestClient
from pricecast_trades.seam import Seam

PAGE_ROWS = 1_000
"""Most trades that Kraken gives at once."""
log = logs.get(__name__)


class Kraken:
    """Kraken, for the pairs of a pipeline.

    Args:
        settings: Pairs and times.
        kraken: How it is reached.
        stop: Ends waits.
    """

    consecutive = True

    def __init__(self, settings: TradesSettings, kraken: KrakenSettings, stop: Stop) -> None:
        self._settings = settings
        self._kraken = kraken
        public = f"{kraken.rest_url.rstrip('/')}/0/public"
        self._endpoint, self._list_endpoint = f"{public}/Trades", f"{public}/AssetPairs"
        self._faults = Faults(listed=self._listed)
        self._overfull: dict[str, int] = {}  # by pair the last moment, in ns, that had more trades than a page holds
        self.rest = RestClient("kraken_rest_url", kraken.requests_per_second, stop)

    def page(self, pair: str, seam: Seam, cursor: int) -> Page:
        """Returns a page of the trades that come after what is known of a pair.

        A page may end between two trades of one moment, and `since` excludes the moment it names: so each page
        begins just before the last known moment, and the overlap is dropped by the seam.
        """
        since = max(cursor, seam.last_ms * 1_000_000 - 1)
        page = self._ask(pair, since)
        if self._overfull.get(pair) == since and not page.items:
            # Nothing comes after a moment of more trades than a page holds. Without `since` Kraken gives the newest,
            # which are the last of that moment; their numbers tell how many lie between and can't be had.
            newest = self._ask(pair, None)
            return Page(newest.items, since, False) if newest.cursor <= since else Page((), since, True)
        return page

    def feed(self) -> Feed:
        """Returns the stream of the WebSocket version that the settings name."""
        names, stuck = self._settings.pairs, self._settings.stall_timeout_seconds
        url, silence = self._kraken.stream_url, self._kraken.silence_seconds
        if self._kraken.websocket == "v1":
            try:
                from pricecast_trades.exchanges.kraken import websocket_v1  # noqa: PLC0415 - Twisted is heavy
            except ModuleNotFoundError as error:
                raise SettingsError(
                    f"kraken_websocket: 'v1' needs {error.name}, which is not installed; "
                    "install pricecast-trades[kraken-v1], or use v2"
                ) from error

            return websocket_v1.FeedV1(url, names, self._faults, silence, stuck)
        from pricecast_trades.exchanges.kraken.session_v2 import SessionV2  # noqa: PLC0415
        from pricecast_trades.websocket import WebSocketFeed  # noqa: PLC0415

        return WebSocketFeed(
            url,
            lambda: SessionV2(url, names, self._faults),
            setting="kraken_websocket_url",
            source="kraken-v2",
            silence_seconds=silence,
            stuck_seconds=stuck,
        )

    def knows(self, pair: str) -> None:
        """Says that Kraken has given trades of the pair before."""
        self._faults.knows(pair)

    def _listed(self, pair: str) -> frozenset[str] | None:
        """Returns the pairs that Kraken lists, of the kind that this one is of; None if it doesn't answer with a list."""
        parameters = {"aclass_base": wire.TOKENISED} if wire.is_tokenised(pair) else {}
        try:
            return self.rest.once(self._list_endpoint, parameters, lambda response: wire.listed(response.content))
        except PassingError as error:
            log.warning("the list of pairs can't be read", error=str(error), url=self._list_endpoint)
            return None

    def _ask(self, pair: str, since: int | None) -> Page:
        """Returns the trades after a moment, or the newest."""
        parameters: dict[str, str | int] = {"pair": wire.rest_pair(pair), "count": PAGE_ROWS}
        if since is not None:
            parameters["since"] = since
        if wire.is_tokenised(pair):
            parameters["asset_class"] = wire.TOKENISED
        page = self.rest.get(self._endpoint, parameters, lambda response: self._read(pair, since, response))
        self.knows(pair)
        return page

    def _read(self, pair: str, since: int | None, response: httpx.Response) -> Page:
        if response.status_code != 200:  # Kraken puts its errors into the answer: this is a proxy before it
            raise PassingError("server_error", f"HTTP status {response.status_code}")
        try:
            answer = wire.rest_answer.decode(response.content)
            fault = self._faults.judge(pair, answer.error)
            if fault is not None:
                raise fault
            result = dict(answer.result or {})
            last_ns = int(msgspec.json.decode(result.pop("last"), type=int | str))
            [rows] = result.values()
            items = wire.rest_trades(pair, rows, self._endpoint)
        except (msgspec.MsgspecError, KeyError, ValueError, RecursionError) as error:
            raise PassingError("malformed", f"answer is not of the form of Trades: {error}") from None
        full = len(items) >= PAGE_ROWS
        if since is None:
            return Page(items, last_ns, full)
        if full and last_ns <= since:
            raise PassingError("malformed", f"answer says to go on from {last_ns}, where it was asked for {since}")
        # `since` excludes the moment it names, which may have more trades than were given: one step back, if it leads on.
        if last_ns - 1 > since:
            return Page(items, last_ns - 1, full)
        if full:
            self._overfull[pair] = last_ns
        return Page(items, last_ns, full)


def connect(settings: TradesSettings, stop: Stop) -> Exchange:
    """Returns Kraken, for the pairs of the settings."""
    kraken = settings.exchange
    assert isinstance(kraken, KrakenSettings)
    return Kraken(settings, kraken, stop)
