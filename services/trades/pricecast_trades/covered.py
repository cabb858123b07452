"""Which times were read before, told by the candles that were made of them: a row of another time can't follow any more."""

from __future__ import annotations

from array import array
from bisect import bisect_left

from pricecast_core.messages import Candle

_TOLERANCE = 0.02


class Covered:
    """The candles of one pair that hold trades.

    Args:
        begins: Whether the first candle that is there is the first there was: an older one may not be kept any more.
    """

    def __init__(self, *, begins: bool) -> None:
        self._begins = begins
        self._first_ms: int | None = None
        self._end_ms = 0
        self._length_ms = 0
        self._starts = array("q")
        self._lows, self._highs = array("d"), array("d")

    def add(self, candle: Candle) -> None:
        """Takes the next candle in time."""
        if not candle.closed or candle.window_start_ms < self._end_ms:
            return
        if self._first_ms is None:
            self._first_ms = candle.window_start_ms
        self._length_ms = candle.window_end_ms - candle.window_start_ms
        self._end_ms = candle.window_end_ms
        if candle.trade_count or candle.volume:
            self._starts.append(candle.window_start_ms)
            self._lows.append(candle.low)
            self._highs.append(candle.high)

    def has(self, time_ms: int, volume: float) -> bool:
        """Returns whether a row of a time may have been read, given that the topics hold newer ones.

        A row without volume changes nothing where time has passed: a flat candle is there in its place.
        """
        if self._first_ms is None or time_ms >= self._end_ms:
            return True  # no candle of its time is closed yet
        if time_ms < self._first_ms:
            return not self._begins
        return not volume or self._index(time_ms) is not None

    def fits(self, time_ms: int, price: float) -> bool | None:
        """Returns whether a price can be of the market that was read before; None where no candle of its time tells.

        Exchanges differ by less than the tolerance, currencies by more.
        """
        index = self._index(time_ms)
        if index is None:
            return None
        return self._lows[index] * (1 - _TOLERANCE) <= price <= self._highs[index] * (1 + _TOLERANCE)

    def _index(self, time_ms: int) -> int | None:
        if not self._length_ms:
            return None
        start_ms = time_ms - time_ms % self._length_ms
        index = bisect_left(self._starts, start_ms)
        return index if index < len(self._starts) and self._starts[index] == start_ms else None
