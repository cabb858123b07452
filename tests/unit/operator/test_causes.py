"""Why pods don't run: what Kubernetes says of them, in a word and a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pricecast_operator.cluster.objects import Child
from pricecast_operator.status.causes import (
    Cause,
    is_silent,
    last_words,
    of_pod,
    of_pods,
    of_rollout,
    of_warnings,
    short,
)


def pod(status: dict[str, Any], version: int = 1, **metadata: Any) -> Child:
    named = {"name": f"p{version}", "namespace": "n", "uid": f"u{version}", "resourceVersion": str(version)}
    return Child.of({"kind": "Pod", "metadata": {**named, **metadata}, "status": status})


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"image": "r/x:1", "ready": False, "state": state, **more}]}


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {
        "terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": "2026-01-01T00:00:00Z"}
    }


def unscheduled(message: str) -> dict[str, Any]:
    return {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}


LOG = json.dumps({"event": "settings refused", "error": "PAIRS: is empty", "level": "error", "timestamp": "2026"})


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (waiting("ErrImagePull", "pull access denied"), "ImagePullFailed", "image r/x:1 can't be pulled: pull access"),
        (waiting("InvalidImageName", "x"), "InvalidImageName", "image 'r/x:1' is no image name"),
        (waiting("CreateContainerConfigError", 'secret "s" not found'), "SecretMissing", "Secret s does not exist"),
        (
            waiting("CreateContainerConfigError", "couldn't find key k in Secret ns/s"),
            "SecretKeyMissing",
            "Secret s has no key k",
        ),
        (
            waiting("CreateContainerConfigError", 'configmap "c" not found'),
            "ConfigMapMissing",
            "ConfigMap c does not exist",
        ),
        (
            waiting("CrashLoopBackOff", "back-off 40s", lastState=ended(137, reason="OOMKilled")),
            "OutOfMemory",
            "was killed for using more memory than its limit",
        ),
        (waiting("CrashLoopBackOff", "x", lastState=ended(1, LOG)), "CrashLoop", "with exit code 1: PAIRS: is empty"),
        (waiting("CrashLoopBackOff", "x", lastState=ended(78, LOG)), "Misconfigured", "refuses its settings: PAIRS"),
        (
            unscheduled("0/1 nodes are available: 1 Insufficient cpu."),
            "InsufficientResources",
            "no node has enough cpu",
        ),
        (unscheduled("0/1 nodes: didn't match Pod's node affinity/selector."), "Unschedulable", "didn't match"),
        (
            unscheduled('persistentvolumeclaim "data" not found'),
            "VolumeMissing",
            "PersistentVolumeClaim data does not exist",
        ),
        (unscheduled("pod has unbound immediate PersistentVolumeClaims"), "VolumeUnbound", "to be bound"),
        ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, "Evicted", "disk"),
    ],
)
def test_causes(status: dict[str, Any], reason: str, message: str) -> None:
    cause = of_pods([pod(status)])
    assert cause is not None
    assert cause.reason == reason
    assert message in cause.message


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Pending"},
        waiting("ContainerCreating"),
        {"phase": "Running", "containerStatuses": [{"ready": True, "state": {"running": {}}, "lastState": ended(1)}]},
        {"phase": "Running", "containerStatuses": [{"ready": False, "state": {"running": {}}}]},
        {"phase": "Succeeded", "containerStatuses": [{"ready": False, "state": ended(0)}]},
        {"phase": "Failed", "containerStatuses": [{"ready": False, "state": ended(75)}]},
    ],
)
def test_no_cause(status: dict[str, Any]) -> None:
    assert of_pods([pod(status)]) is None


def test_a_cause_stays_the_same_while_kubernetes_alternates() -> None:
    """Back-offs, counters and times would have the condition written again and again."""
    pulls = [
        waiting("ErrImagePull", 'failed to pull "r/x:1": not found'),
        waiting("ImagePullBackOff", 'Back-off pulling image "r/x:1": ErrImagePull: failed to pull "r/x:1": not found'),
    ]
    assert len({of_pod(status) for status in pulls}) == 1
    running = {
        "phase": "Running",
        "containerStatuses": [{"ready": False, "state": {"running": {}}, "lastState": ended(1)}],
    }
    crashes = [
        waiting("CrashLoopBackOff", "back-off 10s", lastState=ended(1)),
        running,
        {"phase": "Running", "containerStatuses": [{"ready": False, "state": ended(1)}]},
    ]
    assert len({of_pod(status) for status in crashes}) == 1
    tries = [
        {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": f'pods "x-{n}" is forbidden: exceeded quota: q'}]}
        for n in range(2)
    ]  # fmt: skip
    assert {of_rollout(each) for each in tries} == {of_rollout(tries[0])}
    assert of_rollout(tries[0]) == Cause("QuotaExceeded", "exceeded quota: q")


def test_an_unschedulable_pod_is_told_the_same_whatever_the_number_of_nodes() -> None:
    first = "0/3 nodes are available: 2 Insufficient cpu, 1 node(s) had untolerated taint {x}. preemption: 0/3 nodes"
    later = "0/5 nodes are available: 4 Insufficient cpu, 1 node(s) had untolerated taint {x}. preemption: 0/5 nodes"
    cause = of_pod(unscheduled(first))
    assert cause == of_pod(unscheduled(later))
    assert cause == Cause(
        "InsufficientResources", "no node has enough cpu: Insufficient cpu, node(s) had untolerated taint {x}."
    )


def test_a_pod_on_its_way_out_is_no_cause() -> None:
    assert of_pods([pod(waiting("ErrImagePull"), deletionTimestamp="2026-01-01T00:00:00Z")]) is None


def test_of_a_pod_little_is_remembered() -> None:
    status = {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": "t"} for kind in ("Ready", "PodScheduled")],
        "containerStatuses": [
            {"image": "r/x:1", "imageID": "y" * 200, "ready": True, "state": {"running": {}}, "lastState": ended(1, "z" * 900)}
        ],
        "hostIPs": [{"ip": "1"}],
    }  # fmt: skip
    child = pod(status)
    assert child.content == b""
    assert len(json.dumps(child.status)) < 150
    again = pod({**status, "hostIPs": []}, version=2, uid="u1")
    assert again.says_as_much_as(child)


def test_last_words() -> None:
    assert last_words("") == ""
    assert last_words("a\nb\n") == "b"
    assert last_words("{broken") == "{broken"
    assert last_words(json.dumps({"event": "crashed", "exception": "Traceback\n  x\nValueError: y"})) == "ValueError: y"
    assert short("a  b\nc" * 40, 20) == "a b ca b ca b ca b…"


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        ('Error creating: pods "x-9k" is forbidden: exceeded quota: none, requested: pods=1', "QuotaExceeded", "exceeded quota: none"),
        ('Error creating: pods "x-9k" is forbidden: violates PodSecurity', "AdmissionDenied", "violates PodSecurity"),
        ('MountVolume.SetUp failed for volume "data" : configmap "history" not found', "ConfigMapMissing", "ConfigMap history does"),
        ('MountVolume.SetUp failed for volume "keys" : secret "keys" not found', "SecretMissing", "Secret keys does"),
        ("Unable to attach or mount volumes: timed out", "VolumeNotMounted", "timed out"),
    ],
)  # fmt: skip
def test_what_only_events_tell(message: str, reason: str, words: str) -> None:
    cause = of_warnings(["Readiness probe failed", message])
    assert cause is not None
    assert cause.reason == reason
    assert words in cause.message
    assert "x-9k" not in cause.message  # a name of its own for each try


@pytest.mark.parametrize(
    ("status", "silent"),
    [
        (waiting("ContainerCreating"), True),
        (waiting("ImagePullBackOff"), False),
        ({"phase": "Pending"}, False),  # not on a node yet: its conditions say why
        ({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}, False),
    ],
)
def test_which_pods_are_silent(status: dict[str, Any], silent: bool) -> None:
    assert is_silent(pod({"phase": "Pending", **status})) is silent


@pytest.mark.parametrize(
    ("status", "silent"),
    [({}, True), ({"active": 1}, False), ({"conditions": [{"type": "Suspended", "status": "True"}]}, False)],
)
def test_which_jobs_are_silent(status: dict[str, Any], silent: bool) -> None:
    metadata = {"name": "j", "namespace": "n", "uid": "u", "resourceVersion": "1"}
    assert is_silent(Child.of({"kind": "Job", "metadata": metadata, "spec": {}, "status": status})) is silent
