from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pricecast_price_predictor import features, grid
from pricecast_price_predictor.features import FeatureSpec

INDICATORS = ("atr_10", "macd", "obv", "own_idea", "roc_6", "rsi_14", "sma_21", "volume_ema_10")
SPEC = FeatureSpec(60, INDICATORS, companions=("ETH/USD",), news=True)

WEEKLY = ("season_week", "weekday")
"""Features that take a week of history, more than most tests have."""


def news_of(rows: pl.DataFrame) -> pl.DataFrame:
    return rows[::37].select(
        timestamp_ms=pl.col("window_end_ms") + 1_234, signal=((pl.col("window_end_ms") // 60_000) % 3) - 1
    )


@pytest.fixture(scope="module")
def market(bars) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    rows = grid.regular(bars(4_000), 60)
    companion = grid.regular(bars(4_000, seed=2, pair="ETH/USD"), 60)
    return rows, companion, news_of(rows)


def compute(market, stop: int, start: int = 0) -> features.FeatureTable:
    rows, companion, news = market
    until = rows["window_end_ms"][stop - 1]
    return features.compute(
        SPEC,
        rows[start:stop],
        {"ETH/USD": companion[start:stop]},
        news.filter(pl.col("timestamp_ms") <= until),
    )


@given(stop=st.integers(1_600, 4_000))
@settings(max_examples=12, deadline=None)
def test_a_live_view_of_the_last_rows_gives_the_very_bits_of_the_whole(market, stop: int) -> None:
    whole = compute(market, 4_000)
    live = compute(market, stop, start=max(0, stop - SPEC.lookback_rows))
    np.testing.assert_array_equal(live.values[-1], whole.values[stop - 1])
    assert live.scale[-1] == whole.scale[stop - 1]


def test_the_future_changes_no_feature_of_the_past(market) -> None:
    rows, companion, news = market
    changed = rows.with_columns(
        [
            pl.when(pl.int_range(pl.len()) >= 3_000).then(pl.col(name) * 1.7).otherwise(pl.col(name)).alias(name)
            for name in ("open", "high", "low", "close", "volume", *INDICATORS)
        ]
    )
    other = features.compute(SPEC, changed, {"ETH/USD": companion[:3_000]}, news[:10])
    at = 37 * 9  # before the first signal that is missing
    whole = compute(market, 4_000)
    np.testing.assert_array_equal(other.values[:at], whole.values[:at])
    without_news = [n for n, name in enumerate(whole.names) if not name.startswith("news_")]
    np.testing.assert_array_equal(other.values[:3_000, without_news], whole.values[:3_000, without_news])


@given(price=st.integers(-14, 6), volume=st.integers(-9, 9))
@example(price=-14, volume=0)
@example(price=6, volume=9)
@settings(max_examples=15, deadline=None)
def test_features_are_free_of_the_units_of_price_and_volume(bars, price: int, volume: int) -> None:
    rows = grid.regular(bars(2_000), 60)
    scaled = rows.with_columns(
        *(pl.col(n) * 10.0**price for n in ("open", "high", "low", "close", "sma_21", "macd", "atr_10")),
        *(pl.col(n) * 10.0**volume for n in ("volume", "obv", "volume_ema_10")),
        pl.col("own_idea") * 10.0**price,
    )
    spec = FeatureSpec(60, INDICATORS)
    one, other = features.compute(spec, rows), features.compute(spec, scaled)
    np.testing.assert_allclose(one.scale, other.scale, rtol=1e-9)
    np.testing.assert_allclose(one.values, other.values, rtol=1e-5, atol=1e-5)
    known = [n for n, name in enumerate(one.names) if not name.startswith(WEEKLY)]
    assert (np.nanstd(one.values[1_600:, known], axis=0) > 0).all()


def test_a_market_that_stands_still_has_finite_features_and_a_scale(bars) -> None:
    rows = bars(2_000).with_columns(
        [pl.lit(100.0).alias(name) for name in ("open", "high", "low", "close")], volume=pl.lit(0.0)
    )
    table = features.compute(FeatureSpec(60, INDICATORS), grid.regular(rows, 60))
    known = [n for n, name in enumerate(table.names) if not name.startswith(WEEKLY)]
    assert np.isfinite(table.values[1_600:, known]).all()
    assert (table.scale[200:] > 0).all()


def test_a_companion_is_read_as_of_one_candle_before(market) -> None:
    rows, companion, news = market
    whole = features.compute(SPEC, rows, {"ETH/USD": companion}, news)
    late = features.compute(SPEC, rows, {"ETH/USD": companion[:-1]}, news)
    np.testing.assert_array_equal(whole.values[-1], late.values[-1])
    missing = features.compute(SPEC, rows, {}, news)
    assert np.isnan(missing.values[:, [name.startswith("eth-usd__") for name in missing.names]]).all()


def test_a_signal_is_known_one_candle_after_it_was_published(bars) -> None:
    rows = grid.regular(bars(200), 60)
    news = pl.DataFrame({"timestamp_ms": [int(rows["window_end_ms"][100])], "signal": [1]})
    table = features.compute(FeatureSpec(60, news=True), rows, news=news)
    signal = table.values[:, table.names.index("news_signal")]
    decayed = table.values[:, table.names.index("news_decayed")]
    assert not signal[:101].any()
    assert (signal[101:] == 1).all()
    assert decayed[101 + 60] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("rsi_14", "bounded"),
        ("stochrsi_k", "bounded"),
        ("macd_signal", "price_difference"),
        ("bbands_upper_30_2", "price"),
        ("volume_ema_10", "volume"),
        ("obv", "signed_volume"),
        ("ema_7", "price"),
        ("something_else", None),
    ],
)
def test_an_indicator_is_treated_by_what_it_measures(column: str, kind: str | None) -> None:
    assert features.indicator_kind(column) == kind


@given(stop=st.integers(2_000, 4_000), last=st.integers(1, 300))
@settings(max_examples=12, deadline=None)
def test_the_last_rows_alone_are_the_very_bits_of_all(market, stop: int, last: int) -> None:
    rows, companion, news = market
    whole = compute(market, 4_000)
    part = features.compute(SPEC, rows[:stop], {"ETH/USD": companion[:stop]}, news, last=last)
    np.testing.assert_array_equal(part.values, whole.values[stop - last : stop])
    np.testing.assert_array_equal(part.scale, whole.scale[stop - last : stop])
    np.testing.assert_array_equal(np.concatenate((part.before, part.log_close)), whole.log_close[:stop])


@given(stop=st.integers(1_100, 2_000))
@settings(max_examples=12, deadline=None)
def test_two_weeks_of_memory_are_the_very_bits_live(bars, stop: int) -> None:
    step = 1_800
    hours = bars(2_000).with_columns(window_end_ms=1_700_000_040_000 + 1_000 * step * pl.int_range(pl.len()))
    rows, spec = grid.regular(hours, step), FeatureSpec(step)
    assert spec.lookback_rows < 1_100
    whole = features.compute(spec, rows)
    live = features.compute(spec, rows[stop - spec.lookback_rows : stop], last=1)
    np.testing.assert_array_equal(live.values[0], whole.values[stop - 1])
    assert np.isfinite(whole.values[spec.lookback_rows :]).all()


def test_the_same_time_of_earlier_days_is_what_the_season_says(bars) -> None:
    spec = FeatureSpec(60)
    rows = grid.regular(bars(4_000), 60)
    table = features.compute(spec, rows)
    moves = np.abs(np.diff(table.log_close, prepend=np.nan))
    at = 3_500
    same_time = [moves[at - 1_440 * day + 1 : at - 1_440 * day + 6].mean() for day in (1, 2)]
    season = table.values[at, table.names.index("season_300")]
    assert season == pytest.approx(np.log(np.mean(same_time) / table.scale[at]), rel=1e-5)
