"""Why a pod does not run, in a word and a sentence that stay the same while the cause does. Pure.

Kubernetes spreads causes over a pod's conditions, what its container waits for, and how that ended last; some of it
alternates from second to second (ErrImagePull, ImagePullBackOff), and carries counters and times. A condition is to be
written once for each cause, so only what lasts is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pricecast_operator.cluster.objects import Child

_CHARACTERS = 300
_INSUFFICIENT = re.compile(r"Insufficient ([\w./-]+)")
_NODES = re.compile(r"^0/\d+ nodes are available: ")
_COUNT = re.compile(r"\b\d+ (node\(s\)|Insufficient)")
_ABSENT_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found')
_UNBOUND = re.compile(r"unbound (immediate )?PersistentVolumeClaims|find available persistent volumes")
_ABSENT = re.compile(r'(secret|configmap) "([^"]+)" not found')
_ABSENT_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) (\S+)")
_IMAGE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError")
_NOT_MADE = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_STARTING = ("", "ContainerCreating", "PodInitializing")
_MISCONFIGURED, _NOT_YET = 78, 75
_KINDS = {"secret": "Secret", "configmap": "ConfigMap"}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something does not run.

    Attributes:
        reason: One word for the condition.
        message: For people.
    """

    reason: str
    message: str


def of_pods(pods: Iterable[Child]) -> Cause | None:
    """Returns why a process's pods don't all run; None if nothing keeps them from it. The newest pod comes first."""
    found = (of_pod(pod.status) for pod in sorted(pods, key=lambda pod: pod.version, reverse=True) if not pod.deleting)
    return next((cause for cause in found if cause is not None), None)


def of_newest(pods: Iterable[Child]) -> Cause | None:
    """Returns why the newest pod of a Job does not run: those before it are history."""
    newest = max(pods, key=lambda pod: pod.version, default=None)
    return None if newest is None else of_pod(newest.status)


def of_pod(status: Mapping[str, Any]) -> Cause | None:
    """Returns why a pod does not run; None if nothing keeps it from running."""
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _unscheduled(str(condition.get("message") or ""))
    for container in status.get("containerStatuses", ()):
        cause = _of_container(container)
        if cause is not None:
            return cause
    if status.get("phase") == "Failed" and status.get("reason"):  # evicted, or its node has died
        return Cause(str(status["reason"]), str(status.get("message") or status["reason"])[:_CHARACTERS])
    return None


def of_rollout(status: Mapping[str, Any]) -> Cause | None:
    """Returns why a Deployment can't make pods: a quota, an admission rule; None if it can."""
    for condition in status.get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return _refused(str(condition.get("message") or ""))
    return None


def is_silent(child: Child) -> bool:
    """Returns whether an object is waiting without its status saying for what: only events can tell."""
    status = child.status
    if child.ref.kind == "Job":
        held = {each["type"] for each in status.get("conditions", ()) if each["status"] == "True"}
        return not (held or status.get("active") or status.get("succeeded")) and not child.deleting
    if child.ref.kind != "Pod" or status.get("phase") != "Pending" or child.deleting:
        return False
    waiting = [(each.get("state") or {}).get("waiting") or {} for each in status.get("containerStatuses", ())]
    return bool(waiting) and all(each.get("reason") in _STARTING[1:] for each in waiting)


def of_warnings(messages: Iterable[str]) -> Cause | None:
    """Returns why a Job can't make pods, or a pod can't be given what it mounts; None if no warning says so."""
    for text in messages:
        absent = _ABSENT.search(text)
        if "MountVolume" in text or "volumes" in text:
            if absent is not None:
                kind = _KINDS[absent[1]]
                return Cause(f"{kind}Missing", f"{kind} {absent[2]} does not exist")
            return Cause("VolumeNotMounted", text[:_CHARACTERS])
        if "is forbidden" in text or "exceeded quota" in text:
            return _refused(text)
    return None


def _refused(text: str) -> Cause:
    """Returns why pods are refused, without the name of the pod: it is another for each try."""
    told = re.sub(r'^(Error creating: )?pods "[^"]*" is forbidden: ', "", text)
    if "exceeded quota" in text:
        return Cause("QuotaExceeded", told[:_CHARACTERS])
    return Cause("AdmissionDenied", f"its pods are refused: {told}"[:_CHARACTERS])


def last_words(message: str) -> str:
    """Returns what a container said last: the error in the last line of its log, or the line."""
    lines = [line for line in message.splitlines() if line.strip()]
    if not lines:
        return ""
    try:
        told = json.loads(lines[-1])
    except ValueError:
        return lines[-1].strip()[:_CHARACTERS]
    if not isinstance(told, dict):
        return lines[-1].strip()[:_CHARACTERS]
    error = told.get("error") or str(told.get("exception") or "").strip().rpartition("\n")[2]
    return str(error or told.get("event") or "")[:_CHARACTERS]


def _unscheduled(text: str) -> Cause:
    # How many nodes say so changes with the nodes, not with the cause.
    lasting = _NODES.sub("", text.partition(" preemption:")[0])
    told = _COUNT.sub(r"\1", lasting)[:_CHARACTERS]
    claim = _ABSENT_CLAIM.search(text)
    if claim is not None:
        return Cause("VolumeMissing", f"PersistentVolumeClaim {claim[1]} does not exist")
    if _UNBOUND.search(text):
        return Cause("VolumeUnbound", f"waits for its PersistentVolumeClaim to be bound: {told}")
    missing = sorted({name.rstrip(".") for name in _INSUFFICIENT.findall(text)})
    if missing:
        return Cause("InsufficientResources", f"no node has enough {', '.join(missing)}: {told}")
    return Cause("Unschedulable", told or "no node takes the pod")


def _of_container(container: Mapping[str, Any]) -> Cause | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, text = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    end = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    cause = None
    if reason in _IMAGE:
        detail = text.partition("ErrImagePull: ")[2] or ("" if text.startswith("Back-off") else text)
        told = f"image {container.get('image')} can't be pulled{f': {detail}' if detail else ''}"
        cause = Cause("ImagePullFailed", told[:_CHARACTERS])
    elif reason == "InvalidImageName":
        cause = Cause(reason, f"image {container.get('image')!r} is no image name; write REPOSITORY:TAG")
    elif reason in _NOT_MADE:
        cause = _unconfigured(reason, text)
    elif end is not None and not container.get("ready"):
        cause = _ended(end)
    elif reason not in _STARTING:
        cause = Cause(reason, text[:_CHARACTERS] or reason)
    return cause


def _unconfigured(reason: str, text: str) -> Cause:
    key, absent = _ABSENT_KEY.search(text), _ABSENT.search(text)
    if key is not None:
        return Cause(f"{key[2]}KeyMissing", f"{key[2]} {key[3].rpartition('/')[2]} has no key {key[1]}")
    if absent is not None:
        kind = _KINDS[absent[1]]
        return Cause(f"{kind}Missing", f"{kind} {absent[2]} does not exist")
    return Cause(reason, text[:_CHARACTERS] or reason)


def _ended(end: Mapping[str, Any]) -> Cause | None:
    code = int(end.get("exitCode") or 0)
    words = last_words(str(end.get("message") or ""))
    said = f": {words}" if words else ""
    if end.get("reason") == "OOMKilled":
        return Cause("OutOfMemory", "was killed for using more memory than its limit; raise resources.limits.memory")
    if code == _MISCONFIGURED:
        return Cause("Misconfigured", f"refuses its settings{said}")
    if code in (0, _NOT_YET):
        return None
    return Cause("CrashLoop", f"ends again and again with exit code {code}{said}")


def short(text: str, characters: int = 80) -> str:
    """Returns a text cut to fit a column of `kubectl get`."""
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[: characters - 1].rstrip()}…"


def by_process(pods: Iterable[Child]) -> dict[str, Sequence[Child]]:
    """Returns pods by the process that they run."""
    found: dict[str, list[Child]] = {}
    for pod in pods:
        found.setdefault(pod.process, []).append(pod)
    return dict(found)
