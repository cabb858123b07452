"""Looks at Kafka, the model registries and the prediction stores of all pipelines.

Few calls however many pipelines: one for each broker, registry and store. The looks are independent of each other and
bounded in time. What can't be reached, whatever it raises, comes back as a `Problem` for the pipelines that use it,
and as nothing worse.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pricecast_core import logs
from pricecast_core.kafka import Brokers
from pricecast_core.messages import Prediction
from pricecast_core.stores.models import ModelRegistry, ModelVersion, Promotion
from pricecast_core.stores.predictions import PredictionStore
from pricecast_operator import metrics
from pricecast_operator.observe.calls import Calls
from pricecast_operator.observe.kafka import Topics, TopicsError
from pricecast_operator.observe.observed import Problem, Registered, describe

Key = tuple[str, str]
"""Namespace and name of a pipeline."""
_MESSAGE_CHARACTERS = 400
_SECONDS = 10.0
"""How long a look may take."""
_PROMOTIONS = 5
"""How many changes of the version in production are read of each model."""
log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """What to look at for one pipeline.

    Attributes:
        key: The pipeline's namespace and name.
        pipeline: Its id.
        kafka: Kafka, and what lets one in; a problem where that is not known.
        topics: Its topics.
        registry_url: SQLAlchemy URL of the model registry, why it is not known, or None where it is not in SQL.
        models: Names of its models.
        pinned: Whether other versions than those in production may serve.
        store_url: Address of Elasticsearch.
        store_key: API key of Elasticsearch; a problem where it is not known.
    """

    key: Key
    pipeline: str
    kafka: Brokers | Problem
    topics: tuple[str, ...]
    registry_url: str | Problem | None
    models: tuple[str, ...]
    pinned: bool
    store_url: str
    store_key: str | Problem | None


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look has seen for one pipeline; None is what it wasn't about."""

    missing_topics: frozenset[str] | Problem | None = None
    lag: Mapping[str, int] | Problem | None = None
    models: Mapping[str, ModelVersion] | Problem | None = None
    registered: Registered | Problem | None = None
    predictions: Sequence[Prediction] | Problem | None = None
    earlier_predictions: bool | None = None


Seen = Callable[[Key, Sight], None]
_Models = tuple[Mapping[str, ModelVersion], Registered]
"""Versions in production, and what else is registered."""


@dataclass(frozen=True, slots=True)
class _Look:
    """One kind of look.

    Attributes:
        reason: Reason of the problem if it fails.
        what: What it looks at, for people.
        sight: Makes a target's sight of an answer or a problem.
        call: Looks; returns the answer for each target. Blocks.
    """

    reason: str
    what: str
    sight: Callable[[Target, Any], Sight]
    call: Callable[[Any, Sequence[Target]], Callable[[Target], Any]]


class Observer:
    """Looks at what pipelines use, keeping connections.

    Args:
        topics: Kafka's admin API.
        open_registry: Opens a model registry by URL.
        open_store: Opens a prediction store by URL and API key.
        calls: Runs what blocks.
        seconds: How long a look may take.
    """

    def __init__(
        self,
        topics: Topics,
        open_registry: Callable[[str], ModelRegistry],
        open_store: Callable[[str, str | None], PredictionStore],
        calls: Calls,
        seconds: float = _SECONDS,
    ) -> None:
        self._topics = topics
        self._open_registry = open_registry
        self._open_store = open_store
        self._calls = calls
        self._seconds = seconds
        self._opened: dict[Hashable, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reach = _Look("KafkaUnreachable", "Kafka", lambda _, seen: Sight(missing_topics=seen), self._missing)
        self._lag = _Look("LagUnknown", "Kafka's consumer groups", lambda _, seen: Sight(lag=seen), self._lags)
        self._registry = _Look("RegistryUnreachable", "the model registry", _sight_of_registry, self._models)
        self._store = _Look("ElasticsearchUnreachable", "Elasticsearch", _sight_of_predictions, self._predictions)

    def look_at_kafka(self, targets: Sequence[Target], seen: Seen) -> None:
        """Starts to look whether Kafka can be reached and has the topics; each answer is handed to `seen` as it comes."""
        self._start(self._reach, targets, lambda target: target.kafka, seen)

    def look(self, targets: Sequence[Target], seen: Seen) -> None:
        """Starts to look at lag, models and predictions; each answer is handed to `seen` as it comes."""
        self._start(self._lag, targets, lambda target: target.kafka, seen)
        in_sql = [target for target in targets if target.registry_url is not None]
        self._start(self._registry, in_sql, lambda target: target.registry_url, seen)
        self._start(self._store, targets, _store_of, seen)
        self._topics.keep({target.kafka for target in targets if not isinstance(target.kafka, Problem)})
        self._close_all_but(targets)

    async def settled(self) -> None:
        """Waits until all looks that were started have answered or run out of time."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def close(self) -> None:
        """Gives up looking, and gives back connections."""
        for task in self._tasks:
            task.cancel()
        for opened in self._opened.values():
            opened.close()

    def _start(
        self, look: _Look, targets: Iterable[Target], part: Callable[[Target], Hashable | Problem], seen: Seen
    ) -> None:
        groups: dict[Hashable, list[Target]] = {}
        for target in targets:
            key = part(target)
            if isinstance(key, Problem):
                seen(target.key, look.sight(target, key))
            else:
                groups.setdefault(key, []).append(target)
        for key, members in groups.items():
            task = asyncio.create_task(self._run(look, key, members, seen))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, look: _Look, key: Any, members: Sequence[Target], seen: Seen) -> None:
        problem = None
        started = time.monotonic()
        try:
            answer = await self._calls.run((look.what, key), partial(look.call, key, members), self._seconds)
        except TimeoutError:
            problem = Problem(look.reason, f"{look.what} has not answered within {self._seconds:.0f} s")
        except TopicsError as error:
            problem = Problem(error.reason, str(error))
        except Exception as error:  # a library's, of whatever kind: it is told, and no other pipeline is harmed
            text = " ".join(describe(error).split())[:_MESSAGE_CHARACTERS]
            problem = Problem(look.reason, f"{look.what} can't be read: {text}")
            log.info("a look failed", at=look.what, error=text)
        metrics.LOOK_SECONDS.labels(look.what).observe(time.monotonic() - started)
        for target in members:
            seen(target.key, look.sight(target, problem if problem is not None else answer(target)))

    def _lags(self, brokers: Brokers, targets: Sequence[Target]) -> Callable[[Target], Mapping[str, int]]:
        found = self._topics.lags(brokers, [target.pipeline for target in targets])
        return lambda target: found[target.pipeline]

    def _missing(self, brokers: Brokers, targets: Sequence[Target]) -> Callable[[Target], frozenset[str]]:
        absent = self._topics.missing(brokers, [topic for target in targets for topic in target.topics])
        return lambda target: frozenset(absent.intersection(target.topics))

    def _models(self, url: str, targets: Sequence[Target]) -> Callable[[Target], _Models]:
        registry = self._open(url, lambda: self._open_registry(url))
        names = [name for target in targets for name in target.models]
        production, newest = registry.production(names), registry.newest([*names, *map(_earlier, names)])
        of_model: dict[str, list[Promotion]] = {}
        for each in registry.promotions(names, _PROMOTIONS):
            of_model.setdefault(each.model_name, []).append(each)

        def of_target(target: Target) -> _Models:
            made = [each for name in target.models for each in of_model.get(name, ())]
            return (
                {name: production[name] for name in target.models if name in production},
                Registered(
                    {name: newest[name] for name in target.models if name in newest},
                    sorted(made, key=lambda each: each.at_ms, reverse=True),
                    tuple(_earlier(name) for name in target.models if _earlier(name) in newest),
                ),
            )

        return of_target

    def _predictions(
        self, store: tuple[str, str | None], _: Sequence[Target]
    ) -> Callable[[Target], tuple[Sequence[Prediction], bool]]:
        opened = self._open(store, lambda: self._open_store(*store))
        of_pipeline: dict[str, list[Prediction]] = {}
        for prediction in opened.latest():
            of_pipeline.setdefault(prediction.pipeline, []).append(prediction)
        return lambda target: (of_pipeline.get(target.pipeline, []), _earlier(target.pipeline) in of_pipeline)

    def _open(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._opened:
            self._opened[key] = make()
        return self._opened[key]

    def _close_all_but(self, targets: Iterable[Target]) -> None:
        """Gives back the connections of what no pipeline uses any more, such as those by an old password."""
        used = {part for target in targets for part in (target.registry_url, _store_of(target))}
        for key in [key for key in self._opened if key not in used]:
            opened = self._opened.pop(key)
            self._start_closing(key, opened.close)

    def _start_closing(self, key: Hashable, close: Callable[[], None]) -> None:
        async def run() -> None:
            try:
                await self._calls.run(("closing", key), close, self._seconds)
            except Exception as error:
                log.info("a connection was not given back", error=describe(error))

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _store_of(target: Target) -> tuple[str, str | None] | Problem:
    return target.store_key if isinstance(target.store_key, Problem) else (target.store_url, target.store_key)


def _sight_of_registry(target: Target, seen: _Models | Problem) -> Sight:
    """Returns what a registry tells; which version of a pinned model serves is for predictions to tell."""
    models, registered = (seen, seen) if isinstance(seen, Problem) else seen
    return Sight(models=None if target.pinned else models, registered=registered)


def _sight_of_predictions(target: Target, seen: tuple[Sequence[Prediction], bool] | Problem) -> Sight:
    predictions, earlier = (seen, None) if isinstance(seen, Problem) else seen
    tells_models = target.pinned or target.registry_url is None
    models = _from_predictions(predictions) if tells_models else None
    return Sight(predictions=predictions, earlier_predictions=earlier, models=models)


def _earlier(name: str) -> str:
    """Returns a name as an earlier version wrote it: without the namespace."""
    return name.partition(".")[2]


def _from_predictions(seen: Sequence[Prediction] | Problem) -> Mapping[str, ModelVersion] | Problem:
    """Returns the models that predictions name."""
    if isinstance(seen, Problem):
        return seen
    return {
        each.model_name: ModelVersion(
            model_name=each.model_name,
            version=each.model_version,
            stage="production",
            reason="",
            created_at_ms=0,
            trained_through_ms=each.model_trained_through_ms,
            metrics={
                name: value
                for name, value in (
                    ("distribution_skill", each.distribution_skill),
                    ("point_skill", each.point_skill),
                )
                if value is not None
            },
        )
        for each in seen
        if each.model_version
    }
