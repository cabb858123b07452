"""A running pipeline at one moment, as it is shown: its programs, its newest forecasts, where to ask."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pricecast_core.messages import Prediction
from pricecast_core.stores.scores import Score

STYLES = {
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
"""States from the best to the worst, and how each looks."""
_NUMBERED = re.compile(r"-\d+$")


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


def grouped(rows: Sequence[Row]) -> list[Row]:
    """Returns the programs, those that share the work of one as one: its state is the worst of theirs."""
    groups: dict[str, list[Row]] = {}
    names = {row.name for row in rows}
    for row in rows:
        first = _NUMBERED.sub("", row.name)
        groups.setdefault(first if first in names else row.name, []).append(row)
    return [_joined(group) if len(group) > 1 else group[0] for group in groups.values()]


def lag_of(row: Row) -> int:
    """Returns how many messages a program has still to read."""
    lag = row.info.get("lag")
    if isinstance(lag, Mapping):
        return sum(int(value) for value in lag.values() if isinstance(value, int))
    return lag if isinstance(lag, int) else 0


def _joined(group: Sequence[Row]) -> Row:
    states = list(STYLES)
    worst = max(group, key=lambda row: (states.index(row.state) if row.state in states else 0, row.name))
    same = sum(row.state == worst.state for row in group)
    lag = sum(lag_of(row) for row in group)
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
