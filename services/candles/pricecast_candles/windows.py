"""Trades of one pair to candles: tumbling windows in event time, as a pure state machine.

A window closes once event time is at or beyond its end plus the grace; what then still comes for it is late. Event
time is that of the newest trade, or of the exchange's clock where that is ahead: nobody may trade for hours.
Between two candles every quiet window is filled with a flat one. The same trades in the same order give the same
candles bit for bit, wherever the state is packed and unpacked in between: volumes are added by Kahan's compensated
summation (the algorithm of pandas' and polars' group sums), with the compensation kept in the state.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

from pricecast_core.errors import BadMessageError
from pricecast_core.messages import Candle

# Format, closed until, event time, close to fill from (NaN: none), end of the last candle with trades.
_HEADER: Final = struct.Struct("<Bqqdq")
_HEADER_1: Final = struct.Struct("<Bqqd")
_WINDOW: Final = struct.Struct("<qqqqdddddd")
_FORMAT: Final = 2
_NEVER: Final = -1


class LateTradeError(BadMessageError):
    """The window that the trade belongs to is closed."""


@dataclass(slots=True)
class Window:
    """One window with at least one trade.

    Attributes:
        start_ms: Its start.
        first_ms: Time of the trade that gives the open; of several at one time the first to arrive.
        last_ms: Time of the trade that gives the close; of several at one time the last to arrive.
        compensation: What the sum of volumes has lost to rounding so far.
    """

    start_ms: int
    first_ms: int
    last_ms: int
    trade_count: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    compensation: float


class PairWindows:
    """The windows of one pair.

    Args:
        pair: The pair.
        candle_seconds: Length of a window; windows start at multiples of it since the Unix epoch.
        grace_ms: How long a window waits for late trades, in event time.
        max_gap: Most quiet windows in a row that are filled; a longer gap stays a gap.
        packed: State from `pack`; empty at the start.
    """

    __slots__ = (
        "_closed_until",
        "_current",
        "_current_end",
        "_fill_close",
        "_grace_ms",
        "_length_ms",
        "_max_gap",
        "_newest_ms",
        "_pair",
        "_quiet_since",
        "_seconds",
        "_windows",
    )

    def __init__(self, pair: str, candle_seconds: int, grace_ms: int, max_gap: int, packed: bytes = b"") -> None:
        self._pair = pair
        self._seconds = candle_seconds
        self._length_ms = candle_seconds * 1000
        self._grace_ms = grace_ms
        self._max_gap = max_gap
        self._closed_until = _NEVER
        self._newest_ms = _NEVER
        self._fill_close = math.nan
        self._quiet_since = _NEVER
        self._windows: dict[int, Window] = {}
        if packed:
            self._unpack(packed)
        self._current: Window | None = None
        self._current_end = 0

    @property
    def newest_ms(self) -> int:
        """Event time: of the newest trade, or of the clock where it is ahead; -1 before the first."""
        return self._newest_ms

    def add(self, timestamp_ms: int, price: float, volume: float) -> list[Candle]:
        """Takes a trade and returns the candles that it closes, in order of time.

        Raises:
            LateTradeError: If its window is closed; the trade changes nothing.
        """
        window = self._current
        if window is None or not window.start_ms <= timestamp_ms < self._current_end:
            start = timestamp_ms - timestamp_ms % self._length_ms
            if start < self._closed_until:
                raise LateTradeError(
                    f"timestamp_ms: {timestamp_ms} is late: candles of {self._pair} are closed until "
                    f"{self._closed_until}; raise grace_seconds if trades come out of order",
                    "timestamp_ms",
                    "late",
                )
            window = self._windows.get(start)
            if window is None:
                window = self._windows[start] = Window(
                    start, timestamp_ms, timestamp_ms, 0, price, price, price, price, 0.0, 0.0
                )
            self._current, self._current_end = window, start + self._length_ms
        window.trade_count += 1
        addend = volume - window.compensation
        total = window.volume + addend
        window.compensation = total - window.volume - addend
        window.volume = total
        if price > window.high:
            window.high = price
        elif price < window.low:
            window.low = price
        if timestamp_ms >= window.last_ms:
            window.last_ms, window.close = timestamp_ms, price
        elif timestamp_ms < window.first_ms:
            window.first_ms, window.open = timestamp_ms, price
        return self._advance(timestamp_ms)

    def advance(self, timestamp_ms: int) -> list[Candle]:
        """Takes the time of the exchange's clock and returns the candles that close by it, in order of time.

        Before the first trade there is nothing to close.
        """
        return self._advance(timestamp_ms) if self._newest_ms != _NEVER else []

    def _advance(self, timestamp_ms: int) -> list[Candle]:
        if timestamp_ms <= self._newest_ms:
            return []
        self._newest_ms = timestamp_ms
        settled = timestamp_ms - self._grace_ms
        if settled - self._closed_until < self._length_ms and self._closed_until != _NEVER:
            return []
        return self._close_until(settled - settled % self._length_ms)

    def open_candles(self) -> list[Candle]:
        """Returns the windows that are still open as they are now, in order of time."""
        return [self._candle(self._windows[start], closed=False) for start in sorted(self._windows)]

    def pack(self) -> bytes:
        """Returns the whole state in a few dozen bytes."""
        parts = [_HEADER.pack(_FORMAT, self._closed_until, self._newest_ms, self._fill_close, self._quiet_since)]
        for start in sorted(self._windows):
            w = self._windows[start]
            parts.append(
                _WINDOW.pack(
                    w.start_ms, w.first_ms, w.last_ms, w.trade_count,
                    w.open, w.high, w.low, w.close, w.volume, w.compensation,
                )
            )  # fmt: skip
        return b"".join(parts)

    def _unpack(self, packed: bytes) -> None:
        if packed[0] == _FORMAT:
            header = _HEADER
            _, self._closed_until, self._newest_ms, self._fill_close, self._quiet_since = header.unpack_from(packed)
        elif packed[0] == 1:  # what a pipeline of the version before has in its state
            header = _HEADER_1
            _, self._closed_until, self._newest_ms, self._fill_close = header.unpack_from(packed)
            self._quiet_since = self._closed_until
        else:
            raise ValueError(f"state of {self._pair} is in format {packed[0]}; this version reads 1 and {_FORMAT}")
        for values in _WINDOW.iter_unpack(packed[header.size :]):
            self._windows[values[0]] = Window(*values)

    def _close_until(self, horizon_ms: int) -> list[Candle]:
        if self._closed_until == _NEVER:  # nothing is known of the time before the first trade
            self._closed_until = min(horizon_ms, *self._windows)
        candles: list[Candle] = []
        for start in sorted(start for start in self._windows if start < horizon_ms):
            candles += self._flat(start, start)
            candle = self._candle(self._windows.pop(start), closed=True)
            candles.append(candle)
            self._closed_until = self._quiet_since = candle.window_end_ms
            self._fill_close = candle.close
        candles += self._flat(horizon_ms, min(self._windows, default=horizon_ms))
        self._closed_until = max(self._closed_until, horizon_ms)
        if self._current is not None and self._current.start_ms < horizon_ms:
            self._current = None
        return candles

    def _flat(self, end_ms: int, quiet_until_ms: int) -> list[Candle]:
        """Returns flat candles from the last closed one to `end_ms`; none if it is quiet for too long after it.

        Args:
            end_ms: Where to stop.
            quiet_until_ms: Start of the next window that has trades, at `end_ms` or later.
        """
        if math.isnan(self._fill_close):
            return []
        if quiet_until_ms - self._quiet_since > self._max_gap * self._length_ms:
            self._fill_close = math.nan
            return []
        price = self._fill_close
        starts = range(self._closed_until, end_ms, self._length_ms)
        return [
            self._candle(Window(start, start, start, 0, price, price, price, price, 0.0, 0.0), closed=True)
            for start in starts
        ]

    def _candle(self, window: Window, *, closed: bool) -> Candle:
        return Candle(
            pair=self._pair,
            open=window.open,
            high=window.high,
            low=window.low,
            close=window.close,
            volume=window.volume,
            trade_count=window.trade_count,
            window_start_ms=window.start_ms,
            window_end_ms=window.start_ms + self._length_ms,
            candle_seconds=self._seconds,
            closed=closed,
        )
