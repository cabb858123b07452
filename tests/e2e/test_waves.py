"""A new version reaches pipelines in waves: the first that fails on it holds up the others, which go on as they are."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.stack import API, Stack, until

SPEC: dict[str, Any] = {
    "pairs": ["BTC/USD"],
    "source": {"kind": "Simulated", "since": "10m"},
    "candles": {"seconds": 5},
    "training": {"lookback": "1h", "minRows": 700, "trials": 0},
    "prediction": {"horizonsSeconds": [60]},
}


@pytest.fixture(scope="module")
def fleet(stack: Stack) -> Iterator[list[tuple[str, str]]]:
    """Two pipelines of one name and one pair that are Ready, in two namespaces."""
    suffix = uuid.uuid4().hex[:6]
    found = [(f"fleet-{which}-{suffix}", "prices") for which in ("a", "b")]
    for namespace, name in found:
        stack.kube.create_namespace(namespace)
        stack.storage_secret(namespace)
        stack.kube.apply(
            # Long enough ago that indicators are warm, and forecasts are made from the start.
            stack.pipeline(name, SPEC, source={**SPEC["source"], "since": "1h"}),
            namespace,
        )
    for namespace, name in found:
        ready = lambda at=namespace, name=name: stack.kube.condition("PricePipeline", name, "Ready", at)  # noqa: E731
        until(f"{namespace}/{name} is ready", ready, 240)
        settled = lambda at=namespace, name=name: condition(stack, at, name, "Progressing")["status"]  # noqa: E731
        until("settled", lambda settled=settled: settled() == "False", 60)
    yield found
    for namespace, _ in found:
        stack.kube.delete("Namespace", namespace)
    stack.install()


def test_two_of_one_name_and_pair_in_two_namespaces_answer_for_themselves(
    stack: Stack, fleet: list[tuple[str, str]]
) -> None:
    for namespace, name in fleet:
        predicting = lambda at=namespace, name=name: stack.kube.condition("PricePipeline", name, "Predicting", at)  # noqa: E731
        until("predicting", predicting, 120)
    ids = [f"{namespace}.{name}" for namespace, name in fleet]
    with stack.forward(API, 80) as port:

        def ask(query: str) -> tuple[int, dict[str, Any]]:
            url = f"http://127.0.0.1:{port}/predict?pair=BTC/USD{query}"
            request = urllib.request.Request(url, headers={"authorization": f"Bearer {stack.token()}"})
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as refused:
                return refused.code, json.load(refused)

        until("the API knows both", lambda: [ask(f"&pipeline={each}")[0] for each in ids] == [200, 200], 60)
        for _ in range(5):
            for (namespace, name), each in zip(fleet, ids, strict=True):
                answer = ask(f"&pipeline={each}")[1]
                assert (answer["namespace"], answer["pipeline"]) == (namespace, name)
            code, refusal = ask("")
            assert code == 400
            assert all(each in refusal["detail"] for each in ids)
    prices = {each: stack.predictions(each) for each in ids}
    assert all({one["pipeline"] for one in found} == {each} for each, found in prices.items())


def test_a_training_says_how_many_rows_of_how_many_it_has(stack: Stack, fleet: list[tuple[str, str]]) -> None:
    model = lambda: condition(stack, *fleet[0], "ModelReady")  # noqa: E731
    until("told", lambda: model().get("reason") == "WarmingUp", 60)
    assert re.search(r"\b\d+ of (at least )?700\b", model()["message"]), model()["message"]


@pytest.mark.usefixtures("fleet")
def test_the_first_that_fails_holds_up_the_others(stack: Stack) -> None:
    going = {
        each["metadata"]["name"] for each in stack.kube.list("Namespace") if "deletionTimestamp" in each["metadata"]
    }
    found = [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in stack.kube.list("PricePipeline")]
    everyone = [each for each in found if each[0] not in going]  # those of the tests before may still be there
    before = {each: candles(stack, *each) for each in everyone}
    stack.install(**{"operator.upgradeWave": "1", "image.digests.candles": f"sha256:{'0' * 64}"})

    def upgraded(reason: str) -> list[tuple[str, str]]:
        return [each for each in everyone if condition(stack, *each, "Upgraded").get("reason") == reason]

    until(
        "one has failed, the others wait",
        lambda: len(upgraded("UpgradeFailed")) == 1 and len(upgraded("UpgradeWaits")) == len(everyone) - 1,
        240,  # a cause must last for a minute
    )
    (failed,) = upgraded("UpgradeFailed")
    for namespace, name in upgraded("UpgradeWaits"):
        assert candles(stack, namespace, name) == before[namespace, name]
        assert stack.kube.condition("PricePipeline", name, "Ready", namespace)
    assert candles(stack, *failed).endswith(f"@sha256:{'0' * 64}")
    assert stack.kube.condition("PricePipeline", failed[1], "Ready", failed[0])  # the pods of before go on
    assert condition(stack, *failed, "Degraded")["reason"] == "ImagePullFailed"

    stack.install()
    until("all run the images of before", lambda: all(candles(stack, *each) == before[each] for each in everyone), 120)


def test_a_paused_pipeline_is_left_as_it_is(stack: Stack, namespace: str) -> None:
    name = f"paused-{uuid.uuid4().hex[:6]}"
    stack.storage_secret(namespace)
    manifest = {
        "apiVersion": "pricecast.dev/v1alpha1",
        "kind": "PricePipeline",
        "metadata": {"name": name, "annotations": {"pricecast.dev/paused": "false"}},
        "spec": {**SPEC, "storage": stack.storage(), "suspend": True},
    }
    stack.kube.apply(manifest, namespace)
    until("made", lambda: len(stack.kube.list("Deployment", namespace)) == 5, 60)
    stack.kube.patch("PricePipeline", name, namespace, {"metadata": {"annotations": {"pricecast.dev/paused": "true"}}})
    until("told", lambda: condition(stack, namespace, name, "Progressing").get("reason") == "Paused", 120)
    stack.kube.delete("Service", f"{name}-metrics", namespace)
    stack.kube.patch("PricePipeline", name, namespace, {"spec": {"version": "pinned"}})
    until(
        "the change is seen, and nothing is mended",
        lambda: (
            (stack.kube.get("PricePipeline", name, namespace) or {})["metadata"]["generation"]
            > (stack.kube.get("PricePipeline", name, namespace) or {})["status"]["observedGeneration"]
        ),
        10,
    )
    assert stack.kube.get("Service", f"{name}-metrics", namespace) is None
    stack.kube.patch("PricePipeline", name, namespace, {"metadata": {"annotations": {"pricecast.dev/paused": None}}})
    until("mended", lambda: stack.kube.get("Service", f"{name}-metrics", namespace), 120)
    until("pinned", lambda: candles(stack, namespace, name).endswith("/candles:pinned"), 120)


def candles(stack: Stack, namespace: str, name: str) -> str:
    found = stack.kube.get("Deployment", f"{name}-candles", namespace) or {}
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


def condition(stack: Stack, namespace: str, name: str, kind: str) -> dict[str, Any]:
    status = (stack.kube.get("PricePipeline", name, namespace) or {}).get("status") or {}
    return dict(next((each for each in status.get("conditions", ()) if each["type"] == kind), {}))
