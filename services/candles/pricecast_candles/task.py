"""The candles service's work on the stream: each pair's windows, kept in the stream's state between two commits."""

from __future__ import annotations

from pricecast_candles.windows import LateTradeError, PairWindows
from pricecast_core import metrics, services
from pricecast_core.errors import BadMessageError
from pricecast_core.messages import Candle, Clock, Trade
from pricecast_core.settings import CandlesSettings
from pricecast_core.streaming import StreamTask
from pricecast_core.topics import CANDLES

SERVICE = services.CANDLES.group
_STATE = "windows"


class CandlesTask(StreamTask[Trade | Clock]):
    """Adds trades to the windows of their pair and publishes the candles that close.

    A pair's windows live in memory, and are written to the state before each commit that follows a change: a trade
    costs no access to the state.
    """

    def __init__(self, settings: CandlesSettings) -> None:
        self._pairs = frozenset(settings.pairs)
        self._seconds = settings.candle_seconds
        self._grace_ms = round(settings.grace_seconds * 1000)
        self._max_gap = settings.max_gap_candles
        self._emit_open = settings.emit_open_candles
        self._windows: dict[tuple[int, str], PairWindows] = {}
        self._saved: dict[tuple[int, str], bytes] = {}

    def handle(self, message: Trade | Clock, partition: int) -> None:
        """Adds a trade, or lets the exchange's clock close windows.

        Raises:
            BadMessageError: If its pair is unknown (`unknown_pair`) or its window is closed (`late`).
        """
        pair = message.pair
        windows = self._windows.get((partition, pair))
        if windows is None:
            windows = self._load(partition, pair)
        closed: list[Candle]
        try:
            if isinstance(message, Trade):
                closed = windows.add(message.timestamp_ms, message.price, message.volume)
            else:
                closed = windows.advance(message.timestamp_ms)
        except LateTradeError:
            metrics.LATE_TRADES.labels(pair).inc()
            raise
        for candle in closed:
            self.stream.publish(CANDLES, pair, candle)
            if candle.trade_count == 0:
                metrics.FLAT_CANDLES.labels(pair).inc()

    def checkpoint(self) -> None:
        """Writes the windows that changed to the state."""
        for key, windows in self._windows.items():
            packed = windows.pack()
            if packed == self._saved.get(key):
                continue
            partition, pair = key
            self.stream.state(partition, pair).set_bytes(_STATE, packed)
            self._saved[key] = packed
            metrics.EVENT_TIME.labels(SERVICE, pair).set(windows.newest_ms / 1000)
            if self._emit_open:
                for candle in windows.open_candles():
                    self.stream.publish(CANDLES, pair, candle)

    def discard(self) -> None:
        """Forgets the windows in memory."""
        self._windows.clear()
        self._saved.clear()

    def _load(self, partition: int, pair: str) -> PairWindows:
        if pair not in self._pairs:
            raise BadMessageError(
                f"pair: {pair!r} is none of this pipeline's; add it to the pipeline's pairs", "pair", "unknown_pair"
            )
        packed = self.stream.state(partition, pair).get_bytes(_STATE, b"")
        windows = PairWindows(pair, self._seconds, self._grace_ms, self._max_gap, packed)
        self._windows[partition, pair] = windows
        return windows
