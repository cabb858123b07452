"""The history of a pair: the same candles in memory as after any number of trips through the state."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.messages import Candle
from pricecast_technical_indicators.history import History

START_MS = 1_767_225_600_000
SIZE = 7


class DictState:
    """What quixstreams' state does, in a dictionary."""

    def __init__(self) -> None:
        self.values: dict[object, bytes] = {}

    def get_bytes(self, key: object, default: bytes | None = None) -> bytes | None:
        return self.values.get(key, default)

    def set_bytes(self, key: object, value: bytes) -> None:
        self.values[key] = value


def a_candle(minute: int, seconds: int = 60) -> Candle:
    price = 100.0 + minute / 3
    return Candle(
        pair="BTC/USD",
        open=price,
        high=price + 1,
        low=price - 1,
        close=price + 0.1,
        volume=float(minute),
        trade_count=1,
        window_start_ms=START_MS + minute * seconds * 1000,
        window_end_ms=START_MS + (minute + 1) * seconds * 1000,
        candle_seconds=seconds,
    )


@given(st.lists(st.sampled_from([1, 1, 1, 1, 3]), max_size=40), st.lists(st.booleans(), min_size=40, max_size=40))
def test_saving_and_loading_at_any_moment_changes_nothing(steps: list[int], saves: list[bool]) -> None:
    state, minute = DictState(), 0
    kept, stored = History(SIZE, 60), History(SIZE, 60)
    for step, save in zip(steps, saves, strict=False):
        minute += step
        for history in (kept, stored):
            history.add(a_candle(minute))
        if save:
            stored.save(state)
            stored = History.load(state, SIZE, 60)
        assert np.array_equal(kept.arrays(), stored.arrays())
        assert kept.newest_ms == stored.newest_ms
        assert kept.full() == stored.full()


def test_the_newest_candles_are_kept_in_order_and_contiguous() -> None:
    history = History(SIZE, 60)
    for minute in range(50):
        history.add(a_candle(minute))
        expected = [a_candle(m).close for m in range(max(0, minute - SIZE + 1), minute + 1)]
        arrays = history.arrays()
        assert arrays[3].tolist() == expected
        assert all(row.flags.c_contiguous for row in arrays)
    assert history.full()


def test_after_a_gap_the_history_begins_anew() -> None:
    history = History(SIZE, 60)
    for minute in (*range(10), 20, 21):
        history.add(a_candle(minute))
    assert history.arrays()[3].tolist() == [a_candle(20).close, a_candle(21).close]
    assert not history.full()


def test_a_longer_history_finds_what_a_shorter_one_has_kept() -> None:
    state, history = DictState(), History(SIZE, 60)
    for minute in range(20):
        history.add(a_candle(minute))
        history.save(state)
    longer = History.load(state, 15, 60)
    assert longer.arrays()[3].tolist() == [a_candle(minute).close for minute in range(5, 20)]


def test_candles_of_another_length_are_not_taken_for_ours() -> None:
    state, history = DictState(), History(SIZE, 60)
    for minute in range(20):
        history.add(a_candle(minute))
    history.save(state)
    assert History.load(state, SIZE, 300).arrays().shape == (5, 0)
