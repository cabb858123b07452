"""Servers that go and come back, hang, or are spelled wrong: told soon, to those who use them, and to nobody else."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from pricecast_testbed import Kafka
from pricecast_testbed.kubernetes import Cluster
from tests.e2e.stack import QUICK, SYSTEM, Stack, until

SPEC: dict[str, Any] = {
    **QUICK,
    "topics": {"deletionPolicy": "Delete"},
    "suspend": True,
}


@pytest.fixture(scope="module")
def anywhere(stack: Stack) -> Iterator[None]:
    """The operator may reach any port."""
    stack.install(**{"networkPolicies.enabled": "false"})
    yield
    stack.install()


@pytest.fixture
def kafka(stack: Stack, anywhere: None, tmp_path: Path) -> Iterator[Kafka]:
    """A Kafka of the test's own, to be stopped and started."""
    server = Kafka(tmp_path / "kafka", node_address=Cluster().layout.address)
    server.start()
    yield server
    server.wipe()


def apply(stack: Stack, namespace: str, name: str, **storage: Any) -> None:
    stack.kube.apply(
        stack.pipeline(name, SPEC, storage={**stack.storage(), **storage}),
        namespace,
    )


def condition(stack: Stack, namespace: str, name: str, kind: str) -> tuple[str, str]:
    status = (stack.kube.get("PricePipeline", name, namespace) or {}).get("status") or {}
    found = next((each for each in status.get("conditions", ()) if each["type"] == kind), {})
    return found.get("status", ""), found.get("reason", "")


def test_kafka_away_is_told_in_15_s_and_its_return_in_30(stack: Stack, namespace: str, kafka: Kafka) -> None:
    stack.storage_secret(namespace)
    name = f"away-{uuid.uuid4().hex[:6]}"
    apply(stack, namespace, name, kafka={"brokers": kafka.node_url})
    topics = lambda: condition(stack, namespace, name, "TopicsReady")  # noqa: E731
    until("the topics are there", lambda: topics()[0] == "True", 60)
    kafka.stop()
    stopped = time.monotonic()
    until("its absence is told", lambda: topics() == ("Unknown", "KafkaUnreachable"), 30, pause=0.2)
    assert time.monotonic() - stopped < 16
    assert condition(stack, namespace, name, "Degraded") == ("True", "KafkaUnreachable")
    assert "lag" not in (stack.kube.get("PricePipeline", name, namespace) or {})["status"]
    kafka.start()
    started = time.monotonic()
    until("its return is told", lambda: topics()[0] == "True", 60, pause=0.2)
    assert time.monotonic() - started < 30


def test_topics_go_with_their_pipeline_even_if_kafka_was_away(stack: Stack, namespace: str, kafka: Kafka) -> None:
    """However long it is away: tries are all alike, and an operator that starts meanwhile knows of it, too."""
    stack.storage_secret(namespace)
    name = f"gone-{uuid.uuid4().hex[:6]}"
    apply(stack, namespace, name, kafka={"brokers": kafka.node_url})
    until("the topics are there", lambda: condition(stack, namespace, name, "TopicsReady")[0] == "True", 60)
    kafka.stop()
    stack.kubectl("-n", namespace, "delete", "pp", name, "--timeout=60s")

    def tries() -> int:
        log = stack.kubectl("-n", SYSTEM, "logs", "deployment/pricecast-operator", "--tail=-1")
        return sum("topics wait for Kafka" in line and f"{namespace}/{name}" in line for line in log.splitlines())

    until("it has been tried, and again", lambda: tries() >= 2, 60)
    stack.kubectl("-n", SYSTEM, "delete", "pod", "-l", "app.kubernetes.io/name=operator")
    until("the next operator tries as well", lambda: tries() >= 1, 90)
    kafka.start()

    def left() -> list[str]:
        found = AdminClient({"bootstrap.servers": kafka.node_url}).list_topics(timeout=10).topics
        return [topic for topic in found if topic.startswith(f"{namespace}.{name}.")]

    until("the topics are gone", lambda: not left(), 45)


def test_a_store_that_hangs_and_a_secret_with_a_typo_concern_their_own_alone(
    stack: Stack, namespace: str, anywhere: None
) -> None:
    names = {kind: f"{kind}-{uuid.uuid4().hex[:6]}" for kind in ("hangs", "typo", "fine")}
    stack.storage_secret(namespace)
    typo = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "typo"},
        "stringData": {"sql-url": "postgresql://user:hun/ter2@host:abc/db"},
    }
    stack.kube.apply(typo, namespace)
    with socket.create_server((Cluster().layout.address, 0)) as silent:
        kept: list[socket.socket] = []
        threading.Thread(target=lambda: _accept(silent, kept), daemon=True).start()
        url = f"http://{Cluster().layout.address}:{silent.getsockname()[1]}"
        apply(stack, namespace, names["hangs"], predictions={"url": url})
        ref = {"urlSecretRef": {"name": "typo", "key": "sql-url"}}
        apply(stack, namespace, names["typo"], features=ref, models=ref)
        apply(stack, namespace, names["fine"])
        model = lambda kind: condition(stack, namespace, names[kind], "ModelReady")  # noqa: E731
        until("the fine one is looked at", lambda: model("fine")[0] == "False", 60)
        until("the typo is told", lambda: model("typo") == ("Unknown", "SecretInvalid"), 30)
        degraded = lambda: condition(stack, namespace, names["hangs"], "Degraded")  # noqa: E731
        until("the hanging store is told", lambda: degraded() == ("True", "ElasticsearchUnreachable"), 60)
        assert condition(stack, namespace, names["fine"], "Degraded")[0] == "False"
        told = stack.kubectl("-n", namespace, "get", "pp", "-o", "json") + stack.kubectl(
            "-n", "pricecast-system", "logs", "deployment/pricecast-operator"
        )
        assert "ter2" not in told


def _accept(silent: socket.socket, kept: list[socket.socket]) -> None:
    try:
        while True:
            kept.append(silent.accept()[0])
    except OSError:
        return
