"""Evaluation as it would have gone live: train on what was, forecast what came next, never the other way round.

The rows are cut into consecutive folds; a model for each is trained on everything before it, less the outcomes that
reach into it (an embargo of one horizon). Nothing is ever shuffled. Within a fold the calibrator learns from outcomes
once they would have been known. Whether the median is used is itself decided fold by fold, from earlier folds alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from pricecast_core.errors import SettingsError
from pricecast_core.settings.price_predictor import FIRST_TRAINING_SHARE
from pricecast_core.values import LEVELS
from pricecast_price_predictor import baselines, conformal, model, target
from pricecast_price_predictor.evaluation import Matrix, Scores, columns, score
from pricecast_price_predictor.features import FeatureTable
from pricecast_price_predictor.model import PriceModel, Recipe
from pricecast_price_predictor.models.base import Sample
from pricecast_price_predictor.models.kinds import kind_of
from pricecast_price_predictor.windows import Floats


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows of one step: trained on [0, start) less the embargo, evaluated on [start, stop)."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Forecasts of consecutive rows and what came, in log-return; shapes (rows,) and (rows, 3).

    Attributes:
        time_ms: Event time of the row that the forecast was made at.
        actual: Realised return; NaN where it isn't known.
        quantiles: The model's quantiles.
        naive: The naive quantiles.
        standardised: Outcome in units of the predicted scale.
        volatility: Local volatility that was known then.
        state: The same against that of the week.
        levels: Levels of the quantiles.
        distance: Distance of the row from those learned from.
    """

    time_ms: np.ndarray
    actual: Floats
    quantiles: Matrix
    naive: Matrix
    standardised: Floats
    volatility: Floats
    state: Floats
    levels: Sequence[float] = LEVELS
    distance: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def situation(self) -> conformal.Situation:
        """What decides about each row's groups of the calibration."""
        return conformal.Situation(self.state, self.time_ms, self.distance)

    def interval(self) -> Matrix:
        """Returns the interval's ends and the median, shape (rows, 3)."""
        return self.quantiles[:, columns(self.levels)]

    def frame(self, **about: str | int) -> pl.DataFrame:
        """Returns a row for each forecast, for a file of forecasts.

        Args:
            about: Columns of one value that say what the forecasts are of.
        """
        return pl.DataFrame(
            {
                **about,
                "time_ms": self.time_ms,
                "actual": self.actual,
                **{f"q{level:g}": self.quantiles[:, column] for column, level in enumerate(self.levels)},
                **{f"naive_q{level:g}": self.naive[:, column] for column, level in enumerate(self.levels)},
            }
        )

    def scores(self) -> Scores:
        """Scores them."""
        return score(self.actual, self.quantiles, self.naive, self.levels, self.volatility)


@dataclass(frozen=True, slots=True)
class WalkForward:
    """The folds' forecasts in order, and what they say of the median.

    Attributes:
        folds: Forecasts of each fold, each as the procedure would have made them.
        use_median: Whether the median beat the last close, over all folds.
        ends: Ends of the interval from all out-of-sample outcomes.
    """

    folds: Sequence[Forecasts]
    use_median: bool
    ends: conformal.Ends

    def pooled(self) -> Forecasts:
        """Returns all folds as one."""
        return concatenate(self.folds)


def splits(rows: int, folds: int, *, first: int | None = None) -> list[Fold]:
    """Returns consecutive folds that cover the rows after the first training rows.

    Args:
        rows: How many rows there are.
        folds: How many folds.
        first: Rows that only train; by default `FIRST_TRAINING_SHARE` of them.
    """
    first = int(rows * FIRST_TRAINING_SHARE) if first is None else first
    edges = np.linspace(first, rows, folds + 1).astype(int).tolist()
    return [Fold(start, stop) for start, stop in itertools.pairwise(edges) if stop > start]


def replay(price_model: PriceModel, table: FeatureTable, naive: Matrix, start: int, stop: int) -> Forecasts:
    """Forecasts rows [start, stop) as the serving process would: the calibrator knows an outcome once it has happened.

    Args:
        price_model: Trained on rows before `start`.
        table: Features, from the first row.
        naive: Naive quantiles of every row of the table at `LEVELS`.
        start: First row.
        stop: The row after the last.
    """
    part = table.rows(start, stop)
    raw = price_model.predict(part)
    actual = target.future_return(table.log_close, price_model.horizon_rows)[start:stop]
    known = target.has_outcome(table.observed, price_model.horizon_rows)[start:stop]
    actual = np.where(known, actual, np.nan)
    standardised = raw.standardise(actual)
    calibrator, situation = price_model.calibrator(LEVELS), price_model.situation(part)
    ends = conformal.trace(calibrator, standardised, calibrator.groups(situation), price_model.horizon_rows)
    return Forecasts(
        part.time_ms,
        actual,
        raw.quantiles(ends, LEVELS),
        naive[start:stop],
        standardised,
        part.scale,
        situation.state,
        distance=situation.distance,
    )


def evaluate(
    sample: Sample, folds: Sequence[Fold], recipe: Recipe, on_fold: Callable[[], None] = lambda: None
) -> WalkForward:
    """Runs the walk-forward evaluation.

    Args:
        sample: What is learned from and judged; its horizon is the embargo too.
        folds: What to train on and evaluate.
        recipe: How every fold's model is made.
        on_fold: Called after each fold, for a progress bar.
    """
    table = sample.table
    naive = naive_of(sample)
    plain: list[Forecasts] = []
    moved: list[Forecasts] = []
    chosen: list[Forecasts] = []
    for fold in folds:
        fitted = model.fit(sample.until(fold.start), recipe)
        use = median_wins(moved)
        plain.append(replay(fitted, table, naive, fold.start, fold.stop))
        moved.append(replay(fitted.with_median(use=True), table, naive, fold.start, fold.stop))
        chosen.append(moved[-1] if use else plain[-1])
        on_fold()
    use = median_wins(moved)
    found = concatenate(moved if use else plain)
    ends = conformal.fit_ends(found.standardised)
    if kind_of(recipe.kind).calibrated:
        ends = conformal.fit_groups(ends, found.standardised, found.situation, sample.horizon)
    return WalkForward(chosen, use, ends)


def naive_of(sample: Sample) -> Matrix:
    """Returns the naive quantiles of every row of a sample's table at `LEVELS`."""
    return baselines.naive_quantiles(sample.table.log_close, sample.horizon, sample.spec.day, LEVELS)


def write_forecasts(frames: Sequence[pl.DataFrame], out: Path) -> None:
    """Writes forecasts row by row, as Parquet where the name ends so, else as CSV.

    Raises:
        SettingsError: If the file can't be written.
    """
    frame = pl.concat(frames)
    try:
        frame.write_parquet(out) if out.suffix == ".parquet" else frame.write_csv(out)
    except OSError as error:
        raise SettingsError(f"--out: {out} can't be written: {error}; name a file in a folder that is there") from None


def median_wins(folds: Sequence[Forecasts]) -> bool:
    """Returns whether the median beat the last close: over all folds together, and in most of them."""
    if not folds:
        return False
    won = sum(fold.scores().point_skill > 0 for fold in folds)
    return won * 3 >= len(folds) * 2 and concatenate(folds).scores().point_skill > 0


def concatenate(parts: Sequence[Forecasts]) -> Forecasts:
    """Returns several stretches of forecasts as one."""
    return Forecasts(
        time_ms=np.concatenate([part.time_ms for part in parts]),
        actual=np.concatenate([part.actual for part in parts]),
        quantiles=np.concatenate([part.quantiles for part in parts]),
        naive=np.concatenate([part.naive for part in parts]),
        standardised=np.concatenate([part.standardised for part in parts]),
        volatility=np.concatenate([part.volatility for part in parts]),
        state=np.concatenate([part.state for part in parts]),
        levels=parts[0].levels,
        distance=np.concatenate([part.distance for part in parts]),
    )
