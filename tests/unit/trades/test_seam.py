"""Two streams that overlap in any way join to the one sequence that the exchange made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.messages import Trade
from pricecast_trades.seam import Seam

START_MS = 1_700_000_000_000


@st.composite
def sequences(draw: st.DrawFn) -> list[Trade]:
    """Trades in exchange order, many of them of one millisecond and alike."""
    steps = draw(st.lists(st.tuples(st.sampled_from([0, 0, 1, 50]), st.sampled_from([1.0, 2.0])), max_size=30))
    found, time_ms = [], START_MS
    for number, (step, price) in enumerate(steps, 1):
        time_ms += step
        found.append(Trade(pair="BTC/USD", price=price, volume=1.0, trade_id=number, timestamp_ms=time_ms))
    return found


def without_id(trade: Trade) -> Trade:
    return Trade(pair=trade.pair, price=trade.price, volume=trade.volume, timestamp_ms=trade.timestamp_ms)


def take(seam: Seam, trades: list[Trade]) -> list[Trade]:
    seam.begin()
    return [trade for trade in trades if seam.is_new(trade)]


def same_millisecond(trades: list[Trade]) -> list[Trade]:
    return [trade for trade in trades if trade.timestamp_ms == trades[-1].timestamp_ms] if trades else []


@given(sequences(), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=8))
def test_numbered_trades_come_once_however_the_streams_overlap(
    trades: list[Trade], streams: list[tuple[int, int]]
) -> None:
    seam, found, known = Seam(START_MS), [], 0
    for reaches, repeats in [*sorted(streams), (len(trades), 0)]:
        end = min(reaches, len(trades))
        found += take(seam, trades[max(0, known - repeats) : end])
        known = max(known, end)
    assert found == trades


@given(sequences(), st.data())
def test_trades_without_numbers_come_once_if_a_stream_repeats_whole_milliseconds(
    trades: list[Trade], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(trades)))
    moment = trades[cut - 1].timestamp_ms if cut else START_MS
    first = [without_id(trade) for trade in trades[:cut]]
    again = [trade for trade in trades if trade.timestamp_ms >= moment]  # REST, asked from that millisecond on
    seam = Seam(START_MS)
    found = take(seam, first) + take(seam, again)
    assert [without_id(trade) for trade in found] == [without_id(trade) for trade in trades]


@given(sequences(), st.data())
def test_the_topics_end_says_where_to_go_on(trades: list[Trade], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(trades)))
    numbered = data.draw(st.booleans())
    written = [trade if numbered else without_id(trade) for trade in trades[:cut]]
    seam = Seam(START_MS, same_millisecond(written))
    moment = written[-1].timestamp_ms if written else START_MS
    assert take(seam, [trade for trade in trades if trade.timestamp_ms >= moment]) == trades[cut:]


def test_a_number_that_leaps_is_a_gap() -> None:
    trades = [Trade(pair="BTC/USD", price=1, volume=1, trade_id=n, timestamp_ms=START_MS + n) for n in range(5)]
    seam = Seam(START_MS)
    assert seam.is_new(trades[0])
    assert seam.joins(trades[1])
    assert not seam.joins(trades[2])
    assert seam.is_new(trades[2])
    assert seam.joins(trades[1])
    assert seam.joins(trades[3])


def test_without_numbers_only_an_overlap_proves_that_nothing_is_missing() -> None:
    known = Trade(pair="BTC/USD", price=1, volume=1, trade_id=4, timestamp_ms=START_MS + 4)
    seam = Seam(START_MS, [known])
    assert seam.joins(without_id(known))
    assert not seam.joins(Trade(pair="BTC/USD", price=1, volume=1, timestamp_ms=START_MS + 5))
