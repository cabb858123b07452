"""The training report: one HTML page without outside references, kept with the version of the model."""

from __future__ import annotations

import html
import io
from datetime import UTC, datetime

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from pricecast_core.values import QUANTILES
from pricecast_price_predictor.evaluation import Scores, columns, pinball, reliability
from pricecast_price_predictor.model_selection import Trained
from pricecast_price_predictor.walkforward import Forecasts

_FEATURES_SHOWN = 20
_POINTS = 400
_PRICE_ROWS = 300
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .3rem .8rem; text-align: right }
th { border-bottom: 1px solid #8c959f } td:first-child, th:first-child { text-align: left }
svg { max-width: 100%; height: auto } .verdict { font-size: 1.1rem } .note { color: #59636e }
"""


def render(title: str, trained: Trained, candle_seconds: int, *, simulated: bool = False) -> str:
    """Returns the report of a training.

    Args:
        title: What was trained, such as the model's name.
        trained: The training.
        candle_seconds: Length of a row.
        simulated: Says on the page that the market is a simulation.
    """
    pooled = trained.evaluation.pooled()
    horizon = trained.model.horizon_rows
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        "<p class=note>A <b>simulated</b> market: these figures say nothing of a real one.</p>" if simulated else "",
        f"<p class=verdict>{html.escape(trained.verdict[:1].upper() + trained.verdict[1:])}.</p>",
        (
            f"<p class=note>Horizon {horizon * candle_seconds} s; trained through "
            f"{datetime.fromtimestamp(trained.model.trained_through_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC; every figure is "
            "out of sample, by walk-forward folds with an embargo of one horizon.</p>"
        ),
        _table([fold.scores() for fold in trained.evaluation.folds], trained.scores),
        _rivals(trained),
        _svg(_errors(pooled, horizon)),
        _svg(_calibration(pooled)),
        _svg(_last_days(pooled)),
        _svg(_importance(trained)) if trained.model.importance() else "",
        "<h2>Hyper-parameters</h2><table>",
        *(f"<tr><td>{name}<td>{value:.4g}" for name, value in trained.parameters.items()),
        "</table>",
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style>{''.join(parts)}</html>"
    )


def backtest_page(title: str, forecasts: Forecasts, horizon: int) -> str:
    """Returns a page on forecasts of later rows."""
    scores = forecasts.scores()
    parts = [_svg(_errors(forecasts, horizon)), _svg(_calibration(forecasts)), _svg(_last_days(forecasts))]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>{_table([], scores)}{''.join(parts)}</html>"
    )


def _table(folds: list[Scores], pooled: Scores) -> str:
    heads = "rows|distribution skill|point skill|coverage (naive)|pinball (naive), bp|MAE (last close), bp"
    lines = ["<table><tr><th>Fold" + "".join(f"<th>{head}" for head in heads.split("|"))]
    for name, scores in [*((str(number), fold) for number, fold in enumerate(folds, 1)), ("all", pooled)]:
        lines.append(
            f"<tr><td>{name}<td>{scores.rows}<td>{scores.distribution_skill:+.2%}<td>{scores.point_skill:+.2%}"
            f"<td>{scores.coverage:.1%} ({scores.naive_coverage:.1%})"
            f"<td>{scores.pinball * 1e4:.3f} ({scores.naive_pinball * 1e4:.3f})"
            f"<td>{scores.mae * 1e4:.3f} ({scores.naive_mae * 1e4:.3f})"
        )
    return "".join(lines) + "</table>"


def _rivals(trained: Trained) -> str:
    """All model kinds on the very same rows; a lead counts where its interval leaves out zero."""
    lines = [
        "<h2>Beside its rivals, on the same rows</h2><table><tr><th>Kind<th>distribution skill<th>coverage",
        f"<th>{trained.model.kind} ahead by, points<th>95% interval, by days<th>",
    ]
    for one in trained.table:
        lines.append(f"<tr><td>{one.kind}<td>{one.scores.distribution_skill:+.2%}<td>{one.scores.coverage:.1%}")
        if one is not trained.table[0]:
            low, high = one.lead.low * 100, one.lead.high * 100
            lines.append(f"<td>{one.lead.skill * 100:+.2f}<td>{low:+.2f} to {high:+.2f}<td>{one.lead.verdict}")
    return "".join(lines) + "</table>"


def _errors(forecasts: Forecasts, horizon: int) -> Figure:
    """Loss and coverage over time, of the model and of the naive distribution."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    known = np.isfinite(forecasts.actual) & np.isfinite(forecasts.naive).all(axis=1)
    days = _days(forecasts.time_ms[known])
    window = max(20 * horizon, len(days) // 60, 1)
    actual = forecasts.actual[known]
    for name, quantiles, colour in (
        ("model", forecasts.interval()[known], "C0"),
        ("naive", forecasts.naive[known][:, columns(forecasts.levels)], "C7"),
    ):
        loss = pinball(actual, quantiles).mean(axis=1) * 1e4
        inside = (actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1])
        top.plot(*_thin(days, _smooth(loss, window)), colour, label=name)
        bottom.plot(*_thin(days, _smooth(inside.astype(float), window)), colour, label=name)
    top.set(title="Walk-forward loss", ylabel="pinball loss, bp")
    bottom.axhline(QUANTILES[-1] - QUANTILES[0], color="C3", linestyle=":", label="wanted")
    bottom.set(ylabel="share inside the interval", ylim=(0.5, 1), xlabel="days")
    for axes in (top, bottom):
        axes.legend(frameon=False)
    return figure


def _calibration(forecasts: Forecasts) -> Figure:
    """Reliability of each quantile by how wide the forecast was, and the shape of the standardised outcomes."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    known = np.isfinite(forecasts.actual) & np.isfinite(forecasts.quantiles).all(axis=1)
    quantiles, actual = forecasts.quantiles[known], forecasts.actual[known]
    width = quantiles[:, -1] - quantiles[:, 0]
    groups = np.array_split(np.argsort(width, kind="stable"), 10) if len(width) >= 10 else []
    for column, level in enumerate(forecasts.levels):
        shares = [float((actual[rows] <= quantiles[rows, column]).mean()) for rows in groups]
        left.plot(range(1, len(shares) + 1), shares, "o-", color=f"C{column}", label=f"{level:.0%}")
        left.axhline(level, color=f"C{column}", linestyle=":")
    left.set(title="Share below each quantile", xlabel="decile of the forecast's width", ylim=(0, 1))
    left.legend(frameon=False, ncols=4, loc=(0.02, 0.62), fontsize="small")
    standardised = forecasts.standardised[known]
    if len(standardised):
        low, high = np.quantile(standardised, [0.005, 0.995])
        levels = np.linspace(low, high, 100)
        right.plot(levels, reliability(actual, standardised, levels))
    right.set(title="Outcomes in units of the predicted scale", xlabel="scale", ylabel="share below")
    return figure


def _last_days(forecasts: Forecasts) -> Figure:
    """The last forecasts beside what came."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots()
    part = slice(max(0, len(forecasts.time_ms) - _PRICE_ROWS), None)
    hours = _days(forecasts.time_ms[part]) * 24
    quantiles = forecasts.interval()[part] * 1e4
    axes.fill_between(hours, quantiles[:, 0], quantiles[:, -1], alpha=0.25, linewidth=0, label="80% interval")
    axes.plot(hours, forecasts.actual[part] * 1e4, "k.", markersize=2.5, label="what came")
    axes.set(title="The last forecasts", xlabel="hours", ylabel="return over the horizon, bp")
    axes.legend(frameon=False)
    return figure


def _importance(trained: Trained) -> Figure:
    """Which features the width is learned from."""
    shares = dict(list(trained.model.importance().items())[:_FEATURES_SHOWN])
    figure = Figure(figsize=(9, 0.25 * len(shares) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(shares)[::-1], [share * 100 for share in shares.values()][::-1])
    axes.set(title="Feature importance (gain)", xlabel="% of the loss saved by the trees")
    return figure


def _days(time_ms: np.ndarray) -> np.ndarray:
    return (time_ms - time_ms[0]) / 86_400_000 if len(time_ms) else np.empty(0)


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = max(1, len(x) // _POINTS)
    return x[::step], y[::step]


def _svg(figure: Figure) -> str:
    """Returns the figure as inline SVG, the same bytes for the same figure."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "pricecast", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return f"<p>{text[text.index('<svg') :]}"
