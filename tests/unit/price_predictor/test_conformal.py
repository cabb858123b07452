from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricecast_price_predictor import conformal
from pricecast_price_predictor.conformal import Calibrator


def coverage(outcomes: np.ndarray, rate: float) -> float:
    ends = conformal.trace(Calibrator((-1.2816, 1.2816), rate), outcomes, 1)
    return float(((outcomes >= ends[:, 0]) & (outcomes <= ends[:, 1])).mean())


@pytest.mark.parametrize("factors", [(1.0, 3.0), (3.0, 0.4), (1.0, 0.2, 5.0)])
def test_coverage_holds_through_changes_of_regime(factors: tuple[float, ...]) -> None:
    rng = np.random.default_rng(4)
    outcomes = np.concatenate([rng.standard_normal(10_000) * factor for factor in factors])
    assert coverage(outcomes, conformal.LEARNING_RATE) == pytest.approx(0.8, abs=0.03)
    assert abs(coverage(outcomes, 0.0) - 0.8) > 0.05


def test_each_side_is_tracked_on_its_own() -> None:
    outcomes = np.random.default_rng(5).exponential(1.0, 20_000) - 0.2
    ends = conformal.trace(Calibrator((-1.0, 1.0)), outcomes, 1)
    assert (outcomes > ends[:, 1])[5_000:].mean() == pytest.approx(0.1, abs=0.02)
    assert (outcomes < ends[:, 0])[5_000:].mean() == pytest.approx(0.1, abs=0.02)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=200))
@settings(deadline=None)
def test_the_ends_never_cross_whatever_comes(outcomes: list[float]) -> None:
    calibrator = Calibrator((-1.0, 2.0), rate=0.5)
    for outcome in outcomes:
        calibrator.observe(outcome)
        lower, upper = calibrator.ends
        assert lower < 0 < upper


def test_an_outcome_is_learned_from_only_once_it_has_happened() -> None:
    outcomes = np.random.default_rng(6).standard_normal(400)
    other = outcomes.copy()
    other[200:] = 50.0
    one, two = (conformal.trace(Calibrator((-1.0, 1.0)), series, 30) for series in (outcomes, other))
    np.testing.assert_array_equal(one[:230], two[:230])
    assert (one[230:] != two[230:]).any()


def test_ends_on_one_side_of_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="either side of zero"):
        Calibrator((0.1, 0.5))


def test_the_first_ends_are_the_quantiles_of_what_was_seen() -> None:
    outcomes = np.append(np.linspace(-1, 1, 1_001), np.nan)
    assert conformal.fit_ends(outcomes) == pytest.approx((-0.8, 0.8))
