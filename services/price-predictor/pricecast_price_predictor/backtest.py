"""`backtest`: trains on the rows before a time and measures on those from then on, as they would have gone live."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from pricecast_core.errors import NotEnoughHistoryError
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.features import FeatureStore
from pricecast_core.stores.models import model_name
from pricecast_core.stores.open import open_feature_store
from pricecast_core.values import slug
from pricecast_price_predictor import baselines, feature_view, model_selection, report, rivals, walkforward
from pricecast_price_predictor.feature_view import FeatureView
from pricecast_price_predictor.features import FeatureSpec, FeatureTable
from pricecast_price_predictor.models.base import Sample
from pricecast_price_predictor.pool import Pool
from pricecast_price_predictor.target import horizon_rows
from pricecast_price_predictor.train import options_of, progress
from pricecast_price_predictor.walkforward import Forecasts

_SMA_ROWS = 20


def backtest(
    settings: PricePredictorSettings,
    evaluate_from_ms: int,
    *,
    as_json: bool,
    plots: Path | None,
    out: Path | None = None,
) -> None:
    """Runs the backtest of every pair and horizon and prints what was measured.

    Of a pipeline with news another model is trained that sees none, to tell what they add on the same rows.

    Args:
        settings: The pipeline; its feature store holds the rows.
        evaluate_from_ms: Rows whose candle ends at or before this time train; later ones are judged.
        as_json: Print one line of JSON to standard output: the first pair and horizon, and all under `results`.
        plots: Folder for the pages with plots; by default none is written.
        out: File for the forecasts row by row, `.csv` or `.parquet`; by default none is written.

    Raises:
        NotEnoughHistoryError: If either side has too few rows.
    """
    store = open_feature_store(settings)
    try:
        views = {pair: _view(settings, store, pair) for pair in settings.pairs}
    finally:
        store.close()
    results: list[dict[str, Any]] = []
    rows: list[pl.DataFrame] = []
    bare = _samples(settings, views, news=False) if settings.news_model else itertools.repeat(None)
    for (pair, sample), without in zip(_samples(settings, views, news=True), bare, strict=False):
        result, forecasts = _one(settings, pair, sample, evaluate_from_ms=evaluate_from_ms, plots=plots)
        if without is not None:
            _, other = _one(settings, pair, without[1], evaluate_from_ms=evaluate_from_ms, plots=None)
            signals = views[pair][1].news
            result["news"] = {
                "model": settings.news_model,
                "signals": 0 if signals is None else len(signals),
                **_added(forecasts, other),
            }
        results.append(result)
        rows.append(forecasts.frame(pair=pair, horizon_seconds=result["horizon_seconds"]))
    if out is not None:
        walkforward.write_forecasts(rows, out)
    if as_json:
        print(json.dumps({**results[0], "results": results}))  # noqa: T201 - the command's one line of output
        return
    console = Console()
    console.print(_as_table(results))
    if plots is not None:
        console.print(f"plots: {plots.resolve()}")


def _view(settings: PricePredictorSettings, store: FeatureStore, pair: str) -> tuple[FeatureSpec, FeatureView]:
    spec = feature_view.spec_of(settings, store, pair)
    seen = feature_view.read(settings, store, pair)
    if seen.rows.is_empty():
        raise NotEnoughHistoryError(f"{pair}: has no feature rows")
    return spec, seen


def _samples(
    settings: PricePredictorSettings, views: Mapping[str, tuple[FeatureSpec, FeatureView]], *, news: bool
) -> Iterator[tuple[str, Sample]]:
    """Yields each pair with the sample of each horizon, whose features leave the news out unless they are wanted."""
    specs = {pair: replace(spec, news=spec.news and news) for pair, (spec, _) in views.items()}
    tables = {pair: view.table(specs[pair]) for pair, (_, view) in views.items()}
    pool = Pool(tables.values(), len(tables)) if len(tables) > 1 else None
    for pair, table in tables.items():
        for seconds in settings.horizons_seconds:
            yield pair, Sample(specs[pair], table, horizon_rows(seconds, settings.candle_seconds), pool=pool)


def _added(forecasts: Forecasts, without: Forecasts) -> dict[str, Any]:
    """Returns how far forecasts with news are ahead of those without, on the rows that both forecast."""
    both = rivals.standings({"with news": forecasts, "without": without})
    lead = both[1].lead
    return {"without": asdict(both[1].scores), "lead": {**asdict(lead), "verdict": lead.verdict}}


def _one(
    settings: PricePredictorSettings, pair: str, sample: Sample, *, evaluate_from_ms: int, plots: Path | None
) -> tuple[dict[str, Any], Forecasts]:
    table, horizon = sample.table, sample.horizon
    seconds = horizon * settings.candle_seconds
    name = model_name(settings.pipeline, slug(pair), seconds)
    split = int(np.searchsorted(table.time_ms, evaluate_from_ms, side="right"))
    if split < settings.training_min_rows or len(table) - split <= horizon:
        raise NotEnoughHistoryError(
            f"{pair}: {split} rows to train on and {len(table) - split} to judge are too few; give at least "
            f"{settings.training_min_rows} and {horizon + 1}"
        )
    options = options_of(settings)
    start = time.monotonic()
    with progress(name, options) as on_step:
        trained = model_selection.train(sample.head(split), options, on_step)
    training_seconds = time.monotonic() - start
    naive = walkforward.naive_of(sample)
    forecasts = walkforward.replay(trained.model, table, naive, split, len(table))
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        (plots / f"{name}-later.html").write_text(report.backtest_page(f"{name}: later rows", forecasts, horizon))
        (plots / f"{name}-training.html").write_text(
            report.render(name, trained, settings.candle_seconds, simulated=settings.simulated)
        )
    result = {
        "pair": pair,
        "horizon_seconds": seconds,
        **asdict(forecasts.scores()),
        **_baselines(table, forecasts, split, horizon),
        "train_rows": split,
        "model": name,
        "point_is_naive": not trained.model.use_median,
        "would_be_promoted": trained.beats_naive,
        "kind": trained.model.kind,
        "walk_forward": asdict(trained.scores),
        "walk_forward_kinds": [one.as_dict() for one in trained.table],
        "training_seconds": round(training_seconds, 2),
        "simulated": settings.simulated,
    }
    return result, forecasts


def _baselines(table: FeatureTable, forecasts: Forecasts, split: int, horizon: int) -> dict[str, float]:
    """Returns the point errors in quote coins, and that of a moving average in log-return."""
    price = np.exp(table.log_close[split:])
    actual = price * np.exp(forecasts.actual)
    sma = np.abs(forecasts.actual - baselines.sma_return(table.log_close, _SMA_ROWS)[split:])
    return {
        "mae_price": float(np.nanmean(np.abs(actual - price * np.exp(forecasts.interval()[:, 1])))),
        "naive_mae_price": float(np.nanmean(np.abs(actual - price))),
        "sma_mae": float(np.nanmean(sma)),
    }


def _as_table(results: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="Backtest: trained before, measured after, as it would have gone live")
    for column, align in (("", "left"), *((f"{one['pair']} +{one['horizon_seconds']} s", "right") for one in results)):
        table.add_column(column, justify=align)  # type: ignore[arg-type]
    lines: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("rows trained on", lambda one: f"{one['train_rows']:,}"),
        ("rows measured", lambda one: f"{one['rows']:,}"),
        ("distribution skill against naive", lambda one: f"{one['distribution_skill']:+.2%}"),
        ("point skill against last close", lambda one: f"{one['point_skill']:+.2%}"),
        ("point forecast", lambda one: "last close" if one["point_is_naive"] else "median"),
        ("coverage of the 80% interval", lambda one: f"{one['coverage']:.1%}"),
        ("coverage of the naive interval", lambda one: f"{one['naive_coverage']:.1%}"),
        ("pinball loss / naive, bp", lambda one: f"{one['pinball'] * 1e4:.3f} / {one['naive_pinball'] * 1e4:.3f}"),
        ("mean absolute error / last close", lambda one: f"{one['mae_price']:.4g} / {one['naive_mae_price']:.4g}"),
        ("walk-forward skill before", lambda one: f"{one['walk_forward']['distribution_skill']:+.2%}"),
        ("training time, s", lambda one: f"{one['training_seconds']:.1f}"),
    ]
    if all("news" in one for one in results):
        lines += [
            ("signals of news", lambda one: f"{one['news']['signals']:,}"),
            ("distribution skill without news", lambda one: f"{one['news']['without']['distribution_skill']:+.2%}"),
            ("news adds", lambda one: "{skill:+.2%} ({low:+.2%} to {high:+.2%})".format(**one["news"]["lead"])),
        ]
    for name, text in lines:
        table.add_row(name, *(text(one) for one in results))
    if any(one["simulated"] for one in results):
        table.caption = "A simulated market: these figures say nothing of a real one."
    return table
