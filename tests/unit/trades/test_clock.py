"""How late it is while nobody trades."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.messages import Clock, Trade
from pricecast_trades.clock import MARGIN_MS, Clocks, Lag

T0 = 1_700_000_000_000 // 60_000 * 60_000


def trade(time_ms: int, pair: str = "BTC/USD") -> Trade:
    return Trade(pair=pair, price=1.0, volume=1.0, timestamp_ms=time_ms)


def test_a_quiet_pair_is_told_once_for_each_candle_that_ends() -> None:
    clocks = Clocks(60, 0)
    clocks.note([trade(T0 + 59_999)])
    told = [clock.timestamp_ms for ms in range(T0 + 50_000, T0 + 200_000, 500) for clock in clocks.at(ms, ["BTC/USD"])]
    assert told == [T0 + 60_000, T0 + 120_000, T0 + 180_000]


def test_a_lively_pair_and_one_that_never_traded_are_told_nothing() -> None:
    clocks = Clocks(60, 0)
    clocks.note([trade(T0 + 60_001)])
    assert list(clocks.at(T0 + 61_000, ["BTC/USD", "ETH/USD"])) == []


def test_grace_is_waited_for() -> None:
    clocks = Clocks(60, 10)
    clocks.note([trade(T0 + 20_000)])
    assert list(clocks.at(T0 + 69_999, ["BTC/USD"])) == []
    [clock] = clocks.at(T0 + 70_000, ["BTC/USD"])
    assert clock == Clock(kind="clock", pair="BTC/USD", timestamp_ms=T0 + 70_000)


def test_without_any_message_of_the_exchange_the_time_is_not_known() -> None:
    assert Lag().exchange_time(T0) is None


@given(
    st.integers(-600_000, 600_000),
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, MARGIN_MS + 4_000)), min_size=1, max_size=20),
)
def test_the_time_never_runs_ahead_of_a_trade_as_late_as_those_before(
    skew_ms: int, messages: list[tuple[int, int]]
) -> None:
    """Whatever this machine's clock says, and but for the margin."""
    lag, sent_ms, worst = Lag(), T0, 0
    for pause_ms, delay_ms in messages:
        sent_ms += pause_ms
        received_ms = sent_ms + delay_ms + skew_ms
        known = lag.exchange_time(received_ms)
        if known is not None and delay_ms <= worst + MARGIN_MS:
            assert known <= sent_ms
        if known is not None:
            assert known <= received_ms
        lag.note(sent_ms, received_ms)
        worst = max(worst, delay_ms)


@given(st.lists(st.tuples(st.booleans(), st.integers(T0, T0 + 1_000_000)), max_size=50), st.sampled_from([0.0, 2.5]))
def test_event_time_never_falls(steps: list[tuple[bool, int]], grace: float) -> None:
    clocks, last = Clocks(5, grace), 0
    for is_trade, time_ms in steps:
        if is_trade:
            clocks.note([trade(time_ms)])
            last = max(last, time_ms)
        for clock in clocks.at(time_ms, ["BTC/USD"]):
            assert last < clock.timestamp_ms <= time_ms
            last = clock.timestamp_ms
