"""What the operator did not create it neither changes nor deletes."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from tests.contracts.manifests import FINETUNE
from tests.e2e.stack import QUICK, Stack, until

SPEC: dict[str, Any] = {
    **QUICK,
    "suspend": True,
}


@pytest.fixture
def name() -> str:
    return f"mine-{uuid.uuid4().hex[:6]}"


def foreign(name: str) -> dict[str, dict[str, Any]]:
    """Returns someone else's objects under names that a pipeline of this name wants, by kind."""
    return {
        "ConfigMap": {"apiVersion": "v1", "metadata": {"name": f"{name}-trades"}, "data": {"PAIRS": "theirs"}},
        "ServiceAccount": {"apiVersion": "v1", "metadata": {"name": f"{name}-candles"}},
        "Service": {
            "apiVersion": "v1",
            "metadata": {"name": f"{name}-metrics"},
            "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 1234}]},
        },
        "NetworkPolicy": {
            "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": f"{name}-default-deny"},
            "spec": {"podSelector": {"matchLabels": {"app": "theirs"}}},
        },
        "PodDisruptionBudget": {
            "apiVersion": "policy/v1",
            "metadata": {"name": name},
            "spec": {"maxUnavailable": 3, "selector": {"matchLabels": {"app": "theirs"}}},
        },
    }


def pipeline(stack: Stack, name: str, **spec: Any) -> dict[str, Any]:
    return stack.pipeline(name, SPEC, **spec)


@pytest.mark.parametrize("labelled", [False, True], ids=["plain", "with our labels"])
def test_objects_of_others_under_a_childs_name_survive(stack: Stack, namespace: str, name: str, labelled: bool) -> None:
    labels = {"pricecast.dev/pipeline": name, "app.kubernetes.io/managed-by": "pricecast-operator"}
    stack.storage_secret(namespace)
    for kind, manifest in foreign(name).items():
        metadata = {**manifest["metadata"], **({"labels": labels} if labelled else {})}
        stack.kube.apply({**manifest, "kind": kind, "metadata": metadata}, namespace)
    before = _objects(stack, namespace, name)
    stack.kube.apply(pipeline(stack, name), namespace)
    ready = until("told", lambda: _ready(stack, namespace, name, "ForeignObject"), 60)
    for kind, manifest in foreign(name).items():
        assert f"{kind} {namespace}/{manifest['metadata']['name']}" in ready["message"]
    assert not stack.kube.list("Deployment", namespace)  # their pods would start with another's settings
    assert _objects(stack, namespace, name) == before

    stack.kube.delete("ConfigMap", f"{name}-trades", namespace)
    stack.kube.delete("ServiceAccount", f"{name}-candles", namespace)
    until("made once the names are free", lambda: len(stack.kube.list("Deployment", namespace)) == 5, 60)
    stack.kubectl("-n", namespace, "delete", "pp", name, "--timeout=60s")
    until("its own are gone", lambda: not stack.kube.list("Deployment", namespace), 60)
    left = {kind: each for kind, each in before.items() if kind not in ("ConfigMap", "ServiceAccount")}
    assert {kind: each for kind, each in _objects(stack, namespace, name).items() if kind in left} == left


def test_the_deletion_of_an_elder_frees_its_junior(stack: Stack, namespace: str, name: str) -> None:
    """A FinetuneJob has the ServiceAccount, the settings and the policy that a pipeline wants for its candles."""
    stack.storage_secret(namespace)
    elder = {**FINETUNE, "metadata": {"name": f"{name}-candles"}, "spec": {**FINETUNE["spec"], "suspend": True}}
    stack.kube.apply(elder, namespace)
    until("the elder has it", lambda: stack.kube.get("ServiceAccount", f"{name}-candles", namespace), 60)
    stack.kube.apply(pipeline(stack, name), namespace)
    ready = until("told", lambda: _ready(stack, namespace, name, "ForeignObject"), 60)
    assert f"belongs to FinetuneJob {name}-candles" in ready["message"]
    stack.kubectl("-n", namespace, "delete", "ftj", f"{name}-candles", "--timeout=60s")
    gone = time.monotonic()
    until("the junior is made", lambda: len(stack.kube.list("Deployment", namespace)) == 5, 60, pause=0.2)
    assert time.monotonic() - gone < 30


def test_what_is_rendered_no_more_is_taken_away_again(stack: Stack, namespace: str, name: str) -> None:
    """An object is created by one kind of request and changed by another; fields must not stay behind."""
    stack.storage_secret(namespace)
    services = {"candles": {"nodeSelector": {"disk": "fast"}}}
    stack.kube.apply(pipeline(stack, name, services=services), namespace)
    until("made", lambda: _selector(stack, namespace, name) == {"disk": "fast"}, 60)
    stack.kube.patch("PricePipeline", name, namespace, {"spec": {"services": None}})
    until("taken away", lambda: not _selector(stack, namespace, name), 60)


def _selector(stack: Stack, namespace: str, name: str) -> Any:
    found = stack.kube.get("Deployment", f"{name}-candles", namespace) or {"spec": {"template": {"spec": {}}}}
    return found["spec"]["template"]["spec"].get("nodeSelector")


def _objects(stack: Stack, namespace: str, name: str) -> dict[str, Any]:
    found = {
        kind: stack.kube.get(kind, manifest["metadata"]["name"], namespace) or {}
        for kind, manifest in foreign(name).items()
    }
    return {
        kind: {
            "uid": each["metadata"]["uid"],
            "owners": each["metadata"].get("ownerReferences"),
            "managers": {entry["manager"] for entry in each["metadata"].get("managedFields", ())},
            "content": {field: each.get(field) for field in ("data", "spec")},
        }
        for kind, each in found.items()
        if each
    }


def _ready(stack: Stack, namespace: str, name: str, reason: str) -> dict[str, Any]:
    status = (stack.kube.get("PricePipeline", name, namespace) or {}).get("status") or {}
    ready = next((each for each in status.get("conditions", ()) if each["type"] == "Ready"), {})
    return dict(ready) if ready.get("reason") == reason else {}
