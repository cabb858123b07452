"""Trades of the simulated market: the past as fast as it goes, then what happens, as it happens."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from pricecast_core.errors import SettingsError
from pricecast_core.messages import Trade
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_trades import times
from pricecast_trades.clock import Clocks
from pricecast_trades.market import IDS_PER_MINUTE, MINUTE_MS, OPENING_MS, SimulatedPair
from pricecast_trades.source import BATCH, Item, Written


class SimulatedSource:
    """A seeded market, live on this machine's clock.

    Args:
        settings: Seed, price, rate, mode and `since`.
        stop: Ends it.
        clock: Seconds since the Unix epoch.

    Raises:
        SettingsError: If `since` or `until` can't be.
    """

    def __init__(self, settings: TradesSettings, stop: Stop, clock: Callable[[], float] = time.time) -> None:
        now_ms = int(clock() * 1000)
        self._settings = settings
        self._stop = stop
        self._clock = clock
        self._clocks = Clocks(settings.candle_seconds, settings.grace_seconds)
        self._interval = settings.commit_interval_seconds
        self._since_ms = now_ms if settings.mode == "Live" else times.parse("since", settings.since, now_ms)
        if self._since_ms < OPENING_MS:
            raise SettingsError(f"since: {settings.since!r} is before the simulated market opened, 2024-01-01")
        self._until_ms = times.parse("until", settings.until, now_ms) if settings.mode == "Historical" else None

    def batches(self, written: Written) -> Iterator[Sequence[Item]]:
        """Yields the trades that come after those written."""
        last = written.last_trades()
        last_id = {pair: newest[-1].trade_id or 0 for pair, newest in last.items()}
        for known in last.values():
            self._clocks.note(known)
        first_minute = (self._since_ms - OPENING_MS) // MINUTE_MS
        settings = self._settings
        markets = [
            SimulatedPair(
                pair, settings.simulation_seed, settings.simulation_start_price, settings.simulation_trades_per_second
            )
            for pair in settings.pairs
        ]
        # Without a trade written, whole minutes from `since` on: the first candle is whole.
        minutes = [last_id.get(pair, 0) // IDS_PER_MINUTE or first_minute for pair in settings.pairs]
        for market, minute in zip(markets, minutes, strict=True):
            if self._stop.is_set():
                return
            market.go_to(minute)
        streams = [
            trades(market, minute, last_id.get(market.pair, 0), self._stop)
            for market, minute in zip(markets, minutes, strict=True)
        ]
        yield from self._paced(
            heapq.merge(*streams, key=attrgetter("timestamp_ms")) if len(streams) > 1 else streams[0]
        )

    def ready(self) -> str | None:
        """Always ready."""
        return None

    def alive(self) -> str | None:
        """Always alive."""
        return None

    def _paced(self, trades: Iterator[Trade]) -> Iterator[Sequence[Item]]:
        batch: list[Item] = []
        now_ms = self._now_ms()
        for trade in trades:
            if self._until_ms is not None and trade.timestamp_ms >= self._until_ms:
                break
            while trade.timestamp_ms > now_ms:
                if self._until_ms is None:  # all there is up to now has been given: no trade can come before now
                    self._clocks.note(batch)
                    batch += self._clocks.at(now_ms, self._settings.pairs)
                if batch:
                    yield batch
                    batch = []
                elif self._stop.wait(max(self._interval, min((trade.timestamp_ms - now_ms) / 1000, 1.0))):
                    return
                now_ms = self._now_ms()
            batch.append(trade)
            if len(batch) >= BATCH:
                self._clocks.note(batch)
                yield batch
                batch = []
                if self._stop.is_set():
                    return
        if batch:
            yield batch

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def trades(market: SimulatedPair, minute: int, after_id: int, stop: Stop) -> Iterator[Trade]:
    """Yields a pair's trades from a minute on, without those up to an id, until it is to stop.

    It looks at that each minute: the next minute with a trade may be far off.
    """
    while not stop.is_set():
        found = market.minute(minute)
        first_id = minute * IDS_PER_MINUTE + 1
        columns = zip(
            found.time_ms.tolist(), found.price.tolist(), found.volume.tolist(), found.buy.tolist(), strict=True
        )
        for trade_id, (time_ms, price, volume, buy) in enumerate(columns, first_id):
            if trade_id > after_id:
                yield Trade(
                    pair=market.pair,
                    price=price,
                    volume=volume,
                    side="buy" if buy else "sell",
                    trade_id=trade_id,
                    timestamp_ms=time_ms,
                )
        minute += 1
