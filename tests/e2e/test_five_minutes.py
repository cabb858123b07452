"""Five minutes of a pipeline with two operators beside each other, in which each of its servers goes and comes back.

Nothing is lost or doubled, what is away is told, all is well again by itself, and no operator changes anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pricecast_testbed import Elasticsearch, Kafka, Postgres, Server
from tests.e2e.accounts import assert_nothing_lost_or_doubled
from tests.e2e.stack import SYSTEM, Stack, until
from tests.e2e.test_leader import OPERATOR, holder
from tests.e2e.test_operations import generations

SECONDS, AWAY_SECONDS = 300, 60


@dataclass(frozen=True)
class SideBySide:
    """Two operators beside each other.

    Attributes:
        since: Since when.
        leader: The one that leads.
        generations: Generations of the pipeline's objects.
    """

    since: float
    leader: str
    generations: dict[str, int]


@pytest.fixture(scope="module")
def operators(stack: Stack, live: tuple[str, str]) -> Iterator[SideBySide]:
    missing = {Kafka, Elasticsearch, Postgres} - stack.servers.keys()
    if missing:
        pytest.skip(f"servers of others are not stopped: {', '.join(sorted(kind.name for kind in missing))}")
    stack.install(**{"operator.replicaCount": "2"})
    until("two", lambda: len(stack.kube.list("Pod", SYSTEM, OPERATOR)) == 2, 60)
    until("all is well", lambda: _well(stack, live), 180)
    yield SideBySide(time.monotonic(), holder(stack), generations(stack, live[0]))
    stack.install()


def test_kafka_restarted_under_load(stack: Stack, live: tuple[str, str], operators: SideBySide) -> None:
    namespace, name = live
    kafka = stack.servers[Kafka]
    kafka.stop()
    try:  # how soon it is told, and all is well again, is judged in test_outages: here live pods share the machine
        until("told", lambda: _condition(stack, live, "TopicsReady") == ("Unknown", "KafkaUnreachable"), 60, pause=0.2)
        assert _condition(stack, live, "Ready") == ("False", "KafkaUnreachable")
        status = _status(stack, live)
        assert "lag" not in status  # unknown is no zero
        assert not [each for each in status["services"] if "lag" in each]
    finally:
        kafka.start()
    until("all is well", lambda: _well(stack, live) and "lag" in _status(stack, live), 180, pause=0.2)
    assert_nothing_lost_or_doubled(stack, f"{namespace}.{name}", candle_seconds=5)


def test_a_minute_without_elasticsearch_and_postgresql(
    stack: Stack, live: tuple[str, str], operators: SideBySide
) -> None:
    namespace, name = live
    before = {pod["metadata"]["name"] for pod in stack.kube.list("Pod", namespace, "pricecast.dev/kind=stream")}
    servers: list[Server] = [stack.servers[kind] for kind in (Elasticsearch, Postgres)]
    for server in servers:
        server.stop()
    stopped = time.monotonic()
    try:
        registry = lambda: _condition(stack, live, "ModelReady")  # noqa: E731
        until("the registry's absence is told", lambda: registry() == ("Unknown", "RegistryUnreachable"), 40)
        store = lambda: _condition(stack, live, "Predicting")  # noqa: E731
        until("the store's absence is told", lambda: store() == ("Unknown", "ElasticsearchUnreachable"), 40)
        assert _condition(stack, live, "Degraded")[0] == "True"
        until("a minute is over", lambda: time.monotonic() - stopped >= AWAY_SECONDS, AWAY_SECONDS)
    finally:
        for server in servers:
            server.start()
    until("all is well", lambda: _well(stack, live), 90, pause=0.2)
    assert_nothing_lost_or_doubled(stack, f"{namespace}.{name}", candle_seconds=5)
    pods = {pod["metadata"]["name"] for pod in stack.kube.list("Pod", namespace, "pricecast.dev/kind=stream")}
    assert pods == before


def test_in_five_minutes_nothing_was_changed(stack: Stack, live: tuple[str, str], operators: SideBySide) -> None:
    until("five minutes are over", lambda: time.monotonic() - operators.since >= SECONDS, SECONDS)
    assert generations(stack, live[0]) == operators.generations
    assert holder(stack) == operators.leader
    assert len(stack.kube.list("Pod", SYSTEM, OPERATOR)) == 2


def _status(stack: Stack, pipeline: tuple[str, str]) -> dict[str, Any]:
    namespace, name = pipeline
    return dict((stack.kube.get("PricePipeline", name, namespace) or {}).get("status") or {})


def _condition(stack: Stack, pipeline: tuple[str, str], kind: str) -> tuple[str, str]:
    found = next((each for each in _status(stack, pipeline).get("conditions", ()) if each["type"] == kind), {})
    return found.get("status", ""), found.get("reason", "")


def _well(stack: Stack, pipeline: tuple[str, str]) -> bool:
    told = {each["type"]: each["status"] for each in _status(stack, pipeline)["conditions"]}
    held = {"Ready": "True", "Degraded": "False", "Progressing": "False", "TopicsReady": "True", "Predicting": "True"}
    return held.items() <= told.items()
