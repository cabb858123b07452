"""A new version reaches pipelines in waves: the first that fails on it holds up the others, which go on as they are."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.stack import Stack, until

SPEC: dict[str, Any] = {
    "pairs": ["BTC/USD"],
    "source": {"kind": "Simulated", "since": "10m"},
    "candles": {"seconds": 5},
    "training": {"lookback": "1h", "minRows": 700, "trials": 0},
    "prediction": {"horizonsSeconds": [60]},
}


@pytest.fixture
def fleet(stack: Stack, namespace: str) -> Iterator[list[str]]:
    """Two pipelines that are Ready."""
    stack.storage_secret(namespace)
    names = [f"fleet-{uuid.uuid4().hex[:6]}" for _ in range(2)]
    for name in names:
        stack.kube.apply(
            {
                "apiVersion": "pricecast.dev/v1alpha1",
                "kind": "PricePipeline",
                "metadata": {"name": name},
                "spec": {**SPEC, "storage": stack.storage()},
            },
            namespace,
        )
    for name in names:
        until(
            f"{name} is ready", lambda name=name: stack.kube.condition("PricePipeline", name, "Ready", namespace), 240
        )
        until("settled", lambda name=name: condition(stack, namespace, name, "Progressing")["status"] == "False", 60)
    yield names
    stack.install()


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
