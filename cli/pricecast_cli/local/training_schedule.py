"""When a model is trained on this machine: where there is none, when the schedule says so, when it is asked for.

A cluster has a Job, a CronJob and the operator for it. Here a loop looks at the registry every few seconds; the
registry is also the memory of when a model was last trained, so that a second `pricecast up` trains only what is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cronsim import CronSim

from pricecast_cli.local.supervisor import Supervisor
from pricecast_core.errors import StoreError
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.models import ModelRegistry, model_name
from pricecast_core.values import slug

LOOK_SECONDS = 5.0
"""How often the registry is looked at."""
PAUSE_SECONDS = 60.0
"""Shortest time between the end of one training and the start of the next that is not on schedule."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What the registry knows.

    Attributes:
        newest_ms: When each model's newest version was made, Unix milliseconds; None where it has none.
        requests: Open requests for an early training, by model.
        warming_up: How far models that can't be learned yet are, in words.
    """

    newest_ms: Mapping[str, int | None]
    requests: Mapping[str, str]
    warming_up: Mapping[str, str] = field(default_factory=dict)


@dataclass
class WarmUp:
    """Which models have too few candles yet for a training to bring them.

    A training waits by itself for the fewest rows of every pair; a long horizon takes more. One that a training left
    out all the same, for an outage say, is tried again with a tenth more rows.

    Attributes:
        settings: The pipeline.
        count: Returns how many feature rows a pair has.
    """

    settings: PricePredictorSettings
    count: Callable[[str], int]
    _tried: dict[str, int] = field(default_factory=dict)

    def of(self, newest_ms: Mapping[str, int | None]) -> dict[str, str]:
        """Returns how far each model without a version is, in words; those that can be learned are left out."""
        found = {}
        for name, rows, needed in self._without_version(newest_ms):
            if max(self.settings.training_min_rows, rows) < needed:
                found[name] = f"{name}: {rows} of {needed} candles"
        return found

    def tried(self, newest_ms: Mapping[str, int | None]) -> None:
        """Takes note that a training ended well and that these versions are there after it."""
        for name, rows, needed in self._without_version(newest_ms):
            if rows >= needed:
                self._tried[name] = rows

    def _without_version(self, newest_ms: Mapping[str, int | None]) -> list[tuple[str, int, int]]:
        found = []
        for pair in self.settings.pairs:
            models = {
                model_name(self.settings.pipeline, slug(pair), one): one for one in self.settings.horizons_seconds
            }
            if missing := [name for name in models if newest_ms[name] is None]:
                rows = self.count(pair)
                found += [(name, rows, self._needed(name, models[name])) for name in missing]
        return found

    def _needed(self, name: str, horizon_seconds: int) -> int:
        again = math.ceil(self._tried.get(name, 0) * 1.1)
        return max(self.settings.rows_to_learn(horizon_seconds), again)


def names_of(settings: PricePredictorSettings) -> list[str]:
    """Returns the names of the models of a pipeline: one for each pair and horizon."""
    return [
        model_name(settings.pipeline, slug(pair), horizon)
        for pair in settings.pairs
        for horizon in settings.horizons_seconds
    ]


def look(registry: ModelRegistry, names: list[str], warm_up: WarmUp) -> Trained:
    """Returns what is known of the models."""
    newest = _newest_ms(registry, names)
    return Trained(newest, registry.training_requests(names), warm_up.of(newest))


def _newest_ms(registry: ModelRegistry, names: list[str]) -> dict[str, int | None]:
    return {name: next((version.created_at_ms for version in registry.versions(name)), None) for name in names}


def outcomes(registry: ModelRegistry, names: list[str]) -> list[str]:
    """Returns what became of each model's newest version, in words."""
    newest = (next(iter(registry.versions(name)), None) for name in names)
    return [
        f"{version.model_name} v{version.version} {'serves' if version.stage == 'production' else 'does not serve'}: "
        f"{version.reason}"
        for version in newest
        if version is not None
    ]


def due(trained: Trained, schedule: str, now: float, last_end: float) -> str | None:
    """Returns why training is due, or None.

    Args:
        trained: What the registry knows.
        schedule: Cron expression, UTC.
        now: Unix seconds.
        last_end: When the last training of this run of the program ended, Unix seconds; 0 if there was none.
    """
    made = list(trained.newest_ms.values())
    known = [value / 1000 for value in made if value is not None]
    last = max([last_end, *known], default=0.0)
    if last and next_time(schedule, last) <= now:
        return "on schedule"
    if now - last_end < PAUSE_SECONDS:
        return None
    if any(value is None and name not in trained.warming_up for name, value in trained.newest_ms.items()):
        return "no model yet"
    if trained.requests:
        return "; ".join(f"{name}: {reason}" for name, reason in sorted(trained.requests.items()))
    return None


def next_time(schedule: str, after: float) -> float:
    """Returns the first time of a cron expression after a time, in Unix seconds; the schedule is in UTC."""
    return next(CronSim(schedule, datetime.fromtimestamp(after, UTC))).timestamp()


@dataclass(frozen=True, slots=True)
class Training:
    """A program that trains, and when it is due.

    Attributes:
        program: Its name.
        schedule: Cron expression, UTC.
        warm_up: Which of its models have too few candles yet.
        open_registry: Opens the registry that it writes to.
    """

    program: str
    schedule: str
    warm_up: WarmUp
    open_registry: Callable[[], ModelRegistry]


async def keep_trained(
    supervisor: Supervisor,
    training: Training,
    log: Callable[[str, str, str], None],
    *,
    drained: asyncio.Event,
    turn: asyncio.Lock,
) -> None:
    """Trains whenever it is due, until cancelled or the supervisor stops.

    Once a finite source has `drained`, it ends the training under way, makes up for one that found too little
    history, and returns. Of several programs that share the pairs, one trains at a time, in `turn`.
    """
    program, warm_up, schedule = training.program, training.warm_up, training.schedule
    names = names_of(warm_up.settings)
    registry = await asyncio.to_thread(training.open_registry)
    last_end = 0.0
    try:
        failed, warming = "", ""
        while not supervisor.stopping:
            last = drained.is_set()
            try:
                trained = await asyncio.to_thread(look, registry, names, warm_up)
                warming = "".join(f"; {told}" for told in trained.warming_up.values())
                reason = due(trained, schedule, time.time(), 0.0 if last else last_end)
            except StoreError as error:
                log(program, "waiting", str(error))
                reason = None
            if reason is not None:
                async with turn:
                    log(program, "due", reason)
                    failed = "" if await supervisor.run_job(program) else "the last one failed; "
                last_end = time.time()
                if not failed:
                    await asyncio.to_thread(lambda: warm_up.tried(_newest_ms(registry, names)))
                for outcome in await asyncio.to_thread(outcomes, registry, names):
                    log(program, "outcome", outcome)
            if last:
                return
            if not supervisor.stopping:
                following = datetime.fromtimestamp(next_time(schedule, time.time()), UTC)
                supervisor.idle(program, f"{failed}next at {following:%H:%M} UTC{warming}")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(drained.wait(), LOOK_SECONDS)
    finally:
        registry.close()
