"""`arena`: every model kind on a person's own bars, under one scorer.

Each kind learns from the first rows of a file and forecasts the rest, frozen but for the calibration that outcomes move
live. All are scored on the same rows. Files of one candle length are a pool: common trees learn from all of them, of each
moment only what was known by then. The features are those of candles alone, without indicators and news.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from pricecast_core.errors import SettingsError
from pricecast_core.files import BarRow, History, survey
from pricecast_price_predictor import features, grid, model_selection, walkforward
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.model_selection import Options
from pricecast_price_predictor.models.base import Sample
from pricecast_price_predictor.pool import Pool
from pricecast_price_predictor.rivals import Standing, standings
from pricecast_price_predictor.tuning import Budget
from pricecast_price_predictor.walkforward import Forecasts

TRAINING_SHARE = 0.6
DEFAULT_HORIZONS = (300, 900, 3600)
_FEWEST_ROWS = 2_000
_OPTIONS = Options(search=Budget(0), folds=2)


@dataclass(frozen=True, slots=True)
class Contest:
    """One file and horizon.

    Attributes:
        name: The file.
        horizon_seconds: The horizon.
        learned: Rows learned from.
        pooled: Whether common trees had other files to learn from.
        table: Who did how well.
    """

    name: str
    horizon_seconds: int
    learned: int
    pooled: bool
    table: Sequence[Standing]

    def as_dict(self) -> dict[str, Any]:
        """Returns it for JSON."""
        return {
            "bars": self.name,
            "horizon_seconds": self.horizon_seconds,
            "train_rows": self.learned,
            "rows": self.table[0].scores.rows,
            "pooled": self.pooled,
            "kinds": [one.as_dict() for one in self.table],
        }


def arena(
    files: Sequence[Path], horizons: Sequence[int], kinds: Sequence[str], *, as_json: bool, out: Path | None
) -> None:
    """Runs the contests and prints the table, or one line of JSON for each contest.

    Args:
        files: Kraken OHLCVT CSV.
        horizons: Horizons in seconds; one that is no multiple of a file's candle is left out there.
        kinds: Model kinds; the first is compared with each.
        as_json: Print JSON.
        out: File for the forecasts of each row: `.csv` or `.parquet`.

    Raises:
        SettingsError: If a file or horizon can't be used.
    """
    tables = {file: read(file) for file in files}
    console, rows, done = Console(), [], 0
    for file, (spec, table) in tables.items():
        others = [one for other, one in tables.values() if other == spec]
        pool = Pool(others, len(others)) if len(others) > 1 else None
        for seconds in horizons:
            if seconds % spec.candle_seconds:
                continue
            sample = Sample(spec, table, seconds // spec.candle_seconds, pool=pool)
            contestants = contest(sample, kinds)
            result = Contest(
                file.name,
                seconds,
                int(len(table) * TRAINING_SHARE),
                pool is not None,
                standings(contestants),
            )
            done += 1
            if as_json:
                print(json.dumps(result.as_dict()), flush=True)  # noqa: T201 - the command's output
            else:
                console.print(_as_table(result))
            if out is not None:
                rows += [
                    forecasts.frame(bars=file.name, horizon_seconds=seconds, kind=kind)
                    for kind, forecasts in contestants.items()
                ]
    if not done:
        raise SettingsError(f"--horizons: {', '.join(map(str, horizons))} s: none is a multiple of a file's candle")
    if out is not None:
        walkforward.write_forecasts(rows, out)


def read(file: Path) -> tuple[FeatureSpec, FeatureTable]:
    """Returns the features of a file's bars.

    Raises:
        SettingsError: If there are too few.
    """
    found = survey(file, "bars")
    seconds = found.spacing_ms // 1000
    history = History([found])
    bars = [row for _, row in history if isinstance(row, BarRow)]
    if problem := history.complaint():
        raise SettingsError(problem)
    if len(bars) < _FEWEST_ROWS or not seconds:
        raise SettingsError(
            f"{file}: {len(bars)} bars are too few to learn from and judge; give {_FEWEST_ROWS} or more"
        )
    frame = pl.DataFrame(bars, schema=list(BarRow._fields), orient="row").with_columns(
        (pl.col("time_ms") + seconds * 1000).alias(grid.TIME)
    )
    spec = FeatureSpec(seconds)
    return spec, features.compute(spec, grid.regular(frame.drop("time_ms", "trades"), seconds))


def contest(sample: Sample, kinds: Sequence[str]) -> dict[str, Forecasts]:
    """Returns each kind's forecasts of the rows that are judged."""
    table, total = sample.table, len(sample.table)
    split = int(total * TRAINING_SHARE)
    naive = walkforward.naive_of(sample)
    found = {}
    for kind in kinds:
        options = Options(_OPTIONS.search, _OPTIONS.folds, _OPTIONS.compute, kind)
        trained = model_selection.train(sample.head(split), options)
        found[kind] = walkforward.replay(trained.model, table, naive, split, total)
    return found


def _as_table(contest: Contest) -> Table:
    leader = contest.table[0].kind
    table = Table(
        title=f"{contest.name} +{contest.horizon_seconds} s: {contest.learned:,} rows learned from, "
        f"{contest.table[0].scores.rows:,} judged"
    )
    for column in ("kind", "skill", "coverage", "point skill", f"{leader} ahead by [95%]", ""):
        table.add_column(column, justify="left" if column in ("kind", "") else "right")
    for one in contest.table:
        compared = one.kind != leader
        table.add_row(
            one.kind,
            f"{one.scores.distribution_skill:+.2%}",
            f"{one.scores.coverage:.1%}",
            f"{one.scores.point_skill:+.2%}",
            f"{one.lead.skill * 100:+.2f} [{one.lead.low * 100:+.2f}, {one.lead.high * 100:+.2f}]" if compared else "",
            one.lead.verdict if compared else "",
        )
    return table
