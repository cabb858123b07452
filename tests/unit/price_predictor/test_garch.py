from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from pricecast_price_predictor import features, grid
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.models.base import Compute, Sample
from pricecast_price_predictor.models.garch import WINDOW, FittedGarch, Garch

HORIZON = 15
SPEC = FeatureSpec(60)
TRUE = FittedGarch(HORIZON, 1e-6, 0.06, 0.08, 0.88, 6.0)


def simulated(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns of the very process, and the variance of each as the recursion gives it."""
    rng = np.random.default_rng(3)
    shocks = rng.standard_t(TRUE.degrees, count) * np.sqrt((TRUE.degrees - 2) / TRUE.degrees)
    level = TRUE.variance * (1 - TRUE.persistence)
    variance, returns = np.empty(count), np.empty(count)
    variance[0] = TRUE.variance
    for row in range(count):
        returns[row] = np.sqrt(variance[row]) * shocks[row]
        if row + 1 < count:
            weight = TRUE.alpha + TRUE.gamma * (returns[row] < 0)
            variance[row + 1] = level + weight * returns[row] ** 2 + TRUE.beta * variance[row]
    return returns, variance


@pytest.fixture(scope="module")
def table(bars) -> FeatureTable:
    """Features of a market that moves as the process does; only closes and times matter here."""
    returns, _ = simulated(25_000)
    frame: pl.DataFrame = bars(25_000)
    close = 100 * np.exp(np.cumsum(returns))
    frame = frame.with_columns(
        pl.Series("close", close), pl.Series("open", close), pl.Series("high", close), pl.Series("low", close)
    )
    return features.compute(SPEC, grid.regular(frame, 60))


def test_the_sum_over_the_window_is_the_recursion_written_out() -> None:
    returns, variance = simulated(5_000)
    found = TRUE.next_variance(returns)[:-1]
    np.testing.assert_allclose(found, variance[1:], rtol=1e-9)


def test_the_fit_finds_the_process_that_made_the_returns(table: FeatureTable) -> None:
    fitted = Garch().fit(Sample(SPEC, table, HORIZON), {}, Compute())
    assert fitted.variance == pytest.approx(TRUE.variance, rel=0.1)
    assert fitted.alpha + fitted.gamma / 2 == pytest.approx(TRUE.alpha + TRUE.gamma / 2, abs=0.015)
    assert fitted.beta == pytest.approx(TRUE.beta, abs=0.02)
    assert fitted.gamma == pytest.approx(TRUE.gamma, abs=0.03)
    assert fitted.degrees == pytest.approx(TRUE.degrees, rel=0.15)


def test_it_says_the_spread_of_the_return_over_the_horizon(table: FeatureTable) -> None:
    scale = TRUE.predict(table).scale[2_000 : -HORIZON - 1]
    outcome = table.log_close[2_000 + HORIZON : -1] - table.log_close[2_000 : -HORIZON - 1]
    wide = scale > np.median(scale)
    for rows in (wide, ~wide):
        assert np.mean((outcome[rows] / scale[rows]) ** 2) == pytest.approx(1, abs=0.1)


def test_a_row_depends_on_its_window_alone(table: FeatureTable) -> None:
    whole = TRUE.predict(table).scale
    for first in (0, 2_000, 20_000):
        part = table.rows(first, first + 50)
        np.testing.assert_array_equal(TRUE.predict(part).scale, whole[first : first + 50])
    live = table.rows(20_000, 20_001)
    live = replace(live, before=live.before[-WINDOW - 1 :])
    assert TRUE.predict(live).scale[0] == whole[20_000]
