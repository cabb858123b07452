"""A pipeline on the cluster, from `kubectl apply` to `kubectl delete`: replayed trades in, predictions out."""

from __future__ import annotations

import json
import math
import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1.prediction_service_pb2_grpc import PredictionServiceStub
from tests.e2e.stack import API, Stack, until

CANDLES = 1_200
SPEC = {
    "pairs": ["BTC/USD"],
    "source": {"kind": "Replay", "replay": {"files": ["/data/trades.csv"], "format": "trades", "configMap": "market"}},
    "training": {"lookback": "30d", "minRows": 600, "trials": 0, "folds": 2},
    "prediction": {"horizonsSeconds": [300]},
    "topics": {"deletionPolicy": "Delete"},
}


def market(candles: int) -> str:
    """Returns trades in Kraken's CSV form: three in each minute, on a random walk."""
    rng = random.Random(7)
    price, lines = 50_000.0, []
    for minute in range(candles):
        for second in (5, 25, 45):
            price *= math.exp(rng.gauss(0, 4e-4))
            lines.append(f"{1_700_000_000 // 60 * 60 + 60 * minute + second},{price:.1f},{rng.uniform(0.01, 1):.4f}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def pipeline(stack: Stack) -> Iterator[tuple[str, str]]:
    namespace, name = "replay", "replay"
    stack.kube.create_namespace(namespace)
    stack.storage_secret(namespace)
    stack.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "market"},
            "data": {"trades.csv": market(CANDLES)},
        },
        namespace,
    )
    manifest = stack.pipeline(name, SPEC)
    stack.kube.apply(manifest, namespace)
    yield namespace, name
    stack.kube.delete("Namespace", namespace)


def test_every_deployment_becomes_ready(stack: Stack, pipeline: tuple[str, str]) -> None:
    namespace, name = pipeline
    until("ready", lambda: stack.kube.condition("PricePipeline", name, "Ready", namespace), 240)
    deployments = stack.kube.list("Deployment", namespace)
    assert {each["metadata"]["name"] for each in deployments} == {
        f"{name}-{process}" for process in ("candles", "technical-indicators", "to-feature-store", "price-predictor")
    }
    assert all(each["status"].get("readyReplicas") == each["spec"]["replicas"] for each in deployments)


def test_job_trains_a_model(stack: Stack, pipeline: tuple[str, str]) -> None:
    namespace, name = pipeline

    def trained() -> bool:
        jobs = stack.kube.list("Job", namespace, f"pricecast.dev/process=train,pricecast.dev/pipeline={name}")
        assert not any(each["status"].get("failed", 0) > 2 for each in jobs), jobs
        return bool(jobs) and jobs[0]["status"].get("succeeded") == 1

    until("trained", trained, 240)
    reasons = {"Promoted", "NotBetterThanNaive"}
    until("the condition tells", lambda: condition(stack, pipeline, "ModelReady")["reason"] in reasons, 60)
    if condition(stack, pipeline, "ModelReady")["reason"] == "Promoted":
        [model] = status(stack, pipeline)["models"]
        newest = status(stack, pipeline)["modelHistory"][0]
        assert (newest["version"], newest["change"]) == (model["version"], "Promoted")


def test_a_training_gives_way_to_streams(stack: Stack, pipeline: tuple[str, str]) -> None:
    """The scheduler takes pods of a higher priority first, and ends trainings for them where there is no room."""
    namespace, name = pipeline
    [job] = stack.kube.list("Job", namespace, f"pricecast.dev/process=train,pricecast.dev/pipeline={name}")
    of_training = job["spec"]["template"]["spec"]["priorityClassName"]
    classes = stack.kube.resource("PriorityClass", "scheduling.k8s.io/v1").get().to_dict()["items"]
    [value] = [each["value"] for each in classes if each["metadata"]["name"] == of_training]
    streams = stack.kube.list("Pod", namespace, f"pricecast.dev/kind=stream,pricecast.dev/pipeline={name}")
    assert streams
    assert all(each["spec"].get("priority", 0) > value for each in streams)


def test_predictions_are_in_elasticsearch_once_each(stack: Stack, pipeline: tuple[str, str]) -> None:
    last_ms = (1_700_000_000 // 60 + CANDLES - 1) * 60_000  # the last candle stays open: nothing comes after it
    until(
        "predictions to the end of the file",
        lambda: any(each["feature_time_ms"] == last_ms for each in stack.predictions(".".join(pipeline))),
        180,
        pause=3,
    )
    times = [each["feature_time_ms"] for each in stack.predictions(".".join(pipeline))]
    assert times == list(range(times[0], last_ms + 1, 60_000))


def test_grpc_and_http_answer_through_the_service(stack: Stack, pipeline: tuple[str, str]) -> None:
    with stack.forward(API, 50051) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = PredictionServiceStub(channel)  # type: ignore[no-untyped-call]
        answer = stub.Predict(
            pb.PredictRequest(pair="BTC/USD", namespace=pipeline[0], pipeline=pipeline[1]),
            metadata=(("authorization", f"Bearer {stack.token()}"),),
            timeout=20,
            wait_for_ready=True,
        )
        assert answer.prediction.pair == "BTC/USD"
        assert answer.prediction.lower < answer.prediction.upper
    with stack.forward(API, 80) as port:
        for path in (
            "/v1/pairs",
            "/v1/pairs/BTC-USD/predictions?page_size=3",
            f"/predict?pair=BTC/USD&pipeline={'.'.join(pipeline)}",
            "/health",
        ):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}", headers={"authorization": f"Bearer {stack.token()}"}
            )
            with urllib.request.urlopen(request, timeout=20) as got:
                assert json.load(got), path


def test_without_the_chart_s_token_no_prediction_is_given(stack: Stack, pipeline: tuple[str, str]) -> None:
    with (
        stack.forward(API, 80) as port,
        pytest.raises(urllib.error.HTTPError) as refused,
    ):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/predict?pair=BTC/USD", timeout=20)
    assert refused.value.code == 401


def test_kubectl_get_tells_it_all(stack: Stack, pipeline: tuple[str, str]) -> None:
    namespace, name = pipeline
    until("the last prediction is told", lambda: "lastPrediction" in status(stack, pipeline), 60)
    head, row = stack.kubectl("-n", namespace, "get", "pp", name).splitlines()
    assert head.split() == ["NAME", "PAIRS", "READY", "MODEL", "SKILL", "LAG", "MESSAGE", "AGE"]
    assert row.split()[:3] == [name, '["BTC/USD"]', "True"]
    wide = stack.kubectl("-n", namespace, "get", "pp", name, "-o", "wide")
    assert "Replay" in wide
    explained = stack.kubectl("explain", "pricepipeline.spec.prediction.horizonsSeconds")
    assert "multiples of the candle" in explained
    assert (
        stack.kubectl("-n", namespace, "get", "pricecast", "-o", "name").strip()
        == f"pricepipeline.pricecast.dev/{name}"
    )


def test_helm_test_passes(stack: Stack) -> None:
    assert "Phase:          Succeeded" in stack.helm("test", "pricecast", "-n", "pricecast-system", "--timeout", "120s")


def test_delete_leaves_nothing_behind(stack: Stack, pipeline: tuple[str, str]) -> None:
    namespace, name = pipeline
    stack.kubectl("-n", namespace, "delete", "pp", name, "--timeout=60s")
    kinds = (
        "Deployment", "Job", "CronJob", "ConfigMap", "Service", "ServiceAccount", "PodDisruptionBudget",
        "NetworkPolicy", "Pod",
    )  # fmt: skip

    def left() -> list[str]:
        found = [
            f"{kind}/{each['metadata']['name']}"
            for kind in kinds
            for each in stack.kube.list(kind, namespace, f"pricecast.dev/pipeline={name}")
        ]
        return found + [
            topic
            for topic in topics(stack.brokers)
            if topic.removeprefix("changelog__").startswith(f"{namespace}.{name}.")
        ]

    until("nothing is left", lambda: not left(), 120)


def topics(brokers: str) -> list[str]:
    from confluent_kafka.admin import AdminClient

    return list(AdminClient({"bootstrap.servers": brokers}).list_topics(timeout=10).topics)


def status(stack: Stack, pipeline: tuple[str, str]) -> dict[str, Any]:
    namespace, name = pipeline
    return dict((stack.kube.get("PricePipeline", name, namespace) or {}).get("status", {}))


def condition(stack: Stack, pipeline: tuple[str, str], kind: str) -> dict[str, Any]:
    return next(each for each in status(stack, pipeline)["conditions"] if each["type"] == kind)
