"""What people and accidents do to a running pipeline, and what the operator makes of it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from pricecast_core.stores.models import TrainingRun
from pricecast_core.stores.models_sql import SqlModelRegistry
from pricecast_core.stores.predictions_elasticsearch import ElasticsearchPredictionStore
from pricecast_testbed import golang
from tests.contracts.predictions import a_prediction
from tests.e2e.stack import QUICK, RELEASE, SYSTEM, Stack, until

MANIFEST: dict[str, Any] = {
    "apiVersion": "pricecast.dev/v1alpha1",
    "kind": "PricePipeline",
    "metadata": {"name": "quiet"},
    "spec": {
        **QUICK,
        "topics": {"partitions": 2, "deletionPolicy": "Delete"},
    },
}
KEDA = "github.com/kedacore/keda/v2@v2.17.2"
OPERATOR = "app.kubernetes.io/name=operator"


@pytest.fixture(scope="module")
def quiet(stack: Stack) -> Any:
    """Namespace of a pipeline whose images don't exist: its objects are what is looked at, not its pods."""
    namespace = "quiet"
    stack.kube.create_namespace(namespace)
    stack.storage_secret(namespace)
    _keep_as_before(stack)
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


def _keep_as_before(stack: Stack) -> None:
    """Leaves in Kafka, PostgreSQL and Elasticsearch what a version that named all by the pipeline's name alone kept there."""
    kafka = AdminClient({"bootstrap.servers": stack.brokers})

    def made() -> bool:
        with contextlib.suppress(KafkaException):  # it is there already, or the broker has only just started
            kafka.create_topics([NewTopic("quiet.trades", 1)])["quiet.trades"].result()
        return "quiet.trades" in kafka.list_topics(timeout=10).topics

    until("the topic is there", made, 60)
    registry, store = SqlModelRegistry(stack.postgres), ElasticsearchPredictionStore(stack.elasticsearch)
    try:
        registry.register(TrainingRun("quiet-btc-usd-10s", {}, {}, 1_700_000_000_000, b""))
        store.ensure()
        store.write([a_prediction(pipeline="quiet")])
    finally:
        registry.close()
        store.close()


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


def test_data_of_an_earlier_version_is_left_and_named(stack: Stack, quiet: str) -> None:
    def told() -> str:
        conditions = _pipeline(stack, quiet)["status"]["conditions"]
        return next((str(each["message"]) for each in conditions if each["type"] == "EarlierData"), "")

    stores = ("topics quiet.trades;", "models quiet-btc-usd-10s;", "predictions of pipeline quiet:", "tables quiet_")
    until("told, store by store", lambda: all(words in told() for words in stores), 60)
    assert "not read" in told()


def test_the_models_that_have_served_are_told_and_a_pinned_one_that_is_none(stack: Stack, quiet: str) -> None:
    name = "quiet.quiet-btc-usd-10s"
    registry = SqlModelRegistry(stack.postgres)
    since = len(registry.versions(name))  # of a run before, where the database is not the testbed's
    try:
        first, second = (registry.register(TrainingRun(name, {}, {}, 1_700_000_000_000, b"")).version for _ in range(2))
        for version, reason in (
            (first, "beats naive"),
            (second, "beats naive by more"),
            (first, "was better after all"),
        ):
            registry.promote(name, version, reason)
    finally:
        registry.close()
    changes = lambda: _pipeline(stack, quiet)["status"].get("modelHistory", [])  # noqa: E731
    until("told", lambda: changes() and changes()[0]["reason"] == "was better after all", 60)
    told = [(each["version"], each["formerVersion"], each["change"]) for each in changes()[:3]]
    assert told[:2] == [(first, second, "RolledBack"), (second, first, "Promoted")]

    change(stack, quiet, {"models": {"pinned": since + 9}})
    until("told", lambda: _reason(stack, quiet, "ModelPinned") == "NoSuchVersion", 60)
    [pinned] = [each for each in _pipeline(stack, quiet)["status"]["conditions"] if each["type"] == "ModelPinned"]
    assert f"BTC/USD over 10 s has 1 to {second}" in pinned["message"]
    assert "pin a version that is" in pinned["message"]
    until(
        "an event tells it, too",
        lambda: any(each["reason"] == "NoSuchVersion" for each in stack.kube.list("Event", quiet)),
        30,
    )
    change(stack, quiet, {"models": {"pinned": None}})


def test_autoscaling_is_by_cpu_and_once_keda_is_there_by_lag(stack: Stack, quiet: str) -> None:
    name = "quiet-candles"
    change(stack, quiet, {"services": {"candles": {"autoscaling": {"minReplicas": 2, "maxReplicas": 2}}}})
    scaler = until("made", lambda: stack.kube.get("HorizontalPodAutoscaler", name, quiet), 60)
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 2)
    able = lambda: stack.kube.condition("HorizontalPodAutoscaler", name, "AbleToScale", quiet)  # noqa: E731
    until("Kubernetes scales by it", able, 60)
    replicas = lambda: (stack.kube.get("Deployment", name, quiet) or {})["spec"]["replicas"]  # noqa: E731
    until("scaled", lambda: replicas() == 2, 60)

    definition = yaml.safe_load((golang.source(KEDA) / "config/crd/bases/keda.sh_scaledobjects.yaml").read_text())
    stack.kube.apply(definition)
    try:
        lag = lambda: _lag_threshold(stack, quiet, name)  # noqa: E731
        until("by lag", lambda: lag() == "1000", 60)
        until("no more by CPU", lambda: stack.kube.get("HorizontalPodAutoscaler", name, quiet) is None, 60)
        change(stack, quiet, {"services": {"candles": {"autoscaling": {"lagThreshold": 50}}}})
        until("changed", lambda: lag() == "50", 60)
    finally:
        stack.kube.delete("CustomResourceDefinition", definition["metadata"]["name"])
    until("by CPU again", lambda: stack.kube.get("HorizontalPodAutoscaler", name, quiet), 60)
    change(stack, quiet, {"services": {"candles": {"autoscaling": None}}})
    until("not at all", lambda: stack.kube.get("HorizontalPodAutoscaler", name, quiet) is None, 60)
    until("as the spec says", lambda: replicas() == 1, 60)


def _lag_threshold(stack: Stack, namespace: str, name: str) -> str:
    try:
        found = stack.kubectl("-n", namespace, "get", "scaledobjects.keda.sh", name, "--ignore-not-found", "-o", "json")
    except AssertionError:  # the kind is not served yet
        return ""
    return str(json.loads(found)["spec"]["triggers"][0]["metadata"]["lagThreshold"]) if found else ""


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
    assert _reason(stack, quiet, "Predicting") == "Suspended"
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
        found = AdminClient({"bootstrap.servers": stack.brokers}).list_topics(timeout=10).topics
        return [name for name in found if name.startswith(f"{namespace}.alone.")]

    until("the operator that came back deletes the topics", lambda: not topics(), 120)


def test_uninstalling_the_chart_leaves_nothing_but_definitions(stack: Stack) -> None:
    kinds = stack.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    ours = ("clusterroles,clusterrolebindings", "-l", f"app.kubernetes.io/instance={RELEASE}")

    def left() -> set[str]:
        looked = ",".join(kind for kind in kinds if not kind.startswith("events"))
        found = stack.kubectl("-n", SYSTEM, "get", looked, "-o", "name", "--ignore-not-found").split()
        found += stack.kubectl("get", *ours, "-o", "name").split()
        return {*found} - {"configmap/kube-root-ca.crt", "serviceaccount/default"}

    assert left()
    stack.helm("uninstall", RELEASE, "-n", SYSTEM, "--wait")
    try:
        until("nothing is left", lambda: not left(), 60)
    finally:
        stack.install()


def _pipeline(stack: Stack, namespace: str, name: str = "quiet") -> dict[str, Any]:
    return stack.kube.get("PricePipeline", name, namespace) or {}


def _reason(stack: Stack, namespace: str, kind: str, name: str = "quiet") -> str:
    conditions = _pipeline(stack, namespace, name).get("status", {}).get("conditions", [])
    return next((each["reason"] for each in conditions if each["type"] == kind), "")
