"""From a Job and its pods to a FinetuneJob's status. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pricecast_operator.cluster.objects import Child, Refusal
from pricecast_operator.status.causes import of_pods, short
from pricecast_operator.status.conditions import FAULT, INVALID_SPEC, Finding, Round, truth
from pricecast_resources.finetunejob import FinetuneJobSpec

Status = dict[str, Any]

_PROGRESS = {"step": "step", "total_steps": "totalSteps", "loss": "loss", "eta_seconds": "etaSeconds"}


def is_finished(status: Mapping[str, Any]) -> bool:
    """Returns whether a FinetuneJob has come to its end, whatever became of its Job since.

    A spec that could not be acted on is no end: it may be mended. Nor is a round that failed.
    """
    return any(
        each["type"] in ("Complete", "Failed")
        and each["status"] == "True"
        and each["reason"] not in (INVALID_SPEC, FAULT)
        for each in status.get("conditions", [])
    )


def finetune_status(
    spec: FinetuneJobSpec,
    job: Child | None,
    pods: Sequence[Child],
    progress: Mapping[str, Any],
    this: Round,
    *,
    refused: Sequence[Refusal] = (),
) -> Status:
    """Returns the status of a FinetuneJob.

    Args:
        spec: Its spec.
        job: Its Job, if there is one.
        pods: The Job's pods.
        progress: What the running pod says of itself.
        this: The round: generation, status so far (what is known of a Job that has been cleaned up), time.
        refused: Objects that can't be as they should be, and why.
    """
    previous = this.previous
    if is_finished(previous):
        return {**previous, "observedGeneration": this.generation}
    state, reason, message = _state(spec, job, pods, refused)
    ended = _message(pods)
    results = _results({**progress, **ended} if state in ("Complete", "Failed") else {**ended, **progress})
    findings = [
        Finding("Suspended", truth(state == "Suspended"), *_why(state, "Suspended", reason, message)),
        Finding("Running", truth(state == "Running"), *_why(state, "Running", reason, message)),
        Finding("Complete", truth(state == "Complete"), *_why(state, "Complete", reason, message)),
        Finding("Failed", truth(state == "Failed"), *_why(state, "Failed", reason, message)),
    ]
    status: Status = {
        **{name: previous[name] for name in previous if name not in ("conditions", "observedGeneration")},
        "observedGeneration": this.generation,
        "conditions": this.conditions(findings),
        "state": state,
        "message": short(message),
    }
    if job is not None:
        status["jobName"] = job.ref.name
        if "startTime" in job.status or "startTime" in previous:
            status["startTime"] = previous.get("startTime") or job.status["startTime"]
    status |= {told: progress[name] for name, told in _PROGRESS.items() if progress.get(name) is not None}
    if state in ("Complete", "Failed"):
        status["completionTime"] = (job.status.get("completionTime") if job is not None else None) or this.now
        status.pop("etaSeconds", None)
    status |= results
    return status


def _why(state: str, aspect: str, reason: str, message: str) -> tuple[str, str]:
    """Returns reason and message of one condition: those of the state where it is about it, else which state holds."""
    if state == aspect or (aspect == "Running" and state == "Pending"):
        return reason, message
    return state, f"the job is {state.lower()}"


def _state(
    spec: FinetuneJobSpec, job: Child | None, pods: Sequence[Child], refused: Sequence[Refusal]
) -> tuple[str, str, str]:
    """Returns the state in one word, the reason in one word, and the reason for people."""
    held = {}
    if job is not None:
        held = {each["type"]: each for each in job.status.get("conditions", ()) if each["status"] == "True"}
    if held.keys() & {"Complete", "Failed"} and not _all_ended(pods):
        answer = ("Running", "Ending", "the Job has ended, its pod's last word is on the way")
    elif "Complete" in held:
        answer = ("Complete", "Published" if _published(pods) else "Done", _outcome(pods))
    elif "Failed" in held:
        told = _message(pods)
        reason = str(told.get("reason") or held["Failed"].get("reason") or "Failed")
        answer = ("Failed", reason, str(told.get("error") or held["Failed"].get("message") or "the Job has failed"))
    elif refused:
        answer = ("Pending", refused[0].reason, "; ".join(refusal.message for refusal in refused))
    elif spec.suspend and (job is None or "Suspended" in held):
        answer = ("Suspended", "SuspendedByUser", "spec.suspend is true; checkpoints are kept")
    elif job is None:
        answer = ("Pending", "NotCreated", "the Job is not created yet")
    elif "Suspended" in held:
        answer = ("Suspended", "Queued", f"waits for admission by Kueue's queue {spec.queue_name!r}")
    elif job.status.get("ready"):
        answer = ("Running", "Training", "a pod is training")
    else:
        answer = ("Pending", *_pending(spec, pods))
    return answer


def _pending(spec: FinetuneJobSpec, pods: Sequence[Child]) -> tuple[str, str]:
    cause = of_pods(pods)
    if cause is not None:
        return cause.reason, cause.message
    gpu = f", {spec.gpu.count} {spec.gpu.resource}" if spec.gpu.count else ""
    return "Starting", f"a pod is starting{gpu}"


def _all_ended(pods: Sequence[Child]) -> bool:
    """Returns whether no pod is left whose end hasn't been seen: the watch of Jobs may be ahead of that of pods."""
    return all(pod.status.get("phase") in ("Succeeded", "Failed") for pod in pods)


def _terminated(pods: Sequence[Child]) -> list[Mapping[str, Any]]:
    """Returns the ends of containers, newest first."""
    ends = [
        container["state"]["terminated"]
        for pod in pods
        for container in pod.status.get("containerStatuses", ())
        if "terminated" in container.get("state", {})
    ]
    return sorted(ends, key=lambda end: str(end.get("finishedAt", "")), reverse=True)


def _message(pods: Sequence[Child]) -> Mapping[str, Any]:
    """Returns what the newest ended pod said, as the finetune service writes it to its termination log."""
    for end in _terminated(pods):
        try:
            told = json.loads(end.get("message") or "")
        except ValueError:
            text = str(end.get("message") or "").strip()
            return {"error": text.splitlines()[-1]} if text else {}
        return told if isinstance(told, dict) else {}
    return {}


def _published(pods: Sequence[Child]) -> str:
    return str(_message(pods).get("published_model") or "")


def _outcome(pods: Sequence[Child]) -> str:
    told = _message(pods)
    return str(told.get("message") or (f"published as {_published(pods)}" if _published(pods) else "has ended"))


def _results(told: Mapping[str, Any]) -> Status:
    status: Status = {}
    for stage in ("before", "after"):
        scores = told.get(stage)
        if isinstance(scores, dict) and "f1" in scores:
            names = {"f1": "f1", "exact_match": "exactMatch", "valid": "valid"}
            status[stage] = {new: scores[name] for name, new in names.items() if scores.get(name) is not None}
    names = {
        "published_model": "publishedModel",
        "published_repository": "publishedRepository",
        "step": "step",
        "total_steps": "totalSteps",
        "loss": "loss",
    }
    status |= {new: told[name] for name, new in names.items() if told.get(name) not in (None, "")}
    return status
