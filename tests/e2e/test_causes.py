"""Why a pipeline is not ready is read from its status, as one would with `kubectl get`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.stack import QUICK, Stack, until

SPEC: dict[str, Any] = {
    **QUICK,
    "topics": {"deletionPolicy": "Delete"},
}
QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
FORBIDDING = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "small"},
    "spec": {"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]},
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "history"},
    "spec": {
        "storageClassName": "none",
        "accessModes": ["ReadOnlyMany"],
        "resources": {"requests": {"storage": "1Gi"}},
    },
}
REPLAY = {"kind": "Replay", "replay": {"files": ["/data/trades.csv"], "volumeClaim": "history"}}


CONFIG_MAP = {"kind": "Replay", "replay": {"files": ["/data/trades.csv"], "configMap": "history"}}


def services(**override: Any) -> dict[str, Any]:
    return {"services": {"candles": override}}


CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], str]] = {
    "ImagePullFailed": (services(image="pricecast/none:none"), [], "image pricecast/none:none can't be pulled"),
    "InvalidImageName": (services(image="Not An Image"), [], "Not An Image"),
    "QuotaExceeded": ({}, [QUOTA], "exceeded quota: none"),
    "AdmissionDenied": ({}, [FORBIDDING], "maximum memory usage per Container is 16Mi"),
    "InsufficientResources": (services(resources={"requests": {"cpu": "900"}}), [], "no node has enough cpu"),
    "Unschedulable": (services(nodeSelector={"disk": "none"}), [], "node affinity/selector"),
    "ConfigMapMissing": ({"source": CONFIG_MAP}, [], "ConfigMap history does not exist"),
    "VolumeMissing": ({"source": REPLAY}, [], "PersistentVolumeClaim history does not exist"),
    "VolumeUnbound": ({"source": REPLAY}, [CLAIM], "PersistentVolumeClaim"),
    "OutOfMemory": (services(resources={"requests": {"memory": "24Mi"}, "limits": {"memory": "24Mi"}}), [], "limit"),
    "SecretMissing": ({}, [], "Secret pricecast-storage does not exist"),
    "SecretKeyMissing": ({}, [], "Secret pricecast-storage has no key sql-url"),
    "Misconfigured": ({}, [], "store URL"),
    # Python can't start without its library, and says so last.
    "CrashLoop": ({"pods": {"env": [{"name": "PYTHONHOME", "value": "/none"}]}}, [], "exit code 1: "),
}


@pytest.fixture
def pipeline(stack: Stack, namespace: str) -> Iterator[tuple[str, str]]:
    name = f"why-{uuid.uuid4().hex[:6]}"
    yield namespace, name
    stack.kube.delete("PricePipeline", name, namespace)


@pytest.mark.parametrize("reason", CASES)
def test_the_cause_is_told(stack: Stack, pipeline: tuple[str, str], reason: str) -> None:
    namespace, name = pipeline
    spec, objects, words = CASES[reason]
    secrets = {
        "SecretMissing": None,
        "SecretKeyMissing": {"other": "x"},
        "Misconfigured": {"sql-url": "postgresql://user:hunter2@host:abc/db"},
    }
    data = secrets.get(reason, {"sql-url": stack.postgres})
    if data is not None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pricecast-storage"}, "stringData": data}
        stack.kube.apply(secret, namespace)
    for each in objects:
        stack.kube.apply(each, namespace)
    manifest = stack.pipeline(name, SPEC, **spec)
    stack.kube.apply(manifest, namespace)
    ready = until(f"Ready tells {reason}", lambda: _ready(stack, pipeline, reason), 90)
    assert words in ready["message"]
    assert ready["status"] == "False"
    assert "hunter2" not in str(_status(stack, pipeline))
    until("an event tells it", lambda: len(_events(stack, pipeline, reason)) >= 1, 20)
    head, row = stack.kubectl("-n", namespace, "get", "pp", name).splitlines()
    assert "MESSAGE" in head.split()
    assert len(_status(stack, pipeline)["message"]) <= 80
    assert _status(stack, pipeline)["message"] in row


def test_a_pinned_version_without_images_is_told_with_the_remedy(stack: Stack, pipeline: tuple[str, str]) -> None:
    namespace, name = pipeline
    stack.storage_secret(namespace)
    manifest = stack.pipeline(name, SPEC, version="none")
    stack.kube.apply(manifest, namespace)
    ready = until("Ready tells it", lambda: _ready(stack, pipeline, "ImagePullFailed"), 90)
    assert "spec.version pins none: write a version whose images exist, or remove it" in ready["message"]


def test_a_quota_that_stops_jobs_alone_is_told(stack: Stack, pipeline: tuple[str, str]) -> None:
    """A Job's status says nothing of the pods that it may not make."""
    namespace, name = pipeline
    stack.storage_secret(namespace)
    stack.kube.apply(QUOTA, namespace)
    manifest = stack.pipeline(name, SPEC)
    stack.kube.apply(manifest, namespace)
    model = until(
        "ModelReady tells it",
        lambda: next(
            (
                each
                for each in _status(stack, pipeline).get("conditions", ())
                if each["type"] == "ModelReady" and each["reason"] == "QuotaExceeded"
            ),
            None,
        ),
        90,
    )
    assert "train: exceeded quota: none" in model["message"]


def _status(stack: Stack, pipeline: tuple[str, str]) -> dict[str, Any]:
    namespace, name = pipeline
    return dict((stack.kube.get("PricePipeline", name, namespace) or {}).get("status") or {})


def _ready(stack: Stack, pipeline: tuple[str, str], reason: str) -> dict[str, Any]:
    conditions = _status(stack, pipeline).get("conditions", ())
    ready = next((each for each in conditions if each["type"] == "Ready"), {})
    return dict(ready) if ready.get("reason") == reason else {}


def _events(stack: Stack, pipeline: tuple[str, str], reason: str) -> list[dict[str, Any]]:
    namespace, name = pipeline
    return [
        each
        for each in stack.kube.list("Event", namespace)
        if each["involvedObject"].get("name") == name and each["reason"] == reason and "Ready is" in each["message"]
    ]
