"""How each process of a pipeline is, from its Deployment, Job or CronJob and its pods. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from pricecast_operator.cluster.objects import Child
from pricecast_operator.render.pipeline import is_job, replicas, scales_itself
from pricecast_operator.status.causes import Cause, of_newest, of_pods, of_rollout
from pricecast_operator.status.conditions import Finding, truth
from pricecast_resources.plan import ServiceProcess
from pricecast_resources.pricepipeline import PricePipelineSpec

SCALED_TO_ZERO = "ScaledToZero"
_NO_IMAGE = ("ImagePullFailed", "InvalidImageName")


@dataclass(frozen=True, slots=True)
class ProcessState:
    """How a process is.

    Attributes:
        process: The process.
        text: For people: 1/1, Complete.
        finding: Its condition.
        moving: Whether a change is being rolled out.
        cause: What keeps pods of it from running, if anything does.
    """

    process: ServiceProcess
    text: str
    finding: Finding
    moving: bool
    cause: Cause | None = None


def process_state(
    process: ServiceProcess,
    child: Child | None,
    spec: PricePipelineSpec,
    pods: Sequence[Child] = (),
    warned: Mapping[str, Cause] = MappingProxyType({}),
    *,
    lacking: str = "",
) -> ProcessState:
    """Returns how a process is, from its Deployment, Job or CronJob, its pods, and what they say that they lack."""
    if child is None:
        how = _How(False, "-", "NotCreated", "is not created yet", moving=True)
    elif process.kind == "schedule":
        cause = None if spec.suspend else of_newest(pods)
        how = _How(True, "Suspended" if spec.suspend else "Scheduled", "Scheduled", process.schedule, cause=cause)
    elif spec.suspend:
        left = number(child, "replicas") + number(child, "active")
        how = _How(False, "Suspended", "Suspended", "spec.suspend is true", moving=left > 0)
    else:
        told = next((warned[each.uid] for each in (child, *pods) if each.uid in warned), None)
        how = (
            _job_state(child, pods, told)
            if is_job(process)
            else _deployment_state(child, _wanted(child, process, spec), pods, told, lacking)
        )
    pinned = spec.version and not process.override.image
    if pinned and how.cause is not None and how.cause.reason in _NO_IMAGE:
        remedy = f"; spec.version pins {spec.version}: write a version whose images exist, or remove it"
        cause = replace(how.cause, message=how.cause.message + remedy)
        how = replace(how, message=cause.message, cause=cause)
    kind = f"{''.join(part.capitalize() for part in process.name.split('-'))}Ready"
    return ProcessState(
        process, how.text, Finding(kind, truth(how.ready), how.reason, how.message), how.moving, how.cause
    )


def _wanted(child: Child, process: ServiceProcess, spec: PricePipelineSpec) -> int:
    """Returns how many pods a stream is to have: what its autoscaler has set, where it has one."""
    if not scales_itself(process, spec):
        return replicas(process, spec)
    return int(json.loads(child.content).get("spec", {}).get("replicas") or 1)


@dataclass(frozen=True, slots=True)
class _How:
    """How a process is: whether it is ready, in short, why in a word and in a sentence."""

    ready: bool
    text: str
    reason: str
    message: str
    moving: bool = False
    cause: Cause | None = None


def _job_state(child: Child, pods: Sequence[Child], warned: Cause | None) -> _How:
    held = {each["type"]: each for each in child.status.get("conditions", ()) if each["status"] == "True"}
    if "Complete" in held:
        return _How(True, "Complete", "Complete", "has run to its end")
    cause = of_newest(pods) or warned
    if "Failed" in held:
        failed = held["Failed"]
        told = cause.message if cause is not None else str(failed.get("message") or "has failed")
        return _How(False, "Failed", str(failed.get("reason") or "Failed"), told)
    if number(child, "ready"):
        return _How(True, "Running", "Running", "is running")
    if cause is not None:
        return _How(False, "Pending", cause.reason, cause.message, cause=cause)
    return _How(False, "Pending", "Pending", "has no pod that runs yet")


def _deployment_state(child: Child, wanted: int, pods: Sequence[Child], warned: Cause | None, lacking: str) -> _How:
    current = int(child.status.get("observedGeneration") or 0) >= child.generation
    ready, updated = number(child, "availableReplicas"), number(child, "updatedReplicas")
    total = number(child, "replicas")
    text, told = f"{ready}/{wanted}", f"{ready} of {wanted} pods are ready"
    if not wanted:
        return _How(False, text, SCALED_TO_ZERO, "no replicas are wanted", moving=total > 0)
    conditions = {each["type"]: each for each in child.status.get("conditions", ())}
    stuck = conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded"
    settled = current and updated >= wanted and total <= updated
    if settled and ready >= wanted:
        return _How(True, text, "Available", told)
    cause = of_rollout(child.status) or of_pods(pods) or warned
    serving = ready >= wanted  # pods of the version before, while this one is rolled out
    if cause is not None:
        return _How(serving, text, cause.reason, cause.message, moving=not stuck, cause=cause)
    if not settled:
        told = f"{updated} of {wanted} pods are of the current version"
        return _How(serving, text, "RolloutStuck" if stuck else "RollingOut", told, moving=True)
    if lacking:
        told = f"{told}: {lacking}"
    return _How(False, text, "Unavailable" if stuck else "Starting", told, moving=not stuck)


def number(child: Child | None, field: str) -> int:
    """Returns a count in the status of a live object; 0 where there is none."""
    return int(child.status.get(field) or 0) if child is not None else 0
