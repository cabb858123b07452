"""Looks outside: independent, bounded, and whatever goes wrong is told to those whom it concerns."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from pricecast_core.messages import Prediction
from pricecast_core.stores.models import ModelRegistry, ModelVersion, Promotion
from pricecast_core.stores.predictions import PredictionStore
from pricecast_operator.observe.calls import Calls
from pricecast_operator.observe.kafka import Topics, TopicsError
from pricecast_operator.observe.observed import Problem, Registered
from pricecast_operator.observe.observer import Key, Observer, Sight, Target
from tests.contracts.predictions import a_prediction

HANGS, FAILS, EARLIER = "http://hangs", "http://fails", "http://earlier"


class Kafka:
    """Answers as Kafka's admin API does, where `away` isn't asked."""

    def lags(self, brokers: str, pipelines: list[str]) -> dict[str, dict[str, int]]:
        if brokers == "away":
            raise TopicsError("KafkaUnreachable", "away can't be reached")
        return {pipeline: {"candles": 3} for pipeline in pipelines}

    def keep(self, used: object) -> None:
        pass

    def missing(self, brokers: str, names: list[str]) -> set[str]:
        return set(self.lags(brokers, names)) & {"missing"}


class Registry:
    """A registry whose models have each been promoted to version 2, and rolled back to 1."""

    closed = 0

    def production(self, names: list[str]) -> Mapping[str, Any]:
        return {name: version(name, 1) for name in names}

    def newest(self, names: list[str]) -> Mapping[str, int]:
        return {name: 2 for name in names if name not in ("", "new-1")}

    def promotions(self, names: list[str], most: int) -> list[Promotion]:
        return [
            Promotion(name, number, former, time_ms, "")
            for number, former, time_ms in ((1, 2, 2_000), (2, 1, 1_000))[:most]
            for name in names
        ]

    def close(self) -> None:
        Registry.closed += 1


class Store:
    """A store that hangs, fails or is empty, by its address."""

    hanging = 0

    def __init__(self, url: str, ends: threading.Event) -> None:
        self.url = url
        self.ends = ends

    def latest(self) -> list[Prediction]:
        if self.url == HANGS:
            Store.hanging += 1
            self.ends.wait(60)
        if self.url == FAILS:
            raise ValueError("invalid literal for int() with base 10: 'hunter2'")
        return [a_prediction(pipeline="old")] if self.url == EARLIER else []

    def close(self) -> None:
        pass


@pytest.fixture
def ends() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def observer(ends: threading.Event) -> Observer:
    return Observer(
        cast("Topics", Kafka()),
        lambda url: cast("ModelRegistry", Registry()),
        lambda url, key: cast("PredictionStore", Store(url, ends)),
        Calls(at_once=4),
        seconds=0.3,
    )


def version(name: str, number: int) -> ModelVersion:
    return ModelVersion(name, number, "production", "", 0, 0)


def target(name: str, **more: Any) -> Target:
    told = {
        "kafka": "kafka",
        "registry_url": "postgresql://db",
        "models": (),
        "pinned": False,
        "store_url": "http://es",
        "store_key": None,
    }
    return Target(key=("ns", name), pipeline=f"ns.{name}", topics=(name,), **{**told, **more})


class Seen(dict[Key, Sight]):
    """What was seen, put together by pipeline, and in which order the stores answered."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def __call__(self, key: Key, sight: Sight) -> None:
        before = self.get(key, Sight())
        fields = ("missing_topics", "lag", "models", "registered", "predictions", "earlier_predictions")
        told = {field: getattr(sight, field) for field in fields if getattr(sight, field) is not None}
        self[key] = Sight(**{**{field: getattr(before, field) for field in fields}, **told})
        if sight.predictions is not None:
            self.order.append(key[1])


async def test_a_store_that_hangs_delays_only_its_own(observer: Observer) -> None:
    seen = Seen()
    targets = [target("stuck", store_url=HANGS), *(target(f"fine-{number}") for number in range(200))]
    observer.look(targets, seen)
    await observer.settled()
    stuck = seen["ns", "stuck"]
    assert stuck.lag == {"candles": 3}
    assert isinstance(stuck.predictions, Problem)
    assert stuck.predictions.reason == "ElasticsearchUnreachable"
    assert all(seen["ns", f"fine-{number}"].predictions == [] for number in range(200))
    assert seen.order[-1] == "stuck"  # the others did not wait for it


async def test_while_a_call_hangs_the_same_server_is_asked_no_more(observer: Observer) -> None:
    Store.hanging = 0
    for _ in range(5):
        observer.look([target("stuck", store_url=HANGS)], Seen())
        await observer.settled()
    assert Store.hanging == 1


async def test_whatever_is_raised_is_the_problem_of_its_own_pipeline_and_quotes_nothing(observer: Observer) -> None:
    seen = Seen()
    observer.look([target("bad", store_url=FAILS), target("good")], seen)
    await observer.settled()
    problem = seen["ns", "bad"].predictions
    assert isinstance(problem, Problem)
    assert "ValueError" in problem.message
    assert "hunter2" not in problem.message
    assert seen["ns", "good"].predictions == []


async def test_what_is_known_to_be_unknown_is_told_without_a_look(observer: Observer) -> None:
    seen = Seen()
    missing = Problem("SecretKeyMissing", "Secret s has no key k")
    observer.look([target("a", registry_url=missing, store_key=missing), target("b", registry_url=None)], seen)
    await observer.settled()
    assert (seen["ns", "a"].models, seen["ns", "a"].predictions) == (missing, missing)
    assert seen["ns", "b"].models == {}


async def test_kafka_away_is_told_to_those_who_use_it(observer: Observer) -> None:
    seen = Seen()
    observer.look_at_kafka([target("a", kafka="away"), target("missing")], seen)
    await observer.settled()
    assert seen["ns", "a"].missing_topics == Problem("KafkaUnreachable", "away can't be reached")
    assert seen["ns", "missing"].missing_topics == {"missing"}


async def test_connections_that_no_pipeline_uses_any_more_are_given_back(observer: Observer) -> None:
    Registry.closed = 0
    observer.look([target("a", registry_url="postgresql://old")], Seen())
    await observer.settled()
    observer.look([target("a", registry_url="postgresql://new")], Seen())
    await observer.settled()
    assert Registry.closed == 1


async def test_a_registry_tells_each_pipeline_of_its_own_models(observer: Observer) -> None:
    seen = Seen()
    pipelines = [
        target("a", models=("a-1", "a-2")),
        target("b", models=("b-1",)),
        target("c", models=("c-1",), pinned=True),
    ]
    observer.look(pipelines, seen)
    await observer.settled()
    assert seen["ns", "a"].models == {"a-1": version("a-1", 1), "a-2": version("a-2", 1)}
    assert seen["ns", "b"].registered == Registered(
        {"b-1": 2}, [Promotion("b-1", 1, 2, 2_000, ""), Promotion("b-1", 2, 1, 1_000, "")]
    )
    assert seen["ns", "c"].models == {}  # what serves of a pinned model is told by predictions, of which there are none
    assert seen["ns", "c"].registered == Registered(
        {"c-1": 2}, [Promotion("c-1", 1, 2, 2_000, ""), Promotion("c-1", 2, 1, 1_000, "")]
    )


async def test_pipelines_with_and_without_a_registry_in_sql_share_one_look_at_their_store(observer: Observer) -> None:
    seen = Seen()
    observer.look([target("sql"), target("comet", registry_url=None)], seen)
    await observer.settled()
    assert (seen["ns", "sql"].predictions, seen["ns", "comet"].predictions) == ([], [])


async def test_what_an_earlier_version_kept_under_the_name_alone_is_found(observer: Observer) -> None:
    seen = Seen()
    given = {"store_url": EARLIER}
    observer.look([target("old", models=("ns.old-1",), **given), target("new", models=("ns.new-1",), **given)], seen)
    await observer.settled()
    old, new = seen["ns", "old"], seen["ns", "new"]
    assert isinstance(old.registered, Registered)
    assert isinstance(new.registered, Registered)
    assert (old.registered.earlier, old.earlier_predictions, old.predictions) == (("old-1",), True, [])
    assert (new.registered.earlier, new.earlier_predictions) == ((), False)
