"""What a person sees of a running pipeline: a screen on a terminal, a line now and then elsewhere.

Rendering is pure: a `Snapshot` in, rich objects or text out. It fits 100 columns by 24 rows, of 500 pairs, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pricecast_cli.local import overview
from pricecast_core.messages import Prediction
from pricecast_core.stores.scores import Score

_STYLES = {
    "idle": "dim",
    "done": "green",
    "ready": "green",
    "stopped": "dim",
    "waiting": "dim",
    "starting": "yellow",
    "running": "yellow",
    "stopping": "yellow",
    "restarting": "bold red",
    "refused": "bold red",
    "failed": "bold red",
}
_AT_WORK = ("starting", "running", "ready")
_A_HANDFUL = 5
"""Of so many forecasts each has its line; of more, those worth a look."""
_LINES = 24
_FEWEST_NOTABLE = 3
_EVENTS, _FEWER_EVENTS = 3, 2
_LINE_CHARACTERS = 199
_NUMBERED = re.compile(r"-\d+$")
_MANY_RESTARTS = 3
_METHOD = "pricecast.v1.PredictionService/Predict"


@dataclass(frozen=True, slots=True)
class Row:
    """A program as the view shows it.

    Attributes:
        name: Its name.
        state: Its state.
        since: When it came into the state, Unix seconds.
        restarts: How often it was started again.
        message: What is wrong, or worth saying.
        info: What it tells about itself.
        memory_bytes: Resident memory; 0 where it doesn't run. Of several that share the work, that of the largest.
        job: True if it runs to its end when it is due.
        alike: How many programs share the work under this name.
    """

    name: str
    state: str
    since: float
    restarts: int = 0
    message: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    memory_bytes: int = 0
    job: bool = False
    alike: int = 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pipeline at one moment.

    Attributes:
        pipeline: Its name.
        market: Where trades come from, in words.
        simulated: True if the market is a simulation.
        started: When it was started, Unix seconds.
        now: The moment, Unix seconds.
        rows: Its programs.
        predictions: The latest prediction of each pair and horizon, with the score so far.
        addresses: gRPC and HTTP addresses, host:port.
        pair: A pair to try.
        pairs: How many pairs are forecast.
        command: How `pricecast predict` is called for this pipeline.
        events: The last events, newest last.
    """

    pipeline: str
    market: str
    simulated: bool
    started: float
    now: float
    rows: Sequence[Row]
    predictions: Sequence[tuple[Prediction, Score]]
    addresses: Mapping[str, str]
    pair: str
    pairs: int = 1
    command: str = "pricecast predict"
    events: Sequence[str] = ()


def render(snapshot: Snapshot) -> RenderableType:
    """Returns the screen."""
    rows = grouped(snapshot.rows)
    parts: list[RenderableType] = [_header(snapshot), _services(rows, snapshot.now)]
    count, most = len(snapshot.predictions), _EVENTS
    if count > _A_HANDFUL:
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
        parts.append(Panel(Text(_first_steps(snapshot), style="yellow"), title="prediction", title_align="left"))
        parts.append(_try(snapshot))
    parts += [Text(event, style="dim", overflow="ellipsis", no_wrap=True) for event in snapshot.events[-most:]]
    return Group(*parts)


def line(snapshot: Snapshot) -> str:
    """Returns the moment in one line of less than 200 characters, for a log or a pipe."""
    needed = [row for row in snapshot.rows if row.state not in ("idle", "done")]
    ready = sum(row.state == "ready" for row in needed)
    parts = [f"{clock(snapshot.now)} {snapshot.pipeline}: {ready}/{len(needed)} ready"]
    if lag := sum(_lag(row) for row in snapshot.rows):
        parts.append(f"lag {lag:,}")
    if snapshot.simulated:
        parts.append("SIMULATED MARKET")
    waiting = [f"{row.name} {row.state}: {row.message}" for row in needed if row.state != "ready" and row.message]
    if len(snapshot.predictions) == 1:
        prediction, score = snapshot.predictions[0]
        parts.append(
            f"{prediction.pair} {prediction.last_price:,.6g} -> {prediction.predicted_price:,.6g} "
            f"[{prediction.lower:,.6g}, {prediction.upper:,.6g}] in {prediction.horizon_seconds} s by {_model(prediction)}"
        )
        if score.count:
            parts.append(f"scored {score.count}: error {score.mae:.4g}, naive {score.naive_mae:.4g}")
    elif snapshot.predictions:
        parts.append(overview.in_a_line(snapshot.predictions, snapshot.now, snapshot.pairs))
    text = "; ".join([*parts, *waiting])
    return text if len(text) <= _LINE_CHARACTERS else text[: _LINE_CHARACTERS - 1] + "…"


def grouped(rows: Sequence[Row]) -> list[Row]:
    """Returns the programs, those that share the work of one as one: its state is the worst of theirs."""
    groups: dict[str, list[Row]] = {}
    names = {row.name for row in rows}
    for row in rows:
        first = _NUMBERED.sub("", row.name)
        groups.setdefault(first if first in names else row.name, []).append(row)
    return [_joined(group) if len(group) > 1 else group[0] for group in groups.values()]


def _joined(group: Sequence[Row]) -> Row:
    states = list(_STYLES)  # from the best to the worst
    worst = max(group, key=lambda row: (states.index(row.state) if row.state in states else 0, row.name))
    same = sum(row.state == worst.state for row in group)
    lag = sum(_lag(row) for row in group)
    told = f"{worst.name}: {worst.message}" if worst.message else ""
    if same < len(group):
        told = f"{same} of {len(group)} {worst.state}" + (f"; {told}" if told else "")
    return Row(
        name=group[0].name,
        state=worst.state,
        since=max(row.since for row in group),
        restarts=sum(row.restarts for row in group),
        message=told,
        info={"lag": lag} if any("lag" in row.info for row in group) else {},
        memory_bytes=max(row.memory_bytes for row in group),
        job=group[0].job,
        alike=len(group),
    )


def clock(seconds: float) -> str:
    """Returns the time of day, UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}"


def duration(seconds: float) -> str:
    """Returns a length of time as `45 s`, `12 min`, `3.5 h` or `2.1 d`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def price(value: float) -> str:
    """Returns a price with the digits that matter."""
    return f"{value:,.2f}" if value >= 100 else f"{value:.6g}"


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
        lag = _lag(row)
        table.add_row(
            row.name if row.alike == 1 else f"{row.name} x {row.alike}",
            Text("at work" if row.job and row.state in _AT_WORK else row.state, style=_STYLES.get(row.state, "")),
            duration(now - row.since),
            Text(str(row.restarts), style="red" if row.restarts else "dim"),
            f"{lag:,}" if "lag" in row.info else "",
            f"{row.memory_bytes / 1e6:.0f} MB" if row.memory_bytes else "",
            Text(row.message or _facts(row.info), style="dim"),
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
    table.add_row("model", Text(_model_in_words(prediction, now)))
    table.add_row("so far", _so_far(score))
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


def _so_far(score: Score) -> Text:
    if not score.count or score.mae is None or score.naive_mae is None or score.coverage is None:
        return Text("no prediction has come due yet", style="dim")
    text = Text.assemble(
        f"{score.count:,} scored: error ",
        (f"{score.mae:,.4g}", "green" if score.mae <= score.naive_mae else "red"),
        f", naive {score.naive_mae:,.4g}; {score.coverage:.0%} inside the interval",
    )
    if score.distribution_skill is not None:
        text.append("; skill ")
        text.append(f"{score.distribution_skill:+.1%}", style="green" if score.distribution_skill > 0 else "red")
    return text


def _model(prediction: Prediction) -> str:
    return f"{prediction.model_name} v{prediction.model_version}" if prediction.model_version else "naive"


def _model_in_words(prediction: Prediction, now: float) -> str:
    if not prediction.model_version:
        return "naive (last price, rolling quantiles) until a trained model beats it"
    age = duration(max(0.0, now - prediction.model_trained_through_ms / 1000))
    words = f"v{prediction.model_version}, {age} old"
    if prediction.distribution_skill is not None and prediction.point_skill is not None:
        words += f"; out of sample: skill {prediction.distribution_skill:+.1%}, point {prediction.point_skill:+.1%}"
    return words + (", so the last price" if prediction.point_is_naive else "")


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


def _first_steps(snapshot: Snapshot) -> str:
    failing = next((row for row in snapshot.rows if row.state == "restarting" and row.restarts >= _MANY_RESTARTS), None)
    if failing is not None:
        return f"none yet: {failing.name} keeps failing ({failing.message}); see `pricecast logs {failing.name}`"
    waiting = next((row for row in snapshot.rows if row.state == "running" and row.message and not row.job), None)
    if waiting is not None:
        return f"none yet: {waiting.name} waits: {waiting.message}"
    lag = sum(_lag(row) for row in snapshot.rows)
    working = f"; {lag:,} messages to go" if lag else ""
    return f"none yet: history is being read{working}. Forecasts start once its indicators are warm."


def _lag(row: Row) -> int:
    lag = row.info.get("lag")
    if isinstance(lag, Mapping):
        return sum(int(value) for value in lag.values() if isinstance(value, int))
    return lag if isinstance(lag, int) else 0


def _facts(info: Mapping[str, Any]) -> str:
    facts: dict[str, Any] = {}
    for key, value in info.items():
        if isinstance(value, Mapping) and key != "lag":
            facts.update({name: number for name, number in value.items() if number})
        elif key != "lag":
            facts[key] = value
    return ", ".join(
        f"{key.replace('_', ' ')} {value:,}" if isinstance(value, int | float) else f"{key.replace('_', ' ')} {value}"
        for key, value in facts.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    )


def summary(snapshot: Snapshot) -> list[str]:
    """Returns what to say once the pipeline has stopped."""
    if len(snapshot.predictions) > _A_HANDFUL:
        told = overview.in_a_line(snapshot.predictions, snapshot.now, snapshot.pairs)
        return [f"simulated market: {told}" if snapshot.simulated else told]
    return [
        f"{'simulated ' if prediction.simulated else ''}{prediction.pair} in {duration(prediction.horizon_seconds)}: "
        f"{_so_far(score).plain}"
        for prediction, score in snapshot.predictions
        if score.count
    ]


def describe(prediction: Prediction, score: Score, now: float) -> str:
    """Returns a prediction and its score so far as text of a few lines."""
    due = prediction.target_time_ms / 1000
    when = f"in {duration(due - now)}" if due > now else f"due {duration(now - due)} ago"
    change = prediction.predicted_price / prediction.last_price - 1
    market = ", SIMULATED MARKET" if prediction.simulated else ""
    interval = f"80% within {price(prediction.lower)} to {price(prediction.upper)}"
    return "\n".join(
        [
            f"{prediction.pair} at {datetime.fromtimestamp(due, UTC):%Y-%m-%d %H:%M:%S} UTC ({when}){market}",
            f"  prediction  {price(prediction.predicted_price)} ({change:+.3%} of {price(prediction.last_price)}), {interval}",
            f"  model       {_model_in_words(prediction, now)}",
            f"  so far      {_so_far(score).plain}",
        ]
    )
