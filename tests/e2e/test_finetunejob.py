"""A FinetuneJob on a cluster without a GPU: it says what is missing, stops and goes on as told, and leaves nothing."""

from __future__ import annotations

import functools
from typing import Any

from tests.contracts.manifests import FINETUNE
from tests.contracts.odd_manifests import ODD
from tests.e2e.stack import Stack, until

NAME = "news"


def apply(stack: Stack, namespace: str, **spec: Any) -> None:
    dataset = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "headlines"},
        "data": {"dataset.jsonl": "{}"},
    }
    stack.kube.apply(dataset, namespace)
    manifest = {**FINETUNE, "metadata": {"name": NAME}, "spec": {**FINETUNE["spec"], **spec}}
    stack.kube.apply(manifest, namespace)


def status(stack: Stack, namespace: str, name: str = NAME) -> dict[str, Any]:
    return dict((stack.kube.get("FinetuneJob", name, namespace) or {}).get("status") or {})


def reason(stack: Stack, namespace: str, kind: str, name: str = NAME) -> str:
    conditions = status(stack, namespace, name).get("conditions", [])
    return next(
        (f"{each['status']} {each['reason']}: {each['message']}" for each in conditions if each["type"] == kind), ""
    )


def test_missing_gpu_is_named(stack: Stack, namespace: str) -> None:
    apply(stack, namespace, gpu={"resource": "vendor.example/gpu", "count": 2})
    until("told", lambda: "vendor.example/gpu" in reason(stack, namespace, "Running"), 90)
    assert reason(stack, namespace, "Running").startswith(
        "False InsufficientResources: no node has enough vendor.example/gpu"
    )
    assert status(stack, namespace)["state"] == "Pending"
    row = stack.kubectl("-n", namespace, "get", "ftj", NAME).splitlines()[1].split()
    assert row[:2] == [NAME, "Pending"]


def test_suspend_and_resume(stack: Stack, namespace: str) -> None:
    apply(stack, namespace, suspend=True)
    until("suspended", lambda: reason(stack, namespace, "Suspended").startswith("True SuspendedByUser"), 60)
    assert "startTime" not in status(stack, namespace)
    stack.kube.patch("FinetuneJob", NAME, namespace, {"spec": {"suspend": False}})
    until("resumed", lambda: reason(stack, namespace, "Suspended").startswith("False"), 60)
    assert "startTime" in until("started", lambda: status(stack, namespace), 60)


def test_deleting_it_deletes_its_checkpoints(stack: Stack, namespace: str) -> None:
    apply(stack, namespace, checkpoints={"size": "1Gi"})
    until("made", lambda: stack.kube.get("PersistentVolumeClaim", f"{NAME}-checkpoints", namespace), 60)
    stack.kubectl("-n", namespace, "delete", "ftj", NAME, "--timeout=60s")
    kinds = ("Job", "ConfigMap", "ServiceAccount", "NetworkPolicy", "PersistentVolumeClaim", "Pod")

    def left() -> list[str]:
        label = f"pricecast.dev/finetune-job={NAME}"
        return [
            f"{kind}/{each['metadata']['name']}" for kind in kinds for each in stack.kube.list(kind, namespace, label)
        ]

    until("nothing is left", lambda: not left(), 120)


def test_whatever_is_accepted_becomes_a_job_and_says_what_it_waits_for(stack: Stack, namespace: str) -> None:
    """The pipelines' counterpart, with `pricecast up`, is tests/integration/test_accepted.py."""
    apply(stack, namespace)  # with the dataset that the others name, too
    names = [NAME]
    for number, odd in enumerate(odd for odd in ODD if odd.base is FINETUNE and not odd.field):
        names.append(odd.changes.get("/metadata.name", f"odd-{number}"))
        stack.kube.create({**odd.manifest(), "metadata": {"name": names[-1]}}, namespace)
    assert len(names) >= 16
    for name in names:
        told = functools.partial(reason, stack, namespace, "Running", name)
        until(f"{name} says what it lacks", lambda told=told: told().startswith("False InsufficientResources"), 120)
        assert stack.kube.get("Job", name, namespace) is not None
