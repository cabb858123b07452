"""The simulated market: the same for everyone who looks, and like a market in what it should be like."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest

from pricecast_core.errors import SettingsError
from pricecast_core.messages import Candle, Clock, Trade, decode, encode
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_trades.covered import Covered
from pricecast_trades.market import BLOCK, IDS_PER_MINUTE, MINUTE_MS, OPENING_MS, SimulatedPair, path
from pricecast_trades.source import Item, RefusedLine
from pricecast_trades.sources.simulated import SimulatedSource, trades

NOW = 1_750_000_000.0


class Ends:
    """What has been written, held in memory."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.items = list(items)

    def last_trades(self) -> dict[str, list[Trade]]:
        return {item.pair: [item] for item in self.items if isinstance(item, Trade)}

    def last_candles(self) -> dict[str, Candle]:
        return {}

    def covered(self) -> dict[str, Covered]:
        return {}

    def refused(self) -> frozenset[RefusedLine]:
        return frozenset()


def make(stop: Stop | None = None, clock: Any = lambda: NOW, **options: Any) -> SimulatedSource:
    chosen = {
        "pipeline": "t",
        "pairs": ["BTC/USD", "ETH/USD"],
        "source": "simulated",
        "mode": "Historical",
        "since": "3h",
    }
    return SimulatedSource(TradesSettings(**(chosen | options)), stop or Stop(), clock)


def read(source: SimulatedSource, written: Iterable[Item] = ()) -> list[Item]:
    return [item for batch in source.batches(Ends(written)) for item in batch]


def market(pair: str = "BTC/USD", seed: int = 7) -> SimulatedPair:
    return SimulatedPair(pair, seed, 50_000, 2)


def test_a_minute_does_not_depend_on_what_was_looked_at_before() -> None:
    wandering, straight = market(), market()
    for number in (5, 100_000, 3, 2_000, 900_000):
        wandering.minute(number)
    straight.minute(1_000_000 - 5 * BLOCK)
    for number in (1_000_000 - 2 * BLOCK, 1_000_000 - 1, 1_000_000, 1_000_001):
        straight.minute(number)  # day by day
    for number in (99_999, 100_000, 100_001, 1_000_000, 1_000_001):
        assert all(map(np.array_equal, _columns(wandering, number), _columns(straight, number)))


def log_prices(pair: str, minutes: int) -> Any:
    """At the beginnings of at least so many minutes, from the market's first one on."""
    blocks = islice(path(7, pair), minutes // BLOCK + 1)
    return np.concatenate([block.log_price[:-1] for block in blocks])


def test_a_pair_keeps_no_more_of_its_path_than_a_day() -> None:
    """Years of it for hundreds of pairs were gigabytes."""
    market("ETH/USD").minute(1_000_000)  # what all pairs have in common is kept once
    tracemalloc.start()
    try:
        pair = market()
        pair.minute(1_000_000)
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


def _columns(of: SimulatedPair, number: int) -> list[Any]:
    found = of.minute(number)
    return [found.time_ms, found.price, found.volume, found.buy]


def test_another_seed_or_pair_is_another_market() -> None:
    prices = [market(*of).minute(1_000).price[:5].tolist() for of in (("BTC/USD", 7), ("BTC/USD", 8), ("ETH/USD", 7))]
    assert len({tuple(found) for found in prices}) == 3


def test_trades_are_in_order_numbered_and_valid_messages() -> None:
    found = list(islice(trades(market(), 500_000, 0, Stop()), 20_000))
    assert all(a.timestamp_ms <= b.timestamp_ms and (a.trade_id or 0) < (b.trade_id or 0) for a, b in pairwise(found))
    assert all((t.trade_id or 0) // IDS_PER_MINUTE == (t.timestamp_ms - OPENING_MS) // MINUTE_MS for t in found)
    assert [decode(Trade, encode(trade)) for trade in found] == found
    assert all(len(f"{trade.price}") <= 8 and len(f"{trade.volume}") <= 8 for trade in found)  # round ticks and lots


def test_volatility_clusters_and_returns_do_not() -> None:
    prices = log_prices("BTC/USD", 1_000_000)
    returns = np.diff(prices)
    assert abs(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 0.01
    assert np.corrcoef(abs(returns[1:]), abs(returns[:-1]))[0, 1] > 0.15
    assert ((returns - returns.mean()) ** 4).mean() / returns.var() ** 2 > 5
    assert 0.4 < returns.std() * np.sqrt(365 * 1_440) < 1.2
    assert np.ptp(prices) < 3


def test_pairs_move_together_in_part() -> None:
    first, second = log_prices("BTC/USD", 500_000), log_prices("ETH/USD", 500_000)
    assert 0.3 < np.corrcoef(np.diff(first), np.diff(second))[0, 1] < 0.9


def test_within_a_minute_the_price_varies_as_between_minutes() -> None:
    pair, prices = SimulatedPair("BTC/USD", 7, 50_000, 200), log_prices("BTC/USD", 300_401)
    inner, outer = [], []
    for number in range(300_000, 300_400):
        found = pair.minute(number)
        seconds = np.interp(np.arange(0, 60_001, 10_000), found.time_ms - found.time_ms[0], np.log(found.price))
        inner.append(np.square(np.diff(seconds)).sum())
        outer.append((prices[number + 1] - prices[number]) ** 2)
    assert 0.6 < np.mean(inner) / np.mean(outer) < 1.7


def test_history_is_the_same_whenever_it_is_made_and_ends_now() -> None:
    whole = read(make())
    assert {item.pair for item in whole if isinstance(item, Trade)} == {"BTC/USD", "ETH/USD"}
    later = read(make(clock=lambda: NOW + 600))
    assert isinstance(whole[-1], Trade)
    assert NOW * 1000 - 60_000 < whole[-1].timestamp_ms < NOW * 1000
    known = set(later)
    shared = [item for item in whole if item in known]
    assert len(shared) > len(whole) * 0.9
    assert later[: len(shared)] == shared


def test_a_restart_goes_on_with_the_next_trade() -> None:
    whole = read(make())
    for cut in (1, 1_000, len(whole) - 1, len(whole)):
        assert read(make(), whole[:cut]) == whole[cut:]


def test_live_trades_come_when_their_time_has_come() -> None:
    class Watch(Stop):
        now = NOW

        def wait(self, seconds: float) -> bool:
            self.now += seconds
            return self.now > NOW + 20

    clock = Watch()
    source = make(clock, lambda: clock.now, mode="Live", pairs=["BTC/USD"], simulation_trades_per_second=5)
    count = 0
    for batch in source.batches(Ends()):
        for item in batch:
            assert isinstance(item, Trade)
            assert item.timestamp_ms <= clock.now * 1000
        count += len(batch)
    assert count > 20


def test_a_quiet_market_tells_its_candles_how_late_it_is() -> None:
    class Watch(Stop):
        now = NOW

        def wait(self, seconds: float) -> bool:
            self.now += seconds
            return self.now > NOW + 300

    watch, now_ms = Watch(), round(NOW * 1000)
    last_id = (now_ms - OPENING_MS) // MINUTE_MS * IDS_PER_MINUTE
    last = Trade(pair="BTC/USD", price=50_000, volume=1, trade_id=last_id, timestamp_ms=now_ms - now_ms % MINUTE_MS)
    quiet = {"mode": "Live", "pairs": ["BTC/USD"], "simulation_trades_per_second": 0.01, "candle_seconds": 5}
    told: list[Any] = [last]
    for batch in make(watch, lambda: watch.now, **quiet).batches(Ends([last])):
        told += batch
        assert told[-1].timestamp_ms <= watch.now * 1000
    assert {type(item) for item in told} == {Trade, Clock}
    assert all(item.timestamp_ms % 5_000 == 0 for item in told if isinstance(item, Clock))
    times = [item.timestamp_ms for item in told] + [now_ms + 300_000]
    assert all(
        a <= b <= max(a, now_ms) + 10_000 for a, b in pairwise(times)
    )  # no candle without a word, however few trades


def test_the_next_trade_is_looked_for_until_it_is_to_stop() -> None:
    """A trade in four months: nothing is given meanwhile that anyone could stop at."""

    class Looks(Stop):
        left = 1_000

        def is_set(self) -> bool:
            self.left -= 1
            return self.left < 0

    assert list(trades(SimulatedPair("BTC/USD", 7, 50_000, 1e-7), 0, 0, Looks())) == []


def test_the_market_has_a_first_day() -> None:
    with pytest.raises(SettingsError, match="2024-01-01"):
        make(since="2023-12-31T00:00:00Z")


@pytest.mark.parametrize("day", [1, 3, 359, 360, 363, 364, 900])
def test_a_day_is_the_same_bit_for_bit_wherever_one_begins(day: int) -> None:
    whole = next(islice(path(7, "BTC/USD"), day, None))
    for begin in (day, max(0, day - 1), max(0, day - 5)):
        same = next(islice(path(7, "BTC/USD", begin), day - begin, None))
        assert same.first == whole.first == day * BLOCK
        assert np.array_equal(same.log_price, whole.log_price)
        assert np.array_equal(same.log_variance, whole.log_variance)


def test_a_day_begins_where_the_one_before_ended_but_for_less_than_the_spread() -> None:
    blocks = list(islice(path(7, "BTC/USD"), 800))
    assert max(abs(b.log_price[0] - a.log_price[-1]) for a, b in pairwise(blocks)) < 1e-4
