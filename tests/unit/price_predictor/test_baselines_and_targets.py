from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricecast_price_predictor import baselines, target


def walk(count: int, seed: int = 0) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).standard_normal(count)) * 1e-3


def test_the_naive_quantiles_are_those_of_the_returns_realised_over_the_last_day() -> None:
    log_close, horizon, day = walk(900), 5, 300
    naive = baselines.naive_quantiles(log_close, horizon, day)
    for row in (450, 700, 899):
        realised = [log_close[t] - log_close[t - horizon] for t in range(row - day + 1, row + 1)]
        np.testing.assert_allclose(naive[row], np.quantile(realised, baselines.QUANTILES), rtol=1e-12)


@given(st.integers(150, 400), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_the_naive_quantiles_know_nothing_of_the_future(row: int, horizon: int) -> None:
    log_close = walk(500)
    other = log_close.copy()
    other[row + 1 :] += 1.0
    one, two = (baselines.naive_quantiles(series, horizon, 100) for series in (log_close, other))
    np.testing.assert_array_equal(one[: row + 1], two[: row + 1])


def test_there_are_no_naive_quantiles_before_enough_is_realised() -> None:
    naive = baselines.naive_quantiles(walk(200), 10, 1_440)
    assert np.isnan(naive[: 10 + baselines.MIN_NAIVE_ROWS - 1]).all()
    assert np.isfinite(naive[10 + baselines.MIN_NAIVE_ROWS - 1 :]).all()


def test_the_target_is_the_return_over_the_horizon_and_unknown_at_the_end() -> None:
    log_close = walk(50)
    returns = target.future_return(log_close, 7)
    assert returns[10] == log_close[17] - log_close[10]
    assert np.isnan(returns[-7:]).all()


def test_the_variation_is_that_of_the_rows_ahead() -> None:
    log_close = walk(50)
    variation = target.future_variation(log_close, 4)
    assert variation[10] == pytest.approx(np.abs(np.diff(log_close[10:15])).mean())
    assert np.isnan(variation[-4:]).all()


@pytest.mark.parametrize(("seconds", "candle"), [(90, 60), (30, 60), (0, 60)])
def test_a_horizon_that_is_no_multiple_of_the_candle_is_refused(seconds: int, candle: int) -> None:
    with pytest.raises(ValueError, match=f"{seconds} s is no multiple"):
        target.horizon_rows(seconds, candle)
