"""What people and accidents do to a running pipeline, and what the operator makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.stack import SYSTEM, Stack, until

MANIFEST: dict[str, Any] = {
    "apiVersion": "pricecast.dev/v1alpha1",
    "kind": "PricePipeline",
    "metadata": {"name": "quiet"},
    "spec": {
        "pairs": ["BTC/USD"],
        "source": {"kind": "Simulated", "since": "10m"},
        "candles": {"seconds": 5},
        "training": {"lookback": "1h", "minRows": 700, "trials": 0},
        "prediction": {"horizonsSeconds": [10]},
        "topics": {"partitions": 2, "deletionPolicy": "Delete"},
    },
}
OPERATOR = "app.kubernetes.io/name=operator"


@pytest.fixture(scope="module")
def quiet(stack: Stack) -> Any:
    """Namespace of a pipeline whose images don't exist: its objects are what is looked at, not its pods."""
    namespace = "quiet"
    stack.kube.create_namespace(namespace)
    stack.storage_secret(namespace)
    images = {
        name: {"image": f"pricecast/none-{name}:none"}
        for name in ("trades", "candles", "technical-indicators", "to-feature-store", "train", "price-predictor")
    }
    spec = {**MANIFEST["spec"], "storage": stack.storage(), "services": images}
    stack.kube.apply({**MANIFEST, "spec": spec}, namespace)
    until("made", lambda: len(stack.kube.list("Deployment", namespace)) == 5, 60)
    until("settled", lambda: stack.kube.get("CronJob", "quiet-retrain", namespace), 120)
    yield namespace
    stack.kube.delete("PricePipeline", "quiet", namespace)
    stack.kube.delete("Namespace", namespace)


def change(stack: Stack, namespace: str, spec: dict[str, Any]) -> None:
    stack.kube.patch("PricePipeline", "quiet", namespace, {"spec": spec})


def _pairs(stack: Stack, namespace: str) -> list[str]:
    """Returns the pairs that the trades service is told."""
    found = stack.kube.get("ConfigMap", "quiet-trades", namespace) or {}
    pairs: list[str] = json.loads(found["data"]["settings.json"])["pairs"]
    return pairs


def generations(stack: Stack, namespace: str) -> dict[str, int]:
    return {
        f"{kind}/{each['metadata']['name']}": each["metadata"]["generation"]
        for kind in ("Deployment", "CronJob")
        for each in stack.kube.list(kind, namespace)
    }


def writes(stack: Stack) -> float:
    """Returns how many writes the operator has made."""
    pod = stack.kube.list("Pod", SYSTEM, OPERATOR)[0]["metadata"]["name"]
    text = stack.kubectl("get", "--raw", f"/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics")
    lines = text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("pricecast_operator_api_writes_total{"))


def test_deleted_objects_come_back(stack: Stack, quiet: str) -> None:
    victims = (
        ("Deployment", "quiet-candles"),
        ("ConfigMap", "quiet-trades"),
        ("Service", "quiet-metrics"),
        ("ServiceAccount", "quiet-candles"),
        ("NetworkPolicy", "quiet-default-deny"),
        ("PodDisruptionBudget", "quiet"),
        ("CronJob", "quiet-retrain"),
    )
    before = {name: (stack.kube.get(*name, quiet) or {})["metadata"]["uid"] for name in victims}
    for kind, name in victims:
        stack.kube.delete(kind, name, quiet)
    for victim in victims:
        until(
            f"{victim} is back",
            lambda victim=victim: (
                (stack.kube.get(*victim, quiet) or {"metadata": {"uid": before[victim]}})["metadata"]["uid"]
                != before[victim]
            ),
            30,
        )


def test_edits_are_undone_and_what_others_add_is_left(stack: Stack, quiet: str) -> None:
    stack.kube.patch("ConfigMap", "quiet-trades", quiet, {"data": {"settings.json": '{"pairs": ["DOGE/USD"]}'}})
    stack.kube.patch("PodDisruptionBudget", "quiet", quiet, {"spec": {"maxUnavailable": 5}})
    stack.kube.patch(
        "Deployment", "quiet-candles", quiet,
        {"metadata": {"annotations": {"team": "prices"}}, "spec": {"replicas": 4}},
    )  # fmt: skip
    until("data", lambda: _pairs(stack, quiet) == ["BTC/USD"], 120)
    until(
        "replicas", lambda: (stack.kube.get("Deployment", "quiet-candles", quiet) or {})["spec"]["replicas"] == 1, 120
    )
    until(
        "budget",
        lambda: (stack.kube.get("PodDisruptionBudget", "quiet", quiet) or {})["spec"]["maxUnavailable"] == 1,
        30,
    )
    assert (stack.kube.get("Deployment", "quiet-candles", quiet) or {})["metadata"]["annotations"]["team"] == "prices"


def test_steady_state_writes_nothing(stack: Stack, quiet: str) -> None:
    def at_rest() -> bool:
        before = writes(stack)
        stack.kube.wait("a look at the stores", lambda: True, 1)
        import time

        time.sleep(12)  # more than two looks
        return writes(stack) == before

    until("nothing is written", at_rest, 120)


def test_another_schedule_changes_the_cron_job_alone(stack: Stack, quiet: str) -> None:
    before = generations(stack, quiet)
    change(stack, quiet, {"training": {"schedule": "5 */3 * * *"}})
    until(
        "the schedule is new",
        lambda: (stack.kube.get("CronJob", "quiet-retrain", quiet) or {})["spec"]["schedule"] == "5 */3 * * *",
        30,
    )
    after = generations(stack, quiet)
    assert {name for name, generation in after.items() if before[name] != generation} == {"CronJob/quiet-retrain"}


def test_another_pair_rolls_only_who_reads_pairs(stack: Stack, quiet: str) -> None:
    before = generations(stack, quiet)
    change(stack, quiet, {"pairs": ["BTC/USD", "ETH/USD"]})
    until(
        "trades reads it",
        lambda: _pairs(stack, quiet) == ["BTC/USD", "ETH/USD"],
        30,
    )
    concerned = {f"Deployment/quiet-{name}" for name in ("trades", "candles", "price-predictor")} | {
        "CronJob/quiet-retrain"
    }

    def changed() -> set[str]:
        return {name for name, generation in generations(stack, quiet).items() if before.get(name) != generation}

    until("rolled", lambda: changed() >= concerned, 120)
    assert changed() == concerned


def test_another_version_of_a_secret_rolls_only_who_reads_it(stack: Stack, quiet: str) -> None:
    before = generations(stack, quiet)
    stack.kube.patch("Secret", "pricecast-storage", quiet, {"stringData": {"rotated": "yes"}})
    concerned = {"Deployment/quiet-to-feature-store", "Deployment/quiet-price-predictor"}

    def changed() -> set[str]:
        return {name for name, generation in generations(stack, quiet).items() if before.get(name) != generation}

    until("rolled", lambda: changed() >= concerned, 120)
    assert changed() == concerned


def test_news_come_and_go_with_all_their_objects(stack: Stack, quiet: str) -> None:
    change(stack, quiet, {"news": {"rss": {"urls": ["https://news.example/feed"]}}})
    until("made", lambda: stack.kube.get("Deployment", "quiet-news-features", quiet), 120)
    assert stack.kube.get("ServiceAccount", "quiet-news", quiet)
    change(stack, quiet, {"news": None})

    def left() -> list[str]:
        return [
            each["metadata"]["name"]
            for kind in ("Deployment", "ConfigMap", "ServiceAccount", "NetworkPolicy")
            for each in stack.kube.list(kind, quiet)
            if "news" in each["metadata"]["name"]
        ]

    until("pruned", lambda: not left(), 120)


def test_kubectl_scale_goes_up_to_the_partitions(stack: Stack, quiet: str) -> None:
    stack.kubectl("-n", quiet, "scale", "pp/quiet", "--replicas=3")

    def replicas() -> dict[str, int]:
        return {
            each["metadata"]["labels"]["pricecast.dev/process"]: each["spec"]["replicas"]
            for each in stack.kube.list("Deployment", quiet)
        }

    scaled = {"trades": 1, "candles": 2, "technical-indicators": 2, "to-feature-store": 2, "price-predictor": 1}
    until("scaled", lambda: replicas() == scaled, 120)  # written one after the other
    until("the rest is told of", lambda: _reason(stack, quiet, "Scaled") == "PartitionsLimit", 120)
    stack.kubectl("-n", quiet, "scale", "pp/quiet", "--replicas=1")


def test_suspend_stops_everything_and_keeps_it(stack: Stack, quiet: str) -> None:
    change(stack, quiet, {"suspend": True})

    def stopped() -> bool:
        deployments = stack.kube.list("Deployment", quiet)
        jobs = [*stack.kube.list("CronJob", quiet), *stack.kube.list("Job", quiet)]
        return all(each["spec"]["replicas"] == 0 for each in deployments) and all(
            each["spec"]["suspend"] for each in jobs
        )

    until("stopped", stopped, 120)
    until("told", lambda: _reason(stack, quiet, "Ready") == "Suspended", 120)
    assert len(stack.kube.list("ConfigMap", quiet, "pricecast.dev/pipeline=quiet")) == 5
    change(stack, quiet, {"suspend": False})
    until("resumed", lambda: all(each["spec"]["replicas"] == 1 for each in stack.kube.list("Deployment", quiet)), 120)


def test_operator_killed_in_the_middle_converges_without_orphans(stack: Stack, quiet: str) -> None:
    change(stack, quiet, {"prediction": {"horizonsSeconds": [10, 20]}, "features": {"companionPairs": ["SOL/USD"]}})
    stack.kubectl("-n", SYSTEM, "delete", "pod", "-l", OPERATOR, "--grace-period=0", "--force")
    change(stack, quiet, {"features": {"companionPairs": ["XRP/USD"]}})
    until(
        "the newest spec is real",
        lambda: _pairs(stack, quiet)[-1] == "XRP/USD",
        90,
    )
    until("one training", lambda: len(stack.kube.list("Job", quiet, "pricecast.dev/process=train")) == 1, 60)
    until(
        "the generation is acted on",
        lambda: (
            _pipeline(stack, quiet)["status"]["observedGeneration"] == _pipeline(stack, quiet)["metadata"]["generation"]
        ),
        60,
    )
    assert len(stack.kube.list("Deployment", quiet)) == 5


def test_events_tell_of_turns_only(stack: Stack, quiet: str) -> None:
    events = [
        each
        for each in stack.kube.list("Event", quiet)
        if each["involvedObject"]["kind"] == "PricePipeline" and each.get("reportingComponent") == "pricecast-operator"
    ]
    assert events
    assert len(events) < 30, json.dumps([each["message"] for each in events], indent=1)


def test_unreachable_kafka_is_a_condition(stack: Stack, namespace: str) -> None:
    storage = {
        "kafka": {"brokers": f"{stack.brokers.rpartition(':')[0]}:1"},
        "predictions": {"url": stack.elasticsearch},
    }
    manifest = {**MANIFEST, "metadata": {"name": "lost"}, "spec": {**MANIFEST["spec"], "storage": storage}}
    stack.kube.apply(manifest, namespace)
    until("told", lambda: _reason(stack, namespace, "TopicsReady", "lost") == "KafkaUnreachable", 60)
    assert _reason(stack, namespace, "Degraded", "lost") == "KafkaUnreachable"
    operator = stack.kube.list("Pod", SYSTEM, OPERATOR)[0]
    assert operator["status"]["containerStatuses"][0]["restartCount"] == 0
    assert not stack.kube.list("Deployment", namespace)


def test_gone_operator_never_hangs_a_namespace(stack: Stack, namespace: str) -> None:
    stack.storage_secret(namespace)
    spec = {**MANIFEST["spec"], "storage": stack.storage(), "suspend": True}
    stack.kube.apply({**MANIFEST, "metadata": {"name": "alone"}, "spec": spec}, namespace)
    until("made", lambda: len(stack.kube.list("Deployment", namespace)) == 5, 60)
    stack.kubectl("-n", SYSTEM, "scale", "deployment/pricecast-operator", "--replicas=0")
    try:
        until("the operator is gone", lambda: not stack.kube.list("Pod", SYSTEM, OPERATOR), 60)
        stack.kubectl("delete", "namespace", namespace, "--timeout=90s")
    finally:
        stack.kubectl("-n", SYSTEM, "scale", "deployment/pricecast-operator", "--replicas=1")

    def topics() -> list[str]:
        from confluent_kafka.admin import AdminClient

        found = AdminClient({"bootstrap.servers": stack.brokers}).list_topics(timeout=10).topics
        return [name for name in found if name.startswith("alone.")]

    until("the operator that came back deletes the topics", lambda: not topics(), 120)


def _pipeline(stack: Stack, namespace: str, name: str = "quiet") -> dict[str, Any]:
    return stack.kube.get("PricePipeline", name, namespace) or {}


def _reason(stack: Stack, namespace: str, kind: str, name: str = "quiet") -> str:
    conditions = _pipeline(stack, namespace, name).get("status", {}).get("conditions", [])
    return next((each["reason"] for each in conditions if each["type"] == kind), "")
