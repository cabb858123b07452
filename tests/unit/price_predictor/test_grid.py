from __future__ import annotations

import numpy as np
import polars as pl

from pricecast_price_predictor import grid


def test_rows_without_holes_stay_as_they_are(bars) -> None:
    rows = bars(50)
    regular = grid.regular(rows, 60)
    assert regular.drop("observed").equals(rows)
    assert regular["observed"].all()


def test_a_hole_is_filled_with_flat_rows_that_are_marked(bars) -> None:
    rows = bars(20)
    regular = grid.regular(pl.concat([rows[:10], rows[13:]]), 60)
    assert len(regular) == 20
    assert regular["observed"].to_list() == [True] * 10 + [False] * 3 + [True] * 7
    filled = regular[10:13]
    for price in ("open", "high", "low", "close"):
        assert filled[price].to_list() == [rows["close"][9]] * 3
    assert filled["volume"].to_list() == [0.0] * 3
    assert filled["rsi_14"].to_list() == [rows["rsi_14"][9]] * 3


def test_what_lies_before_a_hole_of_days_is_left_out(bars) -> None:
    rows = bars(4000)
    regular = grid.regular(pl.concat([rows[:100], rows[2000:]]), 60)
    assert regular["window_end_ms"][0] == rows["window_end_ms"][2000]


def test_order_and_repetition_do_not_matter(bars) -> None:
    rows = bars(30)
    shuffled = pl.concat([rows.sample(fraction=1.0, shuffle=True, seed=3), rows[5:7]])
    assert grid.regular(shuffled, 60).equals(grid.regular(rows, 60))


def test_no_rows_give_no_rows(bars) -> None:
    assert grid.regular(bars(3).clear(), 60).is_empty()


def quiet(rows: pl.DataFrame, start: int, count: int, **recorded: float) -> pl.DataFrame:
    """Returns the rows with some of them as a candle service fills them; `recorded` says otherwise."""
    close = rows["close"][start - 1]
    number = pl.int_range(len(rows))
    filled = number.is_between(start, start + count - 1)
    values = {**dict.fromkeys(("open", "high", "low", "close"), close), "volume": 0.0, "trade_count": 0, **recorded}
    return rows.with_columns(
        pl.when(filled).then(pl.lit(value, rows.schema[name])).otherwise(name).alias(name)
        for name, value in values.items()
    )


def test_what_fills_an_outage_is_known_by_its_length(bars) -> None:
    rows = grid.regular(quiet(quiet(bars(300), 50, grid.OUTAGE_ROWS), 100, 150), 60)
    assert np.flatnonzero(grid.outage(rows)).tolist() == list(range(100 + grid.OUTAGE_ROWS, 250))


def test_rows_whose_trades_were_not_recorded_are_no_outage(bars) -> None:
    rows = bars(300).with_columns(trade_count=pl.lit(0))  # Kraken's form without that column
    assert not grid.outage(rows).any()
    assert not grid.outage(quiet(rows, 100, 150, volume=2.5)).any()  # a price that doesn't move


def test_bars_without_a_count_of_trades_show_an_outage_too(bars) -> None:
    rows = grid.regular(quiet(bars(300), 100, 150).drop("trade_count"), 60)
    assert np.flatnonzero(grid.outage(rows)).tolist() == list(range(100 + grid.OUTAGE_ROWS, 250))


def test_an_outage_is_judged_live_as_in_training(bars) -> None:
    rows = quiet(bars(300), 100, 150)
    whole = grid.outage(rows)
    for start in (0, 60, 120, 200):
        assert (grid.outage(rows[start:])[grid.OUTAGE_ROWS :] == whole[start + grid.OUTAGE_ROWS :]).all()
