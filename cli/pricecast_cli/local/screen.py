"""What a person sees of a running pipeline on a terminal.

Rendering is pure: a `Snapshot` in, rich objects out. It fits 100 columns by 24 rows, of 500 pairs, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pricecast_cli.local import overview
from pricecast_cli.local.snapshot import STYLES, Row, Snapshot, grouped, lag_of
from pricecast_cli.local.words import (
    A_HANDFUL,
    clock,
    duration,
    facts_of,
    first_steps,
    model_in_words,
    price,
    so_far,
)
from pricecast_core.messages import Prediction
from pricecast_core.stores.scores import Score

_AT_WORK = ("starting", "running", "ready")
_LINES = 24
_FEWEST_NOTABLE = 3
_EVENTS, _FEWER_EVENTS = 3, 2
_METHOD = "pricecast.v1.PredictionService/Predict"


def render(snapshot: Snapshot) -> RenderableType:
    """Returns the screen."""
    rows = grouped(snapshot.rows)
    parts: list[RenderableType] = [_header(snapshot), _services(rows, snapshot.now)]
    count, most = len(snapshot.predictions), _EVENTS
    if count > A_HANDFUL:
        most = _FEWER_EVENTS
        events = min(len(snapshot.events), _FEWER_EVENTS)
        room = _LINES - len(rows) - events - 7  # titles, the panel's frame, its summary, what to try
        parts.append(_overview(snapshot, max(_FEWEST_NOTABLE, room)))
        parts.append(Text(f"{snapshot.command} PAIR    http://{snapshot.addresses.get('http', '')}/", style="dim"))
    elif count == 1:
        parts += [_prediction(*snapshot.predictions[0], snapshot.now), _try(snapshot)]
    elif count:
        parts += [_predictions(snapshot), _try(snapshot)]
    else:
        parts.append(Panel(Text(first_steps(snapshot), style="yellow"), title="prediction", title_align="left"))
        parts.append(_try(snapshot))
    parts += [Text(event, style="dim", overflow="ellipsis", no_wrap=True) for event in snapshot.events[-most:]]
    return Group(*parts)


def _header(snapshot: Snapshot) -> RenderableType:
    table = Table.grid(expand=True)
    table.add_column()
    table.add_column(justify="right")
    title = Text.assemble(
        ("pricecast ", "bold"),
        (snapshot.pipeline, "bold cyan"),
        f"  {snapshot.market}, up {duration(snapshot.now - snapshot.started)}",
    )
    note = (
        Text(" SIMULATED MARKET: no money, no exchange ", style="bold black on yellow")
        if snapshot.simulated
        else Text("Ctrl-C stops", style="dim")
    )
    table.add_row(title, note)
    return table


def _services(rows: Sequence[Row], now: float) -> RenderableType:
    table = Table(expand=True, show_edge=False, pad_edge=False, header_style="dim", box=None, padding=(0, 2, 0, 0))
    table.add_column("service", width=21, no_wrap=True)
    table.add_column("state", width=10)
    table.add_column("for", justify="right", width=7)
    table.add_column("restarts", justify="right", width=8)
    table.add_column("lag", justify="right", width=7)
    table.add_column("memory", justify="right", width=8)
    table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    for row in rows:
        lag = lag_of(row)
        table.add_row(
            row.name if row.alike == 1 else f"{row.name} x {row.alike}",
            Text("at work" if row.job and row.state in _AT_WORK else row.state, style=STYLES.get(row.state, "")),
            duration(now - row.since),
            Text(str(row.restarts), style="red" if row.restarts else "dim"),
            f"{lag:,}" if "lag" in row.info else "",
            f"{row.memory_bytes / 1e6:.0f} MB" if row.memory_bytes else "",
            Text(row.message or facts_of(row.info), style="dim"),
        )
    return table


def _prediction(prediction: Prediction, score: Score, now: float) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", width=10)
    table.add_column()
    change = prediction.predicted_price / prediction.last_price - 1
    table.add_row("last price", Text(price(prediction.last_price), style="bold"))
    table.add_row(
        "prediction",
        Text.assemble(
            (price(prediction.predicted_price), "bold cyan"),
            f" ({change:+.3%}) at {clock(prediction.target_time_ms / 1000)} UTC, "
            f"80% within {price(prediction.lower)} to {price(prediction.upper)}",
        ),
    )
    table.add_row("model", Text(model_in_words(prediction, now)))
    table.add_row("so far", so_far(score))
    late = now - prediction.feature_time_ms / 1000
    behind = f", {duration(late)} behind the clock" if late > 2 * prediction.horizon_seconds else ""
    title = f"{prediction.pair} in {duration(prediction.horizon_seconds)}{behind}"
    return Panel(table, title=title, title_align="left", border_style="cyan")


def _predictions(snapshot: Snapshot) -> RenderableType:
    """Returns several predictions, a line each."""
    table = Table(expand=True, show_edge=False, pad_edge=False, header_style="dim", box=None)
    for name in ("pair", "in", "last", "predicted", "80% within", "by", "error", "naive", "inside"):
        table.add_column(name, justify="left" if name in ("pair", "80% within", "by") else "right", no_wrap=True)
    for prediction, score in snapshot.predictions:
        mae, naive = score.mae or 0.0, score.naive_mae or 0.0
        measured = (
            (f"{mae:,.4g}", f"{naive:,.4g}", f"{score.coverage:.0%}") if score.coverage is not None else ("",) * 3
        )
        table.add_row(
            prediction.pair,
            duration(prediction.horizon_seconds),
            price(prediction.last_price),
            Text(price(prediction.predicted_price), style="bold cyan"),
            f"{price(prediction.lower)} to {price(prediction.upper)}",
            f"v{prediction.model_version}" if prediction.model_version else "naive",
            Text(measured[0], style="green" if mae <= naive else "red"),
            *measured[1:],
        )
    return Panel(table, title="predictions", title_align="left", border_style="cyan")


def _overview(snapshot: Snapshot, most: int) -> RenderableType:
    """Returns many predictions: all of them in a line, and those worth a look."""
    table = Table(expand=True, show_edge=False, pad_edge=False, header_style="dim", box=None)
    for name in ("pair", "in", "last", "predicted", "80% within", "by", "worth a look"):
        table.add_column(
            name, justify="right" if name in ("in", "last", "predicted") else "left", no_wrap=True, overflow="ellipsis"
        )
    for each in overview.notable(snapshot.predictions, snapshot.now, most):
        prediction = each.prediction
        change = prediction.predicted_price / prediction.last_price - 1
        table.add_row(
            prediction.pair,
            duration(prediction.horizon_seconds),
            price(prediction.last_price),
            Text(f"{change:+.2%}", style="bold cyan"),
            f"{price(prediction.lower)} to {price(prediction.upper)}",
            f"v{prediction.model_version}" if prediction.model_version else "naive",
            Text(each.why, style="red" if each.bad else "dim"),
        )
    told = Text(
        overview.in_a_line(snapshot.predictions, snapshot.now, snapshot.pairs), no_wrap=True, overflow="ellipsis"
    )
    return Panel(Group(told, table), title="predictions", title_align="left", border_style="cyan")


def _try(snapshot: Snapshot) -> RenderableType:
    grpc, http = snapshot.addresses.get("grpc", ""), snapshot.addresses.get("http", "")
    if not grpc or not http:
        return Text("")
    pair = snapshot.pair
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", width=7)
    table.add_column(overflow="fold")
    commands = (
        f"{snapshot.command} {pair}      http://{http}/",
        f"curl 'http://{http}/predict?pair={pair}'",
        f'grpcurl -plaintext -d \'{{"pair":"{pair}"}}\' {grpc} \\\n  {_METHOD}',
    )
    table.add_row("try", Text("\n".join(commands)))
    return table
