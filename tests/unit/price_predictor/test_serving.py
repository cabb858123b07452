"""Serving without a broker: real SQL stores in a temporary folder, rows written as to-feature-store writes them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from pricecast_core.errors import StoreError
from pricecast_core.messages import Prediction
from pricecast_core.stores.models_sql import SqlModelRegistry
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_core.values import LEVELS, QUANTILES
from pricecast_price_predictor import (
    baselines,
    feature_view,
    features,
    grid,
    predictions,
    serve,
    train,
    walkforward,
)
from pricecast_price_predictor.forecasting import Forecaster
from pricecast_price_predictor.predictions import Forecast, RollingScores
from tests.unit.price_predictor.world import INDICATORS, NAME, PAIR, World, plant


def test_until_there_is_a_model_the_forecast_is_naive_and_says_so(world, bars) -> None:
    here, rows = world(), bars(300)
    here.feed(rows)
    made = here.history()
    assert len(made) == 300 - 5 - baselines.MIN_NAIVE_ROWS + 1
    assert {(one.model_name, one.model_version, one.point_is_naive, one.beats_naive) for one in made} == {
        ("naive", 0, True, False)
    }
    naive = baselines.naive_quantiles(np.log(rows["close"].to_numpy()), 5, 1_440)
    assert made[-1].predicted_price == made[-1].last_price == rows["close"][299]
    assert made[-1].upper == pytest.approx(rows["close"][299] * math.exp(naive[299, 2]))


def test_each_prediction_is_scored_when_its_time_has_come(world, bars) -> None:
    here, rows = world(), bars(300)
    here.feed(rows[:250])
    for row in range(250, 300):
        here.feed(rows[row : row + 1])
    made = here.history()
    by_time = dict(zip(rows["window_end_ms"].to_list(), rows["close"].to_list(), strict=True))
    for one in made:
        actual = by_time.get(one.target_time_ms)
        assert one.actual_price == actual
        if actual is not None:
            assert one.absolute_error == abs(one.predicted_price - actual)
            assert one.naive_absolute_error == abs(one.last_price - actual)
            assert one.inside_interval == (one.lower <= actual <= one.upper)
            assert one.pinball_loss is not None
            assert one.naive_pinball_loss is not None
    assert sum(one.actual_price is None for one in made) == 5
    assert len({one.id for one in made}) == len(made)
    last = {one.id: one for one in here.sent.messages}
    assert last == {one.id: one for one in made}


def test_a_promoted_model_is_taken_into_use_without_a_restart(world, bars) -> None:
    here, rows = world(), bars(3_000)
    here.feed(rows[:2_500])
    here.train()
    here.feed(rows[2_500:2_600])
    assert here.predictor.versions.in_use() == {NAME: 1}
    made = [one for one in here.history() if one.model_name == NAME]
    assert [one.feature_time_ms for one in made] == rows["window_end_ms"][2_500:2_600].to_list()
    assert made[0].model_trained_through_ms == rows["window_end_ms"][2_499]
    here.train()
    here.feed(rows[2_600:2_601])
    assert here.history()[-1].model_version == 2


def test_a_pinned_version_serves_whatever_is_promoted_and_without_the_pin_the_promoted_one_again(world, bars) -> None:
    here, rows = world(), bars(2_600)
    here.feed(rows[:2_500])
    here.train()
    here.train()
    for version, end in ((None, 2_510), (1, 2_520), (9, 2_530), (None, 2_540)):  # 9 is none: the promoted one serves
        here.settings = here.settings.model_copy(update={"pinned_version": version})
        here.predictor = here.fresh()
        here.feed(rows[end - 10 : end])
        here.feed(rows[end - 1 : end])
        assert here.predictor.versions.in_use() == {NAME: 1 if version == 1 else 2}
        assert here.history()[-1].model_version == (1 if version == 1 else 2)
    here.settings = here.settings.model_copy(update={"pinned_version": 1})
    here.predictor = here.fresh()
    here.train()
    here.feed(rows[2_540:2_550])
    assert here.predictor.versions.in_use() == {NAME: 1}


def test_a_model_that_does_not_beat_naive_is_kept_with_the_reason_and_not_served(world, bars) -> None:
    here, rows = world(), bars(2_600)
    here.feed(rows[:2_500])
    here.train(skill=-0.01)
    here.feed(rows[2_500:2_600])
    (version,) = here.registry.versions(NAME)
    assert version.stage == "registered"
    assert "does not beat the naive one" in version.reason
    assert here.predictor.versions.in_use() == {NAME: 0}
    assert {one.model_name for one in here.history()} == {"naive"}


def test_a_version_is_registered_with_its_figures_and_its_report(world, bars) -> None:
    here, rows = world(), bars(2_500)
    here.feed(rows)
    trained = here.train(skill=0.03)
    version = here.registry.production([NAME])[NAME]
    assert version.metrics["distribution_skill"] == 0.03
    assert version.metrics["coverage"] == trained.scores.coverage
    assert version.parameters["indicators"] == ",".join(INDICATORS)
    page = here.registry.report(NAME, version.version)
    assert page.count("<svg") == 4
    for outside in ("<script", "<link", "src=", 'href="http'):
        assert outside not in page


def test_rows_that_the_model_was_trained_on_are_not_predicted(world, bars) -> None:
    here, rows = world(), bars(2_500)
    here.write(rows)
    trained = here.train()
    here.predictor.take([])
    here.predictor.deliver(here.sent)
    assert trained.model.trained_through_ms == rows["window_end_ms"][-1]
    assert here.history() == []


def test_live_forecasts_are_those_of_the_backtest_whatever_the_batches(world, bars) -> None:
    here, rows = world(), bars(2_600)
    here.feed(rows[:2_500])
    trained = here.train()
    for start in range(2_500, 2_600, 7):
        here.feed(rows[start : min(start + 7, 2_600)])
    spec = trained.model.spec
    table = features.compute(spec, grid.regular(rows, 60))
    naive = baselines.naive_quantiles(table.log_close, 5, spec.day, LEVELS)
    expected = walkforward.replay(trained.model, table, naive, 2_500, 2_600).quantiles
    made = [one for one in here.history() if one.model_name == NAME]
    assert len(made) == 100
    for one, quantiles in zip(made, expected, strict=True):
        assert one.lower == one.last_price * math.exp(quantiles[1])
        assert one.upper == one.last_price * math.exp(quantiles[-2])
        assert one.levels == LEVELS
        assert one.quantiles == tuple(one.last_price * math.exp(quantile) for quantile in quantiles)


def test_features_used_live_are_those_read_for_training_for_every_minute_of_a_replay(
    world, bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, rows = world(), bars(2_900)
    here.feed(rows[:2_500])
    spec = here.train().model.spec
    live: dict[int, Any] = {}
    advance = Forecaster.advance

    def recorded(forecaster: Forecaster, table: features.FeatureTable) -> Any:
        first, quantiles = advance(forecaster, table)
        for row in range(first, len(table)):
            live[int(table.time_ms[row])] = (table.values[row].copy(), table.scale[row])
        return first, quantiles

    monkeypatch.setattr(Forecaster, "advance", recorded)
    for start in range(2_500, 2_900, 2):
        if start == 2_700:  # a restart reads its rows anew
            here.predictor = here.fresh()
        here.feed(rows[start : start + 2])
    for_training = feature_view.read(here.settings, here.features, PAIR).table(spec)
    at = {int(time_ms): row for row, time_ms in enumerate(for_training.time_ms)}
    assert sorted(live) == rows["window_end_ms"][2_500:].to_list()
    for time_ms, (values, scale) in live.items():
        np.testing.assert_array_equal(values, for_training.values[at[time_ms]])  # NaN is NaN; the rest bit for bit
        assert scale == for_training.scale[at[time_ms]]


def test_killed_at_any_moment_it_goes_on_as_if_nothing_had_been(world, bars, tmp_path: Path) -> None:
    rows = bars(2_700)
    (tmp_path / "other").mkdir()
    quiet, killed = world(), World(tmp_path / "other")
    for here in (quiet, killed):
        here.feed(rows[:2_500])
        here.train()
        here.predictor = here.fresh()
    for start in range(2_500, 2_700, 20):
        quiet.feed(rows[start : start + 20])
        part = rows[start : start + 20]
        match (start // 20) % 3:
            case 0:  # rows stored, killed before any marker was handled
                killed.write(part)
            case 1:  # forecasts made, killed before they were stored
                killed.predictor.take(killed.write(part))
            case _:  # stored, killed before the offsets were committed: the markers come again
                killed.feed(part)
                killed.predictor = killed.fresh()
                killed.feed(part)
                continue
        killed.predictor = killed.fresh()
        killed.predictor.take([])
        killed.predictor.deliver(killed.sent)
    mine, theirs = quiet.history(), killed.history()
    killed.close()
    assert [one.id for one in mine] == [one.id for one in theirs]
    for one, other in zip(mine, theirs, strict=True):
        assert one == other


def test_while_the_store_is_away_forecasts_wait_and_none_is_lost(world, bars, monkeypatch: pytest.MonkeyPatch) -> None:
    here, rows = world(), bars(300)
    here.feed(rows[:250])

    def away(_self: Any, _predictions: Any) -> None:
        raise StoreError("away")

    with monkeypatch.context() as outage:
        outage.setattr(SqlPredictionStore, "write", away)
        for row in range(250, 290):
            with pytest.raises(StoreError, match="away"):
                here.feed(rows[row : row + 1])
    here.feed(rows[290:])
    assert [one.feature_time_ms for one in here.history()][-50:] == rows["window_end_ms"][250:].to_list()
    assert sum(one.actual_price is None for one in here.history()) == 5
    issued = [one.id for one in here.sent.messages if one.actual_price is None]
    assert len(set(issued)) == len(issued)  # trying again publishes none again


def test_in_a_live_market_a_forecast_of_what_is_past_is_not_made(world, bars, monkeypatch: pytest.MonkeyPatch) -> None:
    here, rows = world(live=True), bars(400)
    now = rows["window_end_ms"][399] / 1000 + 1
    monkeypatch.setattr(serve.time, "time", lambda: now)
    here.feed(rows)
    made = here.history()
    assert [one.feature_time_ms for one in made] == rows["window_end_ms"][395:].to_list()
    assert {one.issued_at_ms for one in made} == {int(now * 1000)}


def test_a_model_that_has_lost_its_skill_asks_for_training_once(world, bars, monkeypatch: pytest.MonkeyPatch) -> None:
    here, rows = world(retrain_min_scored=20), bars(2_700)
    here.feed(rows[:2_500])
    here.train()
    monkeypatch.setattr(RollingScores, "distribution_skill", property(lambda _self: -0.1))
    asked = []
    monkeypatch.setattr(SqlModelRegistry, "request_training", lambda _self, *request: asked.append(request))
    for start in range(2_500, 2_700, 10):
        here.feed(rows[start : start + 10])
    assert [name for name, _ in asked] == [NAME]
    assert "version 1" in asked[0][1]


def test_a_row_waits_for_its_companions_row(world, bars) -> None:
    here = world(companion_pairs=["ETH/USD"])
    own, companion = bars(300), bars(300, seed=2, pair="ETH/USD")
    here.feed(own[:250])
    here.feed(companion[:200])
    assert here.history()[-1].feature_time_ms == own["window_end_ms"][200]
    here.feed(companion[200:250])
    assert here.history()[-1].feature_time_ms == own["window_end_ms"][249]


def test_rows_are_let_go_of_and_the_forecasts_stay_the_same(world, bars) -> None:
    here, rows = world(candle_seconds=3_600, horizons_seconds=[3_600]), bars(2_000, step_seconds=3_600)
    for start in range(0, 2_000, 50):
        here.feed(rows[start : start + 50])
    assert len(here.predictor._rows[PAIR]) < 400
    naive = baselines.naive_quantiles(np.log(rows["close"].to_numpy()), 1, 24)
    made = here.history()
    assert made[-1].lower == pytest.approx(rows["close"][1_999] * math.exp(naive[1_999, 0]))
    assert len(made) == 2_000 - 24


@pytest.mark.parametrize("killed", [False, True], ids=["in-one-life", "killed-meanwhile"])
def test_a_version_that_turns_out_worse_gives_way_to_the_one_before(world, bars, killed: bool) -> None:
    rows = bars(2_600)
    one = world(rollback_min_scored=100)
    one.feed(rows[:1_500])
    one.train(0.05)
    one.feed(rows[1_500:1_600])
    plant(one, 5.0)
    for start in range(1_600, 2_600, 25):
        if killed and start == 1_800:
            one.predictor = one.fresh()
        one.feed(rows[start : start + 25])
        if one.predictor.versions.in_use()[NAME] == 1 and start > 1_700:
            break
    assert one.predictor.versions.in_use()[NAME] == 1
    back = one.registry.production([NAME])[NAME]
    assert (back.version, back.reason.split(":")[0]) == (1, "serves again")
    assert "version 2" in back.reason
    assert {made.model_version for made in one.history()} == {0, 1, 2}


def test_a_version_that_does_as_well_as_the_one_before_stays(world, bars) -> None:
    rows = bars(2_400)
    one = world(rollback_min_scored=50)
    one.feed(rows[:1_500])
    one.train(0.05)
    one.feed(rows[1_500:1_600])
    plant(one, 1.02)
    for start in range(1_600, 2_400, 25):
        one.feed(rows[start : start + 25])
    assert one.registry.production([NAME])[NAME].version == 2


def test_a_pinned_version_stays_however_it_does(world, bars) -> None:
    rows = bars(2_100)
    one = world(rollback_min_scored=50, pinned_version=2)
    one.feed(rows[:1_500])
    one.train(0.05)
    one.feed(rows[1_500:1_600])
    plant(one, 5.0)
    for start in range(1_600, 2_100, 25):
        one.feed(rows[start : start + 25])
    assert one.registry.production([NAME])[NAME].version == 2


def test_a_training_evaluates_the_kinds_of_the_settings(world) -> None:
    options = train.options_of(world(model_kinds=["Trees", "Naive", "Quantiles"]).settings)
    assert options.contestants == ("Trees", "Naive", "Quantiles")
    with pytest.raises(ValueError, match="'Ensemble', 'Trees'"):
        world(model_kinds=["Tree"])


def test_rolling_scores_are_those_of_one_version() -> None:
    scores = RollingScores(window=3)

    def one(version: int, loss: float, naive: float | None) -> Prediction:
        now = 1_700_000_000_000
        forecast = Forecast(PAIR, 60, now, now, 100.0, QUANTILES, (-loss, 0.0, loss))
        made = predictions.scored(
            predictions.make("test", forecast, None, point_is_naive=True, simulated=False),
            100.0,
            None if naive is None else (-naive, 0.0, naive),
        )
        return msgspec.structs.replace(made, model_version=version)

    scores.add(one(0, 0.01, 0.01))
    assert scores.distribution_skill == pytest.approx(0.0)
    scores.add(one(2, 0.005, 0.01))
    assert (len(scores), scores.model_version) == (1, 2)
    assert scores.distribution_skill == pytest.approx(0.5)
    scores.add(one(1, 0.02, 0.01))
    scores.add(one(2, 0.02, None))
    assert len(scores) == 1
    assert scores.coverage == 1.0
