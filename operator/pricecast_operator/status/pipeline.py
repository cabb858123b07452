"""From what is there to what is told: a pipeline's conditions and status. Pure.

The status changes only with what it says: no timestamps of looking, no counters. So a pipeline at rest is written
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pricecast_core.services import NEWS_SIGNAL
from pricecast_core.values import namespace_and_name
from pricecast_operator.cluster.objects import Child, Refusal
from pricecast_operator.observe.observed import Observed, Problem
from pricecast_operator.render import labels
from pricecast_operator.status.causes import Cause, by_process, short
from pricecast_operator.status.conditions import NOT_SEEN_YET, Finding, Round
from pricecast_operator.status.processes import SCALED_TO_ZERO, ProcessState, number, process_state
from pricecast_operator.status.seen import (
    EARLIER_DATA,
    KAFKA_UNREACHABLE,
    NO_SUCH_VERSION,
    QUALITY,
    Status,
    earlier_finding,
    last_prediction_status,
    model_finding,
    model_history,
    models_status,
    pinned_finding,
    predicting_finding,
    quality_findings,
    topics_finding,
)
from pricecast_resources.plan import Plan, ServiceProcess
from pricecast_resources.pricepipeline import PricePipelineSpec

PAUSED = Finding(
    "Progressing", "False", "Paused", "the annotation pricecast.dev/paused is true: objects are left as they are"
)
SUSPENDED = Finding("Predicting", "False", "Suspended", "spec.suspend is true; nothing is predicted")


@dataclass(frozen=True, slots=True)
class Objects:
    """A pipeline's objects in the cluster, as they are.

    Attributes:
        children: Its Deployments, Jobs and CronJobs, by process.
        pods: Its pods.
        refused: Objects that can't be as they should be, and why.
        warned: Causes that only events tell, by the uid of the Job or pod.
        paused: Whether its objects are left as they are.
    """

    children: Mapping[str, Child]
    pods: Iterable[Child] = ()
    refused: Sequence[Refusal] = ()
    warned: Mapping[str, Cause] = field(default_factory=dict)
    paused: bool = False


def invalid_status(this: Round, reason: str, message: str) -> Status:
    """Returns the status of a pipeline that can't be acted on; what runs is left as it is."""
    findings = [
        Finding("Ready", "False", reason, message),
        Finding("Progressing", "False", reason, "nothing is changed"),
        Finding("Degraded", "True", reason, message),
    ]
    told = {finding.type for finding in findings}
    others = [each for each in this.previous.get("conditions", []) if each["type"] not in told]
    conditions = [*this.conditions(findings), *others]
    return {**this.previous, "message": short(message), "observedGeneration": this.generation, "conditions": conditions}


def pipeline_status(spec: PricePipelineSpec, plan: Plan, objects: Objects, observed: Observed, this: Round) -> Status:
    """Returns the status of a pipeline.

    Args:
        spec: Its spec.
        plan: Its plan.
        objects: Its objects.
        observed: What was seen outside of the API server.
        this: The round: generation, status so far, time.
    """
    children, refused = objects.children, objects.refused
    pods_of = by_process(objects.pods)
    states = [
        process_state(
            process,
            children.get(process.name),
            spec,
            pods_of.get(process.name, ()),
            objects.warned,
            lacking=observed.lacking.get(process.name, ""),
        )
        for process in plan.processes
    ]
    topics = this.remembered(topics_finding(observed))
    model = this.remembered(model_finding(spec, plan, states, observed))
    predicting = this.remembered(predicting_finding(spec, observed, this.now))
    ready = _ready(spec, states, topics, refused)
    degraded = this.remembered(_degraded(spec, states, (topics, model, predicting), refused))
    findings = [
        ready,
        PAUSED if objects.paused else _progressing(states),
        degraded,
        topics,
        model,
        SUSPENDED if spec.suspend else predicting,
        *(state.finding for state in states if _has_condition(state.process)),
    ]
    beyond = _beyond_partitions(spec, plan)
    all_seen = observed.topics_seen and observed.predictions is not None
    earlier = earlier_finding(plan, observed) if all_seen else this.told(EARLIER_DATA)
    pinned = pinned_finding(spec, plan, observed)
    asides = (beyond, earlier, pinned)
    findings += [this.remembered(finding) for finding in asides if finding is not None]
    if isinstance(observed.predictions, Sequence):
        findings += quality_findings(spec, observed.predictions, this.told)
    else:
        findings += [told for kind in QUALITY if (told := this.told(kind)) is not None]
    status: Status = {
        "observedGeneration": this.previous.get("observedGeneration", 0) if objects.paused else this.generation,
        "conditions": this.conditions(findings),
        "services": _services(states, observed, this.previous),
        "partitions": spec.partitions,
        "replicas": min(
            (number(children.get(process.name), "replicas") for process in plan.processes if process.service.scalable),
            default=0,
        ),
        "selector": f"{labels.PIPELINE}={namespace_and_name(plan.pipeline)[1]},{labels.SCALABLE}=true",
    }
    status |= models_status(spec, plan, observed, this.previous)
    status |= model_history(spec, plan, observed, this.previous)
    status |= last_prediction_status(spec, observed, this.previous)
    lags = [service["lag"] for service in status["services"] if "lag" in service]
    if lags:
        status["lag"] = sum(lags)
    if not (ready.holds and degraded.status != "True"):
        status["message"] = short(degraded.message if ready.holds else ready.message)
    elif pinned is not None and pinned.reason == NO_SUCH_VERSION:
        status["message"] = short(pinned.message)
    elif beyond is not None:
        status["message"] = short(beyond.message)
    if spec.news is not None:
        reader = plan.process(NEWS_SIGNAL.name)
        status["newsModel"] = str(getattr(reader.settings, "model", ""))
    return status


def _ready(
    spec: PricePipelineSpec, states: Sequence[ProcessState], topics: Finding, refused: Sequence[Refusal]
) -> Finding:
    if refused:
        return Finding("Ready", "False", refused[0].reason, "; ".join(refusal.message for refusal in refused))
    if spec.suspend:
        return Finding("Ready", "False", "Suspended", "spec.suspend is true; all state is kept")
    if topics.reason == KAFKA_UNREACHABLE:
        return Finding("Ready", "False", topics.reason, topics.message)
    waiting = [state for state in _needed(states) if not state.finding.holds]
    if waiting and topics.status == "False" and topics.reason != "PartitionsDiffer":
        return Finding("Ready", "False", topics.reason, topics.message)
    # What has a cause is told first: the others may wait for nothing but that.
    waiting.sort(key=lambda state: state.cause is None)
    if waiting:
        told = "; ".join(f"{state.process.name}: {state.finding.message}" for state in waiting)
        first = waiting[0]
        named = first.cause is not None or first.finding.reason == SCALED_TO_ZERO
        return Finding("Ready", "False", first.finding.reason if named else "ServicesNotReady", told)
    return Finding("Ready", "True", "ServicesReady", "all services of the price path are ready")


def _beyond_partitions(spec: PricePipelineSpec, plan: Plan) -> Finding | None:
    """Returns what is told of more replicas than partitions: they would have nothing to do, so they are not made."""
    shares = [process for process in plan.processes if process.service.scalable]
    wanted = {process.name: spec.wanted_replicas(process.name)[1] for process in shares}
    most = spec.partitions
    beyond = sorted(name for name, number in wanted.items() if number > most)
    if not beyond or spec.suspend:
        return None
    told = f"{max(wanted.values())} replicas are wanted; {most} run at most, one for each of the topics' partitions"
    return Finding("Scaled", "False", "PartitionsLimit", f"{told}: {', '.join(beyond)}")


def _progressing(states: Sequence[ProcessState]) -> Finding:
    moving = [state.process.name for state in states if state.moving]
    if moving:
        return Finding("Progressing", "True", "RollingOut", f"changing: {', '.join(moving)}")
    return Finding("Progressing", "False", "Settled", "everything is as the spec says")


def _degraded(
    spec: PricePipelineSpec, states: Sequence[ProcessState], looks: Sequence[Finding], refused: Sequence[Refusal]
) -> Finding:
    topics = looks[0]
    problems = [Finding("Degraded", "True", refusal.reason, refusal.message) for refusal in refused]
    problems += [topics] if topics.status == "False" else []
    problems += [finding for finding in looks if finding.status == "Unknown" and finding.reason != NOT_SEEN_YET]
    problems += [
        Finding("Degraded", "True", state.finding.reason, f"{state.process.name}: {state.finding.message}")
        for state in states
        if state.finding.reason in ("Unavailable", "RolloutStuck")  # an old pod that still serves hides nothing
    ]
    problems += [
        Finding("Degraded", "True", state.cause.reason, f"{state.process.name}: {state.cause.message}")
        for state in states
        if state.cause is not None
    ]
    problems += [
        Finding("Degraded", "True", f"{state.process.name.capitalize()}Failed", state.finding.message)
        for state in states
        if state.text == "Failed"
    ]
    if problems:
        message = "; ".join(problem.message for problem in problems)
        return Finding("Degraded", "True", problems[0].reason, message)
    unseen = [finding.message for finding in looks if finding.reason == NOT_SEEN_YET]
    if unseen:
        return Finding("Degraded", "Unknown", NOT_SEEN_YET, "; ".join(unseen))
    if spec.suspend:
        return Finding("Degraded", "False", "Suspended", "nothing runs, and nothing that was looked at is wrong")
    return Finding("Degraded", "False", "AsExpected", "Kafka, stores and pods were looked at; nothing is wrong")


def _needed(states: Sequence[ProcessState]) -> list[ProcessState]:
    """Returns what the price forecast can't do without."""
    return [state for state in states if _has_condition(state.process) and not state.process.service.optional]


def _has_condition(process: ServiceProcess) -> bool:
    return process.kind == "stream"


def _services(states: Sequence[ProcessState], observed: Observed, previous: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = {each["name"]: each["lag"] for each in previous.get("services", []) if "lag" in each}
    services = []
    for state in states:
        name = state.process.name
        service: dict[str, Any] = {"name": name, "ready": state.text}
        lag = None  # where it can't be known, nothing is told: no number is no zero
        if observed.lag is None:
            lag = told.get(name)
        elif not isinstance(observed.lag, Problem) and state.process.kind == "stream":
            lag = observed.lag.get(state.process.service.group)
        if lag is not None:
            service["lag"] = lag
        services.append(service)
    return services
