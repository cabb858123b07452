"""How far a row is from those learned from, and which features moved."""

from __future__ import annotations

import numpy as np
import pytest

from pricecast_price_predictor import features, grid, novelty
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.novelty import Novelty, Reference, Watch

SPEC = FeatureSpec(900, ("rsi_14",))
LEARNED = 1_200


@pytest.fixture(scope="module")
def table(bars) -> FeatureTable:
    return features.compute(SPEC, grid.regular(bars(1_600, step_seconds=900), 900))


def learned(table: FeatureTable, rows: int = LEARNED) -> Reference | None:
    known = np.flatnonzero(np.isfinite(table.scale[:rows]))
    return novelty.fit(table, known, SPEC)


def test_one_row_in_a_thousand_of_those_learned_from_is_far_and_those_that_follow_are_not_farther(table) -> None:
    reference = learned(table)
    assert reference is not None
    assert not set(reference.names) & novelty.CLOCK
    distance = reference.distance(table)
    assert np.nanmean(distance[:LEARNED] > 1) <= 0.003
    assert np.nanmax(distance[LEARNED:]) < 2


def test_rows_one_by_one_tell_the_same_as_all_at_once(table) -> None:
    reference = learned(table)
    at_once = Watch(reference).advance(table)
    watch = Watch(reference)
    one_by_one = [each for row in range(len(table)) for each in watch.advance(table.rows(row, row + 1))]
    assert one_by_one == at_once
    assert at_once[0] == Novelty()
    assert at_once[-1].drift is not None


def test_a_feature_that_moved_is_named_after_a_day_of_it(table) -> None:
    watch = Watch(learned(table))
    watch.advance(table.rows(0, LEARNED))
    calm = watch.latest.drift
    column = table.names.index("rsi_14")
    moved = table.values.copy()
    moved[:, column] += 5 * moved[:LEARNED, column][np.isfinite(moved[:LEARNED, column])].std()
    after = FeatureTable(table.names, moved, table.scale, table.log_close, table.time_ms, table.observed)
    watch.advance(after.rows(LEARNED, len(table)))
    assert watch.latest.drifting[0] == "rsi_14"
    assert watch.psi["rsi_14"] > 1
    assert calm is not None
    assert calm < 0.5


def test_a_market_that_moves_faster_looks_the_same_but_for_its_volatility(table) -> None:
    reference = learned(table)
    faster = FeatureTable(table.names, table.values, 20 * table.scale, table.log_close, table.time_ms, table.observed)
    before, after = Watch(reference).advance(table)[-1], Watch(reference).advance(faster)[-1]
    assert after.distance == before.distance
    assert after.volatility == pytest.approx(20 * before.volatility)
    assert "volatility is" in after.caution


def test_what_is_usual_of_a_day_hangs_not_on_how_many_days_were_learned_from() -> None:
    """As live, a day is counted whole; days that are all alike have a PSI of nearly nothing."""
    rows = 1_440 * 90
    values = np.random.default_rng(1).normal(size=(rows, 2)).astype(np.float32)
    flat = np.ones(rows)
    alike = FeatureTable(("one", "other"), values, flat, flat, np.arange(rows) * 60_000, flat > 0)
    reference = novelty.fit(alike, np.arange(rows), FeatureSpec(60))
    assert reference is not None
    assert max(reference.usual) < 0.05


def test_what_was_learned_from_less_than_a_week_says_nothing(table) -> None:
    assert learned(table, 96 * 7) is None
    assert Watch(None).advance(table.rows(0, 3)) == [Novelty()] * 3
