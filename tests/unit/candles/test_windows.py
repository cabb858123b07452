"""Windows: closed by event time, filled where quiet, exact, and the same whatever happens in between."""

from __future__ import annotations

import itertools
import math
import struct

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_candles.windows import LateTradeError, PairWindows
from pricecast_core.messages import Candle

START_MS = 1_767_225_600_000
MINUTE_MS = 60_000
Trades = list[tuple[int, float, float]]

prices = st.floats(1e-9, 1e9)
volumes = st.floats(1e-9, 1e9)
steps = st.lists(st.tuples(st.integers(0, 150_000), prices, volumes), min_size=1, max_size=60)


def in_order(raw: Trades) -> Trades:
    """Turns steps in time into times."""
    now, trades = START_MS + 17, []
    for step, price, volume in raw:
        now += step
        trades.append((now, price, volume))
    return trades


def windows(packed: bytes = b"", grace_ms: int = 0, max_gap: int = 100) -> PairWindows:
    return PairWindows("BTC/USD", 60, grace_ms, max_gap, packed)


def run(trades: Trades, grace_ms: int = 0, max_gap: int = 100) -> list[Candle]:
    machine = windows(grace_ms=grace_ms, max_gap=max_gap)
    return [candle for trade in trades for candle in machine.add(*trade)]


def minute(number: float) -> int:
    return START_MS + int(number * MINUTE_MS)


@given(steps)
def test_candles_are_those_of_pandas_bit_for_bit(raw: Trades) -> None:
    trades = in_order(raw)
    frame = pd.DataFrame(trades, columns=["ms", "price", "volume"])
    frame.index = pd.to_datetime(frame["ms"], unit="ms")
    groups = frame.resample("60s")
    expected = groups["price"].ohlc().assign(volume=groups["volume"].sum(), count=groups["price"].count()).iloc[:-1]
    candles = run(trades, max_gap=10_000)
    assert len(candles) == len(expected)
    for candle, row in zip(candles, expected.itertuples(), strict=True):
        if row.count:
            assert (candle.open, candle.high, candle.low, candle.close) == (row.open, row.high, row.low, row.close)
        assert candle.volume == row.volume
        assert candle.trade_count == row.count


@given(steps, st.lists(st.booleans(), min_size=60, max_size=60), st.sampled_from([0, 30_000, 200_000]))
def test_packing_at_any_moment_changes_no_bit(raw: Trades, packs: list[bool], grace_ms: int) -> None:
    trades = in_order(raw)
    machine, candles = windows(grace_ms=grace_ms), []
    for trade, pack in zip(trades, packs, strict=False):
        if pack:
            machine = windows(machine.pack(), grace_ms=grace_ms)
        candles += machine.add(*trade)
    assert candles == run(trades, grace_ms=grace_ms)


@given(steps, st.sampled_from([0, 1, 30_000, 60_000, 61_000]))
def test_candles_follow_on_each_other_without_a_gap(raw: Trades, grace_ms: int) -> None:
    candles = run(in_order(raw), grace_ms=grace_ms, max_gap=10_000)
    assert all(after.window_start_ms == before.window_end_ms for before, after in itertools.pairwise(candles))
    for before, after in itertools.pairwise(candles):
        if after.trade_count == 0:
            assert after == before.flat_after()


@given(steps, st.randoms(use_true_random=False))
def test_within_the_grace_arrival_order_changes_only_the_order_of_sums(raw: Trades, random: object) -> None:
    trades = in_order([(step % 5_000, price, volume) for step, price, volume in raw])
    trades = list({trade[0]: trade for trade in trades}.values())  # one a millisecond: which is first is then certain
    shuffled = [
        trade
        for start in range(0, len(trades), 4)
        for trade in sorted(trades[start : start + 4], key=lambda _: random.random())  # type: ignore[attr-defined]
    ]
    ordered, other = run(trades, grace_ms=60_000), run(shuffled, grace_ms=60_000)
    assert len(ordered) == len(other)
    for left, right in zip(ordered, other, strict=True):
        assert (left.open, left.high, left.low, left.close) == (right.open, right.high, right.low, right.close)
        assert math.isclose(left.volume, right.volume, rel_tol=1e-15)


def test_a_window_closes_with_the_first_trade_at_its_end_plus_the_grace() -> None:
    machine = windows(grace_ms=10_000)
    assert machine.add(minute(0), 1.0, 1.0) == []
    assert machine.add(minute(1) + 9_999, 2.0, 1.0) == []
    (candle,) = machine.add(minute(1) + 10_000, 3.0, 1.0)
    assert (candle.window_start_ms, candle.window_end_ms, candle.close) == (minute(0), minute(1), 1.0)


def test_a_late_trade_is_refused_with_its_reason_and_changes_nothing() -> None:
    machine = windows()
    machine.add(minute(0), 1.0, 1.0)
    machine.add(minute(1), 2.0, 1.0)
    before = machine.pack()
    with pytest.raises(LateTradeError, match=r"timestamp_ms.*late.*grace_seconds") as caught:
        machine.add(minute(1) - 1, 9.0, 9.0)
    assert (caught.value.reason, caught.value.field) == ("late", "timestamp_ms")
    assert machine.pack() == before


def test_a_gap_within_the_limit_is_filled_at_the_last_close() -> None:
    candles = run([(minute(0), 5.0, 1.0), (minute(4), 6.0, 1.0), (minute(5), 7.0, 1.0)], max_gap=3)
    assert [(candle.open, candle.close, candle.volume, candle.trade_count) for candle in candles] == [
        (5.0, 5.0, 1.0, 1),
        *[(5.0, 5.0, 0.0, 0)] * 3,
        (6.0, 6.0, 1.0, 1),
    ]


@pytest.mark.parametrize("grace_ms", [0, 30_000, 120_000])
def test_a_longer_gap_stays_a_gap(grace_ms: int) -> None:
    candles = run(
        [(minute(0), 5.0, 1.0), (minute(5), 6.0, 1.0), (minute(6), 7.0, 1.0), (minute(10), 8.0, 1.0)],
        grace_ms=grace_ms,
        max_gap=3,
    )
    closed = [candle.window_start_ms for candle in candles]
    assert closed[:3] == [minute(0), minute(5), minute(6)]


def test_open_candles_show_the_windows_as_they_are() -> None:
    machine = windows()
    machine.add(minute(0), 1.0, 1.0)
    machine.add(minute(0.5), 3.0, 2.0)
    (candle,) = machine.open_candles()
    assert (candle.open, candle.close, candle.volume, candle.closed) == (1.0, 3.0, 3.0, False)


def test_state_of_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 9"):
        windows(b"\x09" + windows().pack()[1:])


def test_the_clock_closes_a_quiet_window_and_flat_candles_follow() -> None:
    machine = windows()
    assert machine.advance(minute(0)) == []  # nothing is known before the first trade
    machine.add(minute(0.5), 10.0, 1.0)
    assert machine.advance(minute(0.9)) == []
    [first] = machine.advance(minute(1))
    assert (first.window_end_ms, first.close, first.trade_count) == (minute(1), 10.0, 1)
    flat = machine.advance(minute(4.2))
    assert [(candle.window_end_ms, candle.close, candle.trade_count) for candle in flat] == [
        (minute(number), 10.0, 0) for number in (2, 3, 4)
    ]
    assert machine.advance(minute(4.1)) == []
    [quiet] = machine.add(minute(5.5), 11.0, 1.0)
    assert (quiet.window_end_ms, quiet.trade_count) == (minute(5), 0)


def test_the_clock_waits_for_the_grace_and_what_comes_after_it_is_late() -> None:
    machine = windows(grace_ms=10_000)
    machine.add(minute(0.5), 10.0, 1.0)
    assert machine.advance(minute(1) + 9_999) == []
    machine.add(minute(0.9), 12.0, 1.0)  # within the grace, behind the clock
    [candle] = machine.advance(minute(1) + 10_000)
    assert (candle.high, candle.trade_count) == (12.0, 2)
    with pytest.raises(LateTradeError, match="is late"):
        machine.add(minute(0.95), 12.0, 1.0)


def test_quiet_for_too_long_is_no_market_by_the_clock_either() -> None:
    machine = windows(max_gap=3)
    machine.add(minute(0.5), 10.0, 1.0)
    made = [candle for number in range(1, 10) for candle in machine.advance(minute(number))]
    assert [candle.window_end_ms for candle in made] == [minute(number) for number in (1, 2, 3, 4)]
    machine.add(minute(20.5), 11.0, 1.0)
    assert [candle.window_end_ms for candle in machine.advance(minute(21))] == [minute(21)]


@given(steps, st.data())
def test_clocks_change_when_candles_close_and_nothing_else(raw: Trades, data: st.DataObject) -> None:
    trades = in_order(raw)
    machine, timed = windows(max_gap=10_000), []
    now = START_MS
    for trade in trades:
        clock = data.draw(st.integers(now, trade[0]))
        machine = windows(machine.pack(), max_gap=10_000)
        timed += machine.advance(clock)
        timed += machine.add(*trade)
        now = trade[0]
    assert timed == run(trades, max_gap=10_000)


def test_the_state_of_the_version_before_is_read() -> None:
    packed = struct.pack("<Bqqd", 1, minute(1), minute(1.5), 10.0)
    packed += struct.pack("<qqqqdddddd", minute(1), minute(1.5), minute(1.5), 1, 10.0, 10.0, 10.0, 10.0, 1.0, 0.0)
    closed = windows(packed).advance(minute(3))
    assert [(candle.window_end_ms, candle.trade_count) for candle in closed] == [(minute(2), 1), (minute(3), 0)]
