from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricecast_core.values import LEVELS
from pricecast_price_predictor import conformal
from pricecast_price_predictor.conformal import NORMAL, Calibrator, Ends, Situation

ROWS = 20_000
MINUTES = 60_000 * np.arange(ROWS)
STATE = np.sin(np.arange(ROWS) / 500)


def near(state: np.ndarray, time_ms: np.ndarray) -> Situation:
    """Rows like those learned from."""
    return Situation(state, time_ms, np.zeros(len(state)))


def symmetric(end: float) -> Ends:
    return Ends(tuple(np.array(NORMAL.values) * end))


def run(outcomes: np.ndarray, calibrator: Calibrator, delay: int = 1) -> np.ndarray:
    groups = calibrator.groups(near(np.zeros(len(outcomes)), np.zeros(len(outcomes), dtype=np.int64)))
    return conformal.trace(calibrator, outcomes, groups, delay)


def coverage(outcomes: np.ndarray, rate: float) -> float:
    ends = run(outcomes, Calibrator(symmetric(1.2816), (0.1, 0.5, 0.9), rate))
    return float(((outcomes >= ends[:, 0]) & (outcomes <= ends[:, -1])).mean())


@pytest.mark.parametrize("factors", [(1.0, 3.0), (3.0, 0.4), (1.0, 0.2, 5.0)])
def test_coverage_holds_through_changes_of_regime(factors: tuple[float, ...]) -> None:
    rng = np.random.default_rng(4)
    outcomes = np.concatenate([rng.standard_normal(10_000) * factor for factor in factors])
    assert coverage(outcomes, conformal.LEARNING_RATE) == pytest.approx(0.8, abs=0.03)
    assert abs(coverage(outcomes, 0.0) - 0.8) > 0.05


def test_each_level_is_tracked_on_its_own() -> None:
    outcomes = np.random.default_rng(5).exponential(1.0, ROWS) - 0.2
    ends = run(outcomes, Calibrator(NORMAL, LEVELS))
    below = (outcomes[5_000:, None] <= ends[5_000:]).mean(axis=0)
    sides = np.array(LEVELS) != 0.5
    # its quarter lies above zero, on the side of the upper ends: a lower end stops at zero
    np.testing.assert_allclose(below[sides], np.where(np.array(LEVELS) == 0.25, 0.18, LEVELS)[sides], atol=0.02)


def test_coverage_comes_true_in_quiet_and_in_busy_times_and_through_the_day() -> None:
    wave = np.exp(0.5 * STATE) * (1 + 0.3 * np.sin(MINUTES * (2 * np.pi / 86_400_000)))
    outcomes = np.random.default_rng(8).standard_normal(ROWS) * wave
    begin = conformal.with_groups(symmetric(1.2816), STATE)
    steps = {"all alike": 0.0, "by group": conformal.GROUP_RATE}
    worst = {}
    for name, rate in steps.items():
        calibrator = Calibrator(begin, LEVELS, conformal.LEARNING_RATE, rate)
        ends = conformal.trace(calibrator, outcomes, calibrator.groups(near(STATE, MINUTES)), 1)
        inside = ((outcomes >= ends[:, 1]) & (outcomes <= ends[:, -2]))[5_000:]
        fifths = np.array_split(np.argsort(STATE[5_000:]), 5)
        thirds = [MINUTES[5_000:] // 28_800_000 % 3 == third for third in range(3)]
        worst[name] = max(abs(inside[rows].mean() - 0.8) for rows in (*fifths, *thirds))
    assert worst["all alike"] > 0.08
    assert worst["by group"] < 0.03


def test_what_the_groups_were_found_to_be_is_where_a_model_begins() -> None:
    outcomes = np.random.default_rng(9).standard_normal(ROWS) * np.exp(0.5 * STATE)
    found = conformal.fit_groups(conformal.fit_ends(outcomes), outcomes, near(STATE, MINUTES), 1)
    calibrator = Calibrator(found, (0.1, 0.5, 0.9))
    groups = calibrator.groups(near(np.array([-1.0, 1.0]), np.zeros(2, dtype=np.int64)))
    quiet, busy = (calibrator.ends(row)[-1] for row in groups)
    assert busy / quiet == pytest.approx(np.e, rel=0.15)


@given(
    st.lists(st.tuples(st.floats(allow_nan=True, allow_infinity=True), st.floats(-3, 3)), max_size=200),
    st.lists(st.integers(1, 99), min_size=1, max_size=9, unique=True),
)
@settings(deadline=None)
def test_levels_never_cross_whatever_comes(outcomes: list[tuple[float, float]], levels: list[int]) -> None:
    wanted = sorted({level / 100 for level in levels} | {0.1, 0.5, 0.9})
    calibrator = Calibrator(conformal.with_groups(NORMAL, STATE), wanted, rate=0.5, group_rate=0.5)
    for outcome, state in outcomes:
        groups = calibrator.groups(near(np.array([state]), np.array([0])))[0]
        calibrator.observe(outcome, groups)
        ends = calibrator.ends(groups)
        assert (np.diff(ends) >= 0).all()
        assert ends[wanted.index(0.5)] == 0
        assert ends[0] < 0 < ends[-1]


def test_an_outcome_is_learned_from_only_once_it_has_happened() -> None:
    outcomes = np.random.default_rng(6).standard_normal(400)
    other = outcomes.copy()
    other[200:] = 50.0
    begin = conformal.with_groups(NORMAL, STATE)
    one, two = (run(series, Calibrator(begin, LEVELS, 0.1, 0.1), 30) for series in (outcomes, other))
    np.testing.assert_array_equal(one[:230], two[:230])
    assert (one[230:] != two[230:]).any()


def test_the_first_ends_are_the_quantiles_of_what_was_seen() -> None:
    outcomes = np.append(np.linspace(-1, 1, 1_001), np.nan)
    ends = Calibrator(conformal.fit_ends(outcomes), LEVELS).ends(np.empty(0))
    assert ends == pytest.approx([-0.9, -0.8, -0.5, 0.0, 0.5, 0.8, 0.9])


def test_levels_between_those_of_a_model_are_interpolated() -> None:
    ends = Calibrator(conformal.fit_ends(np.linspace(-1, 1, 1_001)), (0.1, 0.33, 0.5, 0.9)).ends(np.empty(0))
    assert ends == pytest.approx([-0.8, -0.34, 0.0, 0.8])


def test_the_step_grows_with_the_horizon_as_outcomes_get_rarer() -> None:
    assert conformal.learning_rate(5, 60) * 5 == pytest.approx(conformal.LEARNING_RATE)
    assert conformal.learning_rate(20, 60) * 20 == pytest.approx(2 * conformal.LEARNING_RATE)


def test_intervals_of_rows_far_from_the_training_widen_by_what_their_outcomes_ask_for() -> None:
    far = np.arange(ROWS) % 10 == 0
    outcomes = np.random.default_rng(10).standard_normal(ROWS) * np.where(far, 2.0, 1.0)
    rows = Situation(STATE, MINUTES, np.where(far, 2.0, 0.5))
    found = conformal.fit_groups(conformal.fit_ends(outcomes[~far]), outcomes, rows, 1)
    calibrator = Calibrator(found, (0.1, 0.5, 0.9))
    of_far, of_near = (calibrator.ends(row)[-1] for row in calibrator.groups(rows)[:2])
    assert of_near == pytest.approx(1.28, rel=0.1)
    assert of_far == pytest.approx(2 * 1.28, rel=0.2)
