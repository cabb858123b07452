"""Where two streams of one pair's trades meet: what came before, so that nothing is missing and nothing comes twice.

An exchange numbers a pair's trades one by one, so a number tells both. Where a stream carries no numbers (Kraken's
WebSocket v1), the order does: trades come in the order of their times, so an older one is known, a newer one isn't,
and among those of the newest millisecond each known price, volume and side stands for one trade.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pricecast_core.messages import Trade

Likeness = tuple[float, float, str | None]


class Seam:
    """The end of what is known of one pair.

    Args:
        start_ms: Trades before it don't count.
        known: The newest known trades: those of one millisecond, in order; none if nothing is known.
    """

    def __init__(self, start_ms: int, known: Sequence[Trade] = ()) -> None:
        self.last_ms = start_ms - 1
        self.last_id: int | None = None
        self._known: Counter[Likeness] = Counter()
        self._seen_again: Counter[Likeness] = Counter()
        for trade in known:
            self._advance(trade)
        self.begin()

    def begin(self) -> None:
        """Says that another stream begins, which may repeat what is known."""
        self._seen_again.clear()

    def is_new(self, trade: Trade) -> bool:
        """Returns whether the trade isn't known, and knows it from now on."""
        if trade.trade_id is not None and self.last_id is not None:
            new = trade.trade_id > self.last_id
        elif trade.timestamp_ms != self.last_ms:
            new = trade.timestamp_ms > self.last_ms
        else:
            likeness = _likeness(trade)
            new = self._seen_again[likeness] >= self._known[likeness]
            if not new:
                self._seen_again[likeness] += 1
        if new:
            self._advance(trade)
        return new

    def joins(self, trade: Trade) -> bool:
        """Returns whether nothing can be missing between what is known and the trade."""
        if trade.trade_id is not None and self.last_id is not None:
            return trade.trade_id <= self.last_id + 1
        return trade.timestamp_ms <= self.last_ms

    def _advance(self, trade: Trade) -> None:
        if trade.timestamp_ms > self.last_ms:
            self.last_ms = trade.timestamp_ms
            self._known.clear()
            self._seen_again.clear()
        likeness = _likeness(trade)
        self._known[likeness] += 1
        self._seen_again[likeness] += 1
        self.last_id = trade.trade_id  # without a number from here on: order decides


def _likeness(trade: Trade) -> Likeness:
    return trade.price, trade.volume, trade.side
