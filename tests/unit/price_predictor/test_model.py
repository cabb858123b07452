from __future__ import annotations

import random
from statistics import NormalDist
from typing import get_args

import msgspec
import numpy as np
import polars as pl
import pytest
import structlog
import structlog.testing

from pricecast_core.errors import StoreError
from pricecast_core.values import LEVELS, ModelKind
from pricecast_price_predictor import (
    baselines,
    conformal,
    features,
    grid,
    model,
    model_selection,
    report,
    tuning,
    walkforward,
)
from pricecast_price_predictor.evaluation import columns, pinball, score
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.forecasting import Forecaster
from pricecast_price_predictor.model import PriceModel, Recipe
from pricecast_price_predictor.model_selection import Options
from pricecast_price_predictor.models.base import Sample
from pricecast_price_predictor.models.kinds import KINDS
from pricecast_price_predictor.pool import Pool
from pricecast_price_predictor.tuning import Budget

HORIZON = 5
SPEC = FeatureSpec(60, ("atr_10", "macd", "rsi_14", "sma_21"))
FAST = Recipe(parameters={"trees": 40})


@pytest.fixture(scope="module")
def rows(bars) -> pl.DataFrame:
    return grid.regular(bars(6_000), 60)


@pytest.fixture(scope="module")
def table(rows: pl.DataFrame) -> FeatureTable:
    return features.compute(SPEC, rows)


@pytest.fixture(scope="module")
def fitted(table: FeatureTable) -> PriceModel:
    return model.fit(Sample(SPEC, table, HORIZON, 5_000), FAST).with_median(use=True)


def naive_of(table: FeatureTable) -> np.ndarray:
    return baselines.naive_quantiles(table.log_close, HORIZON, SPEC.day, LEVELS)


def changed_from(table: FeatureTable, row: int) -> FeatureTable:
    """The table with another future from `row` on."""
    log_close = table.log_close.copy()
    log_close[row:] += np.linspace(0, 0.5, len(table) - row)
    values = table.values.copy()
    values[row:] *= -1
    scale = table.scale.copy()
    scale[row:] *= 3
    return FeatureTable(table.names, values, scale, log_close, table.time_ms, table.observed)


def test_training_up_to_a_row_knows_nothing_of_it_or_later(table: FeatureTable) -> None:
    one = model.fit(Sample(SPEC, table, HORIZON, 4_000), FAST)
    other = model.fit(Sample(SPEC, changed_from(table, 4_000), HORIZON, 4_000), FAST)
    assert one.to_bytes() == other.to_bytes()
    assert one.trained_through_ms == table.time_ms[3_999]


def test_forecasts_know_nothing_of_later_rows(table: FeatureTable, fitted: PriceModel) -> None:
    other = changed_from(table, 5_500)
    one, two = (walkforward.replay(fitted, t, naive_of(t), 5_000, 6_000).quantiles for t in (table, other))
    np.testing.assert_array_equal(one[:500], two[:500])
    assert (one[500:] != two[500:]).any()


def test_quantiles_never_cross(table: FeatureTable, fitted: PriceModel) -> None:
    quantiles = walkforward.replay(fitted, table, naive_of(table), 5_000, 6_000).quantiles
    assert (np.diff(quantiles, axis=1) > 0).all()


def test_a_model_read_back_forecasts_the_same(table: FeatureTable, fitted: PriceModel) -> None:
    again = PriceModel.from_bytes(fitted.to_bytes())
    for part in (table.rows(5_000, 5_100), table.rows(5_050, 5_051)):
        one, two = fitted.predict(part), again.predict(part)
        np.testing.assert_array_equal(one.scale, two.scale)
        np.testing.assert_array_equal(one.median, two.median)
    assert again.ends == fitted.ends
    assert again.spec == SPEC


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x80"])
def test_bytes_that_are_no_model_are_refused_with_a_remedy(data: bytes) -> None:
    with pytest.raises(StoreError, match="train again"):
        PriceModel.from_bytes(data)


def test_the_artifact_names_its_kind_and_an_unknown_or_old_one_is_refused(fitted: PriceModel) -> None:
    stored = msgspec.msgpack.decode(fitted.to_bytes())
    assert stored["kind"] == "Ensemble"
    with pytest.raises(StoreError, match="'Oracle' is unknown; train again"):
        PriceModel.from_bytes(msgspec.msgpack.encode({**stored, "kind": "Oracle"}))
    with pytest.raises(StoreError, match="format 2 is not 4; train again"):
        PriceModel.from_bytes(msgspec.msgpack.encode({"format": 2, "kind": "Trees"}))


def test_the_naive_kind_forecasts_the_naive_distribution(table: FeatureTable) -> None:
    naive = naive_of(table)
    priced = model.fit(Sample(SPEC, table, HORIZON, 5_000), Recipe("Naive"))
    forecasts = walkforward.replay(PriceModel.from_bytes(priced.to_bytes()), table, naive, 5_000, 6_000)
    three = columns(LEVELS)
    np.testing.assert_allclose(forecasts.quantiles[:, three], naive[5_000:, three], rtol=0, atol=1e-15)


def test_the_kinds_that_a_manifest_may_name_are_those_that_there_are() -> None:
    assert set(get_args(ModelKind)) == set(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_forecasts_row_by_row_what_it_does_in_the_backtest(
    rows: pl.DataFrame, table: FeatureTable, kind: str
) -> None:
    pool = Pool([table, features.compute(FeatureSpec(60), rows)], 2)
    fitted = model.fit(Sample(SPEC, table, HORIZON, 5_000, pool), Recipe(kind))
    expected = walkforward.replay(fitted, table, naive_of(table), 5_000, 5_060).quantiles
    assert np.isfinite(expected).all()
    assert (np.diff(expected, axis=1) > 0).all()
    forecaster, got = Forecaster(PriceModel.from_bytes(fitted.to_bytes())), []
    for stop in range(5_001, 5_061):
        seen = rows[max(0, stop - forecaster.rows_needed()) : stop]
        last = forecaster.rows_wanted(seen["window_end_ms"].to_numpy())
        got.append(forecaster.advance(features.compute(SPEC, seen, last=last))[1])
    np.testing.assert_array_equal(np.concatenate(got), expected)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_knows_nothing_of_later_rows(table: FeatureTable, kind: str) -> None:
    one, other = (
        model.fit(Sample(SPEC, seen, HORIZON, 4_000, Pool([seen, seen], 2)), Recipe(kind))
        for seen in (table, changed_from(table, 4_000))
    )
    assert one.to_bytes() == other.to_bytes()


@pytest.mark.parametrize("largest_batch", [1, 40])
def test_row_by_row_or_in_batches_the_forecasts_are_those_of_the_backtest(
    rows: pl.DataFrame, table: FeatureTable, fitted: PriceModel, largest_batch: int
) -> None:
    expected = walkforward.replay(fitted, table, naive_of(table), 5_000, 5_200).quantiles
    forecaster, rng, at, got = Forecaster(fitted), random.Random(3), 5_000, []
    while at < 5_200:
        stop = min(5_200, at + rng.randint(1, largest_batch))
        seen = rows[max(0, at - forecaster.rows_needed()) : stop]
        first, quantiles = forecaster.advance(features.compute(SPEC, seen))
        assert int(seen["window_end_ms"][first]) == rows["window_end_ms"][at]
        got.append(quantiles)
        at = stop
    np.testing.assert_array_equal(np.concatenate(got), expected)


def test_rows_trained_on_are_not_forecast(rows: pl.DataFrame, fitted: PriceModel) -> None:
    first, quantiles = Forecaster(fitted).advance(features.compute(SPEC, rows[:5_000]))
    assert first == 5_000
    assert len(quantiles) == 0


def test_the_folds_follow_each_other_and_are_never_trained_on(table: FeatureTable) -> None:
    folds = walkforward.splits(len(table), 4)
    assert [fold.start for fold in folds[1:]] == [fold.stop for fold in folds[:-1]]
    assert folds[-1].stop == len(table)
    for fold in folds:
        learned = Sample(SPEC, table, HORIZON, fold.start).learnable()
        assert learned.max() + HORIZON < fold.start + 1


def test_where_volatility_clusters_the_distribution_beats_the_naive_one(table: FeatureTable) -> None:
    trained = model_selection.train(Sample(SPEC, table, HORIZON), Options(Budget(0)))
    assert trained.beats_naive
    assert trained.scores.coverage == pytest.approx(0.8, abs=0.05)
    assert trained.scores.point_skill > -0.005
    assert "beats the naive one" in trained.verdict


def test_rivals_are_judged_on_the_same_rows_and_told_of(table: FeatureTable) -> None:
    trained = model_selection.train(
        Sample(SPEC, table.rows(0, 4_000), HORIZON), Options(Budget(0), kind="Ewma", rivals=("HarSeasonal", "Naive"))
    )
    assert {one.kind for one in trained.table} == {"Ewma", "HarSeasonal", "Naive"}
    assert trained.table[0].kind == trained.model.kind
    assert len({one.scores.rows for one in trained.table}) == 1
    for one in trained.table[1:]:
        assert one.lead.verdict != "behind"
        assert f"{one.kind} ({one.lead.skill * 100:+.2f} points" in trained.verdict
    assert "Beside its rivals" in report.render("name", trained, 60)


def test_a_rival_that_is_ahead_beyond_doubt_is_the_model(table: FeatureTable) -> None:
    trained = model_selection.train(
        Sample(SPEC, table, HORIZON), Options(Budget(0), kind="Naive", rivals=("Ensemble",))
    )
    assert trained.model.kind == "Ensemble"
    assert [one.kind for one in trained.table] == ["Ensemble", "Naive"]
    assert trained.table[1].lead.verdict == "ahead"


def test_a_random_walk_has_no_median_to_find(bars) -> None:
    rng = np.random.default_rng(8)
    close = 100 * np.exp(np.cumsum(rng.standard_normal(4_000) * 1e-3))
    frame = bars(4_000).with_columns(
        open=pl.Series(close), high=pl.Series(close * 1.0001), low=pl.Series(close * 0.9999), close=pl.Series(close)
    )
    spec = FeatureSpec(60)
    trained = model_selection.train(
        Sample(spec, features.compute(spec, grid.regular(frame, 60)), HORIZON), Options(Budget(0))
    )
    assert trained.scores.point_skill > -0.005
    if not trained.model.use_median:
        assert "the last close" in trained.verdict


def test_training_is_deterministic(table: FeatureTable) -> None:
    part = table.rows(0, 3_000)
    options = Options(Budget(2), folds=2)
    one, two = (model_selection.train(Sample(SPEC, part, HORIZON), options) for _ in range(2))
    assert one.model.to_bytes() == two.model.to_bytes()


def test_the_search_never_sees_the_rows_that_are_judged(table: FeatureTable) -> None:
    one = tuning.search(Sample(SPEC, table, HORIZON).head(2_400), Recipe(), Budget(3, 60.0))
    two = tuning.search(Sample(SPEC, changed_from(table, 2_400), HORIZON).head(2_400), Recipe(), Budget(3, 60.0))
    assert one == two


def test_too_few_rows_are_refused(table: FeatureTable) -> None:
    with pytest.raises(ValueError, match="too few"):
        model.fit(Sample(SPEC, table, HORIZON, 100))


def test_rows_that_fill_holes_are_neither_learned_from_nor_scored(rows: pl.DataFrame, fitted: PriceModel) -> None:
    holed = grid.regular(pl.concat([rows[:5_100], rows[5_140:]]).drop("observed"), 60)
    table = features.compute(SPEC, holed)
    assert not set(range(5_100, 5_140)) & set(Sample(SPEC, table, HORIZON, 6_000).learnable().tolist())
    forecasts = walkforward.replay(fitted, table, naive_of(table), 5_000, 6_000)
    assert np.isnan(forecasts.actual[100:140]).all()


def test_outcomes_in_an_outage_are_neither_learned_from_nor_scored(rows: pl.DataFrame, fitted: PriceModel) -> None:
    close = rows["close"][5_099]
    filled = pl.int_range(len(rows)).is_between(5_100, 5_299)
    values = {**dict.fromkeys(("open", "high", "low", "close"), close), "volume": 0.0, "trade_count": 0}
    frozen = rows.drop("observed").with_columns(
        pl.when(filled).then(pl.lit(value, rows.schema[name])).otherwise(name).alias(name)
        for name, value in values.items()
    )
    table = features.compute(SPEC, grid.regular(frozen, 60))
    invented = set(range(5_100 + grid.OUTAGE_ROWS - HORIZON, 5_300))
    assert not invented & set(Sample(SPEC, table, HORIZON, 6_000).learnable().tolist())
    forecasts = walkforward.replay(fitted, table, naive_of(table), 5_000, 6_000)
    assert set(np.flatnonzero(np.isnan(forecasts.actual)) + 5_000) == invented | set(range(6_000 - HORIZON, 6_000))
    forecaster = Forecaster(fitted)
    _, live = forecaster.advance(
        features.compute(SPEC, grid.regular(frozen, 60)[5_000 - forecaster.rows_needed() : 6_000])
    )
    np.testing.assert_array_equal(live, forecasts.quantiles)


def test_a_search_ends_where_its_reckoned_work_does_and_says_so(
    table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tuning, "log", structlog.get_logger()
    )  # the module's own may have been bound to a configuration
    trials: list[float] = []
    with structlog.testing.capture_logs() as lines:
        tuning.search(Sample(SPEC, table, HORIZON).head(2_400), Recipe(), Budget(9, 0.5), trials.append)
    assert ["ended within its budget of work" in line["event"] for line in lines] == [True]
    assert len(trials) == 2  # 250 trees and more, 2 folds, 2,400 rows, some 70 features: 0.4 s each


def test_scores_are_what_they_say() -> None:
    actual = np.array([0.0, 1.0, -1.0, np.nan])
    forecast = np.tile([-0.5, 0.1, 1.5], (4, 1))
    naive = np.tile([-1.0, 0.0, 1.0], (4, 1))
    scores = score(actual, forecast, naive)
    assert scores.rows == 3
    assert scores.coverage == pytest.approx(2 / 3)
    assert scores.mae == pytest.approx((0.1 + 0.9 + 1.1) / 3)
    assert scores.naive_mae == pytest.approx(2 / 3)
    assert scores.point_skill == pytest.approx(1 - scores.mae / scores.naive_mae)
    assert scores.pinball == pytest.approx(pinball(actual[:3], forecast[:3]).mean())
    assert scores.distribution_skill == pytest.approx(1 - scores.pinball / scores.naive_pinball)


def test_pinball_is_least_at_the_quantile() -> None:
    outcomes = np.random.default_rng(2).standard_normal(50_000)
    losses = [pinball(outcomes, np.full((50_000, 1), level), [0.9]).mean() for level in np.linspace(0.5, 2.0, 31)]
    assert np.linspace(0.5, 2.0, 31)[int(np.argmin(losses))] == pytest.approx(1.28, abs=0.06)


def test_a_models_calibrator_moves_by_the_step_of_its_horizon(fitted: PriceModel) -> None:
    calibrator = fitted.calibrator([0.1, 0.5, 0.9])
    groups = np.zeros(
        calibrator.groups(conformal.Situation(np.zeros(1), np.zeros(1, dtype=np.int64), np.zeros(1))).shape[1]
    )
    before = calibrator.ends(groups)[-1]
    calibrator.observe(1e9, groups)
    step = conformal.learning_rate(HORIZON, SPEC.candle_seconds) * 0.9
    assert np.log(calibrator.ends(groups)[-1] / before) == pytest.approx(step)


def test_levels_are_scored_each_on_its_own_and_together() -> None:
    rng = np.random.default_rng(1)
    volatility = np.repeat([0.5, 1.0, 2.0, 3.0, 4.0], 4_000)
    actual = volatility * rng.standard_normal(len(volatility))
    normal = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
    alike, right = np.tile(2.4 * normal, (len(actual), 1)), volatility[:, None] * normal
    scores = score(actual, right, alike, LEVELS, volatility)
    assert list(scores.below.values()) == pytest.approx(LEVELS, abs=0.01)
    assert scores.coverage_by_volatility == pytest.approx([0.8] * 5, abs=0.02)
    assert scores.crps == pytest.approx(np.mean(volatility) / np.sqrt(np.pi), rel=0.05)  # of a normal distribution
    assert scores.crps < scores.naive_crps
    quiet, *_, busy = score(actual, alike, right, LEVELS, volatility).coverage_by_volatility
    assert quiet > 0.99
    assert busy < 0.6
    assert scores.as_metrics()["below_0.05"] == pytest.approx(0.05, abs=0.01)
    three = columns(LEVELS)
    assert scores.pinball == score(actual, right[:, three], alike[:, three]).pinball
