"""Tells candles how late it is while nobody trades, so that they close on time and not with the next trade.

An exchange proves by its heartbeats, and by trades of other pairs, that it has nothing more to tell. Such a proof
carries this machine's time, not the exchange's: what the messages of late have taken, from their time by the exchange
to their arrival, is taken off, and a margin beside it. So event time never runs ahead of trades on their way, however
wrong this machine's clock is; and it never falls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from pricecast_core.messages import Clock, Trade

MARGIN_MS = 1_000
"""How much later than any message of late the next one may be."""
_SAMPLES = 256
_SAMPLE_MS = 600_000


class Lag:
    """How far messages have been behind this machine's clock of late, the worst of them."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque(maxlen=_SAMPLES)

    def note(self, sent_ms: int, received_ms: int) -> None:
        """Notes a message's time by the exchange, and by this machine when it came."""
        while len(self._samples) > 1 and self._samples[0][0] < received_ms - _SAMPLE_MS:
            self._samples.popleft()
        self._samples.append((received_ms, received_ms - sent_ms))

    def exchange_time(self, received_ms: int) -> int | None:
        """Returns the time up to which the exchange has told all by now; None before the first message."""
        if not self._samples:
            return None
        return received_ms - max(0, *(lag for _, lag in self._samples)) - MARGIN_MS


class Clocks:
    """The event time of each pair, and a word to the candles whenever it passes the end of one without a trade.

    Args:
        candle_seconds: Length of a candle.
        grace_seconds: How long candles wait for late trades.
    """

    def __init__(self, candle_seconds: int, grace_seconds: float) -> None:
        self._length_ms = candle_seconds * 1000
        self._grace_ms = round(grace_seconds * 1000)
        self._times: dict[str, int] = {}

    def note(self, items: Iterable[object]) -> None:
        """Notes the trades among what is written."""
        for item in items:
            if isinstance(item, Trade) and item.timestamp_ms > self._times.get(item.pair, -1):
                self._times[item.pair] = item.timestamp_ms

    def at(self, time_ms: int, pairs: Iterable[str]) -> Iterator[Clock]:
        """Yields a clock for each pair of which a candle ends by then; those without a trade yet have none."""
        for pair in pairs:
            known = self._times.get(pair)
            if known is not None and self._closed(time_ms) > self._closed(known):
                self._times[pair] = self._closed(time_ms) + self._grace_ms
                yield Clock(kind="clock", pair=pair, timestamp_ms=self._times[pair])

    def _closed(self, time_ms: int) -> int:
        settled = time_ms - self._grace_ms
        return settled - settled % self._length_ms
