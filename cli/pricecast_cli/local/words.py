"""A running pipeline in words: a line for a log, what to say at its end, one forecast."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from pricecast_cli.local import overview
from pricecast_cli.local.snapshot import Snapshot, lag_of
from pricecast_core.messages import Prediction
from pricecast_core.stores.scores import Score

A_HANDFUL = 5
"""Of so many forecasts each has its line; of more, those worth a look."""
_LINE_CHARACTERS = 199
_MANY_RESTARTS = 3


def line(snapshot: Snapshot) -> str:
    """Returns the moment in one line of less than 200 characters, for a log or a pipe."""
    needed = [row for row in snapshot.rows if row.state not in ("idle", "done")]
    ready = sum(row.state == "ready" for row in needed)
    parts = [f"{clock(snapshot.now)} {snapshot.pipeline}: {ready}/{len(needed)} ready"]
    if lag := sum(lag_of(row) for row in snapshot.rows):
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


def summary(snapshot: Snapshot) -> list[str]:
    """Returns what to say once the pipeline has stopped."""
    if len(snapshot.predictions) > A_HANDFUL:
        told = overview.in_a_line(snapshot.predictions, snapshot.now, snapshot.pairs)
        return [f"simulated market: {told}" if snapshot.simulated else told]
    return [
        f"{'simulated ' if prediction.simulated else ''}{prediction.pair} in {duration(prediction.horizon_seconds)}: "
        f"{so_far(score).plain}"
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
            f"  model       {model_in_words(prediction, now)}",
            f"  so far      {so_far(score).plain}",
        ]
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


def so_far(score: Score) -> Text:
    """Returns how the forecasts of a pair and horizon have done."""
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


def model_in_words(prediction: Prediction, now: float) -> str:
    """Returns which model forecasts, how old it is and how good it was out of sample."""
    if not prediction.model_version:
        return "naive (last price, rolling quantiles) until a trained model beats it"
    age = duration(max(0.0, now - prediction.model_trained_through_ms / 1000))
    words = f"v{prediction.model_version}, {age} old"
    if prediction.distribution_skill is not None and prediction.point_skill is not None:
        words += f"; out of sample: skill {prediction.distribution_skill:+.1%}, point {prediction.point_skill:+.1%}"
    return words + (", so the last price" if prediction.point_is_naive else "")


def first_steps(snapshot: Snapshot) -> str:
    """Returns why there is no forecast yet."""
    failing = next((row for row in snapshot.rows if row.state == "restarting" and row.restarts >= _MANY_RESTARTS), None)
    if failing is not None:
        return f"none yet: {failing.name} keeps failing ({failing.message}); see `pricecast logs {failing.name}`"
    waiting = next((row for row in snapshot.rows if row.state == "running" and row.message and not row.job), None)
    if waiting is not None:
        return f"none yet: {waiting.name} waits: {waiting.message}"
    lag = sum(lag_of(row) for row in snapshot.rows)
    working = f"; {lag:,} messages to go" if lag else ""
    return f"none yet: history is being read{working}. Forecasts start once its indicators are warm."


def facts_of(info: Mapping[str, Any]) -> str:
    """Returns what a program tells about itself."""
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


def _model(prediction: Prediction) -> str:
    return f"{prediction.model_name} v{prediction.model_version}" if prediction.model_version else "naive"
