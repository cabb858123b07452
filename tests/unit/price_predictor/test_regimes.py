"""What a model does when the market is no longer the one it learned, and which version serves then."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest

from pricecast_core.messages import Prediction
from pricecast_core.stores.models import TrainingRun
from pricecast_price_predictor.predictions import FEWEST_SCORED, ROLLING_WINDOW
from tests.unit.price_predictor.world import NAME, World, changed, plant

LEARNED, CHANGE, END = 2_700, 2_800, 3_000
PRICES = ("open", "high", "low", "close")


def volatility_times_five(rows: pl.DataFrame) -> pl.DataFrame:
    """Every move after the change is five times as large."""
    base = float(rows["close"][CHANGE - 1])
    wider = [(base * (pl.col(name) / base) ** 5).alias(name) for name in PRICES]
    return pl.concat([rows[:CHANGE], rows[CHANGE:].with_columns(wider)])


def frozen_price(rows: pl.DataFrame) -> pl.DataFrame:
    """The price stands still while trades go on."""
    still = [pl.lit(rows["close"][CHANGE - 1]).alias(name) for name in PRICES]
    return pl.concat([rows[:CHANGE], rows[CHANGE:].with_columns(still)])


def unit_error(rows: pl.DataFrame) -> pl.DataFrame:
    """For ten rows the price comes in other units."""
    wrong = [pl.col(name) * 100 for name in PRICES]
    return pl.concat([rows[:CHANGE], rows[CHANGE : CHANGE + 10].with_columns(wrong), rows[CHANGE + 10 :]])


@pytest.mark.parametrize("planted", [volatility_times_five, frozen_price, unit_error])
def test_a_change_of_regime_is_seen_told_and_survived(world, bars, planted) -> None:
    here: World = world(candle_seconds=300)
    rows = planted(bars(END, step_seconds=300))
    here.feed(rows[:LEARNED])
    here.train(0.05, "Ewma")
    for start in range(LEARNED, END, 50):
        here.feed(rows[start : start + 50])
    made = {one.feature_time_ms: one for one in here.history()}
    times = rows["window_end_ms"].to_list()
    before, after = ([made[at] for at in times[a:b]] for a, b in ((LEARNED, CHANGE), (CHANGE, END)))
    assert np.mean([bool(one.caution) for one in before]) < 0.1
    seen = after if planted is volatility_times_five else after[:20]
    told = "volatility is" if planted is volatility_times_five else "as far from the training"
    assert any(told in one.caution for one in seen)
    for one in after:
        assert 0 < one.lower <= one.predicted_price <= one.upper
    if planted is unit_error:
        assert any(one.abstained and "the naive forecast stands in" in one.caution for one in seen)
        assert all(one.model_version for one in after)
        assert {one.beats_naive for one in after if one.abstained} == {False}
        assert {one.beats_naive for one in after if not one.abstained} == {True}
        back = after[-1]
        assert back.upper / back.lower < 1.2


def test_a_forecast_says_how_the_model_has_done_on_its_last_scores_however_the_rows_come(
    world, bars, tmp_path_factory
) -> None:
    rows = bars(2_700)
    here: World = world(rollback_min_scored=1_000)
    here.feed(rows[:1_500])
    here.train(0.05, "Ewma")
    plant(here, 5.0)  # it is worse than naive
    version = here.registry.production([NAME])[NAME]
    other = World(tmp_path_factory.mktemp("other"), rollback_min_scored=1_000)
    other.feed(rows[:1_500])
    run = TrainingRun(
        NAME, version.parameters, version.metrics, version.trained_through_ms, here.registry.artifact(NAME, 2)
    )
    for _ in range(2):
        other.registry.register(run)
    other.registry.promote(NAME, 2, "planted")
    for start in range(1_500, 2_700, 300):
        here.feed(rows[start : start + 300])
    for start in range(1_500, 2_700, 37):
        if start > 2_000 and start < 2_040:
            other.predictor = other.fresh()
        other.feed(rows[start : min(2_700, start + 37)])
    one, two = here.history(), other.history()
    assert [msgspec.json.encode(each) for each in one] == [msgspec.json.encode(each) for each in two]
    other.close()
    judge(one)


def judge(made: list[Prediction]) -> None:
    """Never worse than naive over the last scores without saying so."""
    mine = [each for each in made if each.model_version == 2]
    said = 0
    for now in mine:
        known = [each for each in mine if each.target_time_ms <= now.feature_time_ms][-ROLLING_WINDOW:]
        if len(known) < FEWEST_SCORED:
            assert now.live_skill is None
            continue
        loss, naive = (sum(getattr(each, name) for each in known) for name in ("pinball_loss", "naive_pinball_loss"))
        assert now.live_skill == pytest.approx(1 - loss / naive)
        if loss > naive:
            assert "worse than naive" in now.caution
            said += 1
    assert said > 500


def register(here: World, factor: float) -> int:
    """Registers the newest version with other intervals as one that was trained and not promoted."""
    newest = here.registry.versions(NAME)[0]
    artifact = changed(here.registry.artifact(NAME, newest.version), factor)
    run = TrainingRun(NAME, newest.parameters, newest.metrics, newest.trained_through_ms, artifact)
    return here.registry.register(run).version


def served(here: World, rows: pl.DataFrame) -> int:
    """Returns which version serves after some rows."""
    for start in range(0, len(rows), 50):
        here.feed(rows[start : start + 50])
    return here.registry.production([NAME])[NAME].version


def test_a_bad_challenger_is_never_promoted_and_a_better_one_is_once_it_was_judged(world, bars) -> None:
    rows = bars(2_700)
    here: World = world(promotion_min_scored=100, rollback_min_scored=1_000)
    here.feed(rows[:1_500])
    here.train(0.05, "Ewma")
    assert register(here, 5.0) == 2
    assert served(here, rows[1_500:1_900]) == 1
    plant(here, 1.0)  # the wide one serves, whoever promoted it
    assert register(here, 0.2) == 4
    assert served(here, rows[1_900:1_950]) == 3
    assert register(here, 25.0) == 5  # what is trained meanwhile doesn't end the trial
    assert served(here, rows[1_950:2_300]) == 4
    reason = here.registry.production([NAME])[NAME].reason
    assert reason.startswith("better in shadow: over ")
    assert "that of version 3" in reason


def test_a_version_of_old_knowledge_gives_way_to_a_newer_one_that_is_no_worse(world, bars) -> None:
    rows = bars(2_000)
    here: World = world(promotion_min_scored=100, promotion_maximum_age_days=0.01)
    here.feed(rows[:1_500])
    here.train(0.05, "Ewma")
    register(here, 1.0)
    assert served(here, rows[1_500:]) == 2
    assert "no worse in shadow, and version 1 is 0 days old" in here.registry.production([NAME])[NAME].reason
    assert "days old" in here.registry.training_requests([NAME])[NAME]


def test_after_a_rollback_the_version_that_served_last_forecasts_in_shadow_and_not_the_worse_one(world, bars) -> None:
    rows = bars(2_000)
    here: World = world(rollback_min_scored=100)
    here.feed(rows[:1_500])
    here.train(0.05, "Ewma")
    here.feed(rows[1_500:1_510])
    plant(here, 5.0)
    here.feed(rows[1_510:1_520])
    here.registry.promote(NAME, 1, "serves again")
    here.feed(rows[1_520:1_530])
    plant(here, 1.0)  # as wide as version 2
    assert served(here, rows[1_530:]) == 1
    assert "that of version 3" in here.registry.production([NAME])[NAME].reason


def test_a_challenger_is_on_trial_until_it_was_compared_on_enough_outcomes_with_the_version_that_serves(
    world, bars
) -> None:
    rows = bars(1_900)
    here: World = world(promotion_min_scored=100, rollback_min_scored=1_000)
    here.feed(rows[:1_500])
    here.train(0.05, "Ewma")
    assert register(here, 5.0) == 2
    assert register(here, 0.2) == 3
    assert served(here, rows[1_500:1_580]) == 1
    here.registry.promote(NAME, 2, "planted")  # version 3 has outcomes already, of which version 2 has none
    assert register(here, 25.0) == 4
    served(here, rows[1_580:1_730])
    assert (
        3 in here.predictor.versions._shadows[NAME]
    )  # of its 125 outcomes 95 were common ones when it last was chosen
    served(here, rows[1_730:1_780])
    assert 3 not in here.predictor.versions._shadows[NAME]


def test_a_challenger_is_not_judged_on_rows_on_which_it_would_abstain(world, bars) -> None:
    rows = unit_error(bars(END, step_seconds=300))
    here: World = world(candle_seconds=300)
    here.feed(rows[:LEARNED])
    here.train(0.05, "Ewma")
    register(here, 1.0)  # the same model: it abstains where the one that serves does
    served(here, rows[LEARNED:])
    abstained = {one.feature_time_ms for one in here.history() if one.abstained}
    shadow = here.predictor.versions._shadows[NAME][2]
    assert abstained
    assert len(shadow.losses) > 20
    assert not shadow.losses.keys() & abstained
    others = [replace(shadow, version=replace(shadow.version, version=number)) for number in range(1, 9)]
    assert len({other._waits_for for other in others}) > 4  # not all of a model forecast at the same candle
