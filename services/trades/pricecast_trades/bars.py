"""Bars become closed candles: joined where a candle is longer than a bar, with flat ones for quiet times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pricecast_core import metrics
from pricecast_core.files import BarRow
from pricecast_core.messages import Candle


@dataclass(slots=True)
class Coverage:
    """How much of a history's time its rows cover, in candles.

    Attributes:
        length_ms: Length of a candle.
        max_gap: Longest quiet time that is filled, in candles.
        made: Candles with at least one row.
        filled: Candles between them that are filled, for want of rows.
    """

    length_ms: int
    max_gap: int
    made: int = 0
    filled: int = 0
    _window: int = -1

    def add(self, time_ms: int) -> None:
        """Takes the time of the next row."""
        window = time_ms // self.length_ms
        if window == self._window:
            return
        quiet = window - self._window - 1
        if self.made and quiet <= self.max_gap:
            self.filled += quiet
        self.made += 1
        self._window = window


class CandleBuilder:
    """The candles of one pair, in order.

    Args:
        pair: The pair.
        candle_seconds: Length of a candle: a multiple of the bars'.
        bar_ms: Length of a bar.
        max_gap_candles: Longest quiet time that is filled.
        last: The candle written last, or None: bars before its end are skipped.
    """

    def __init__(self, pair: str, candle_seconds: int, bar_ms: int, max_gap_candles: int, last: Candle | None) -> None:
        self._pair = pair
        self._seconds = candle_seconds
        self._length_ms = candle_seconds * 1000
        self._bar_ms = bar_ms
        self._max_gap = max_gap_candles
        self._last = last
        self._bars: list[BarRow] = []
        self._window_ms = -1
        self._flat = metrics.FLAT_CANDLES.labels(pair)

    @property
    def last_end_ms(self) -> int:
        """End of the newest candle; 0 before the first."""
        return 0 if self._last is None else self._last.window_end_ms

    def add(self, bar: BarRow) -> Iterator[Candle]:
        """Takes the next bar in time and yields the candles that are closed by then."""
        if self._last is not None and bar.time_ms < self._last.window_end_ms:
            return
        window_ms = bar.time_ms - bar.time_ms % self._length_ms
        if window_ms != self._window_ms:
            yield from self._close()
            self._window_ms = window_ms
        self._bars.append(bar)
        if bar.time_ms + self._bar_ms >= window_ms + self._length_ms:
            yield from self._close()

    def _close(self) -> Iterator[Candle]:
        """Yields the flat candles up to the window and the window's own."""
        bars, self._bars = self._bars, []
        if not bars:
            return
        last = self._last
        if last is not None and (self._window_ms - last.window_end_ms) // self._length_ms <= self._max_gap:
            while last.window_end_ms < self._window_ms:
                last = last.flat_after()
                self._flat.inc()
                yield last
        self._last = Candle(
            pair=self._pair,
            open=bars[0].open,
            high=max(bar.high for bar in bars),
            low=min(bar.low for bar in bars),
            close=bars[-1].close,
            volume=sum(bar.volume for bar in bars) if len(bars) > 1 else bars[0].volume,
            trade_count=sum(bar.trades for bar in bars),
            window_start_ms=self._window_ms,
            window_end_ms=self._window_ms + self._length_ms,
            candle_seconds=self._seconds,
        )
        yield self._last
