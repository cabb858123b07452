"""From what is there to what is told: a pipeline's conditions and status. Pure.

The status changes only with what it says: no timestamps of looking, no counters. So a pipeline at rest is written
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from pricecast_core.messages import Prediction
from pricecast_core.services import NEWS_SIGNAL, TRAIN
from pricecast_core.stores.models import ModelVersion, model_name
from pricecast_core.values import namespace_and_name, slug
from pricecast_operator.cluster.objects import Child, Refusal
from pricecast_operator.observe.observed import Observed, Problem
from pricecast_operator.render import labels
from pricecast_operator.render.pipeline import is_job, replicas, scales_itself
from pricecast_operator.status.causes import Cause, by_process, of_newest, of_pods, of_rollout, short
from pricecast_operator.status.conditions import NOT_SEEN_YET, Finding, Round, truth
from pricecast_resources.plan import Plan, ServiceProcess
from pricecast_resources.pricepipeline import PricePipelineSpec

Status = dict[str, Any]

PAUSED = Finding(
    "Progressing", "False", "Paused", "the annotation pricecast.dev/paused is true: objects are left as they are"
)
SUSPENDED = Finding("Predicting", "False", "Suspended", "spec.suspend is true; nothing is predicted")
SCALED_TO_ZERO = "ScaledToZero"
EARLIER_DATA = "EarlierData"
"""Condition of a pipeline whose data of an earlier version nobody reads any more."""
KAFKA_UNREACHABLE = "KafkaUnreachable"
_STALE_SECONDS = 60
"""How long after its target time a forecast may be the newest: the store is looked at now and then only."""
_TOLD_AT_MOST, _MODELS_AT_MOST = 10, 512
NAIVE = "the naive forecast serves meanwhile"


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


def pipeline_status(
    spec: PricePipelineSpec,
    plan: Plan,
    children: Mapping[str, Child],
    observed: Observed,
    this: Round,
    *,
    refused: Sequence[Refusal] = (),
    pods: Iterable[Child] = (),
    paused: bool = False,
    warned: Mapping[str, Cause] | None = None,
) -> Status:
    """Returns the status of a pipeline.

    Args:
        spec: Its spec.
        plan: Its plan.
        children: Its Deployments, Jobs and CronJobs, by process.
        observed: What was seen outside of the API server.
        this: The round: generation, status so far, time.
        refused: Objects that can't be as they should be, and why.
        pods: Its pods.
        paused: Whether its objects are left as they are.
        warned: Causes that only events tell, by the uid of the Job or pod.
    """
    pods_of = by_process(pods)
    states = [
        process_state(
            process,
            children.get(process.name),
            spec,
            pods_of.get(process.name, ()),
            warned or {},
            lacking=observed.lacking.get(process.name, ""),
        )
        for process in plan.processes
    ]
    topics = this.remembered(_topics(observed))
    model = this.remembered(_model(spec, plan, states, observed))
    predicting = this.remembered(_predicting(spec, observed, this.now))
    ready = _ready(spec, states, topics, refused)
    degraded = this.remembered(_degraded(spec, states, (topics, model, predicting), refused))
    findings = [
        ready,
        PAUSED if paused else _progressing(states),
        degraded,
        topics,
        model,
        SUSPENDED if spec.suspend else predicting,
        *(state.finding for state in states if _has_condition(state.process)),
    ]
    beyond = _beyond_partitions(spec, plan)
    earlier = _earlier(plan, observed) if observed.topics_seen else this.told(EARLIER_DATA)
    asides = (beyond, earlier, _pinned(spec, plan, observed))
    findings += [this.remembered(finding) for finding in asides if finding is not None]
    status: Status = {
        "observedGeneration": this.previous.get("observedGeneration", 0) if paused else this.generation,
        "conditions": this.conditions(findings),
        "services": _services(states, observed, this.previous),
        "partitions": spec.partitions,
        "replicas": min(
            (_number(children.get(process.name), "replicas") for process in plan.processes if process.service.scalable),
            default=0,
        ),
        "selector": f"{labels.PIPELINE}={namespace_and_name(plan.pipeline)[1]},{labels.SCALABLE}=true",
    }
    status |= _models(spec, plan, observed, this.previous)
    status |= _last_prediction(spec, observed, this.previous)
    lags = [service["lag"] for service in status["services"] if "lag" in service]
    if lags:
        status["lag"] = sum(lags)
    if not (ready.holds and degraded.status != "True"):
        status["message"] = short(degraded.message if ready.holds else ready.message)
    elif beyond is not None:
        status["message"] = short(beyond.message)
    if spec.news is not None:
        reader = plan.process(NEWS_SIGNAL.name)
        status["newsModel"] = str(getattr(reader.settings, "model", ""))
    return status


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
        left = _number(child, "replicas") + _number(child, "active")
        how = _How(False, "Suspended", "Suspended", "spec.suspend is true", moving=left > 0)
    else:
        told = next((warned[each.uid] for each in (child, *pods) if each.uid in warned), None)
        how = (
            _job_state(child, pods, told)
            if is_job(process)
            else _deployment_state(child, _wanted(child, process, spec), pods, told, lacking)
        )
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
    if _number(child, "ready"):
        return _How(True, "Running", "Running", "is running")
    if cause is not None:
        return _How(False, "Pending", cause.reason, cause.message, cause=cause)
    return _How(False, "Pending", "Pending", "has no pod that runs yet")


def _deployment_state(child: Child, wanted: int, pods: Sequence[Child], warned: Cause | None, lacking: str) -> _How:
    current = int(child.status.get("observedGeneration") or 0) >= child.generation
    ready, updated = _number(child, "availableReplicas"), _number(child, "updatedReplicas")
    total = _number(child, "replicas")
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


def _topics(observed: Observed) -> Finding:
    if not observed.topics_seen and observed.kafka is None:
        return Finding("TopicsReady", "Unknown", NOT_SEEN_YET, "Kafka has not been asked yet")
    away = observed.kafka or observed.topics
    if away is not None and away.reason == KAFKA_UNREACHABLE:
        return Finding("TopicsReady", "Unknown", away.reason, away.message)
    if observed.topics is not None:
        return Finding("TopicsReady", "False", observed.topics.reason, observed.topics.message)
    return Finding("TopicsReady", "True", "AsPlanned", "all topics exist")


def _model(spec: PricePipelineSpec, plan: Plan, states: Sequence[ProcessState], observed: Observed) -> Finding:
    if not isinstance(observed.models, Mapping):
        unseen = observed.models or Problem(NOT_SEEN_YET, "the model registry has not been asked yet")
        return Finding("ModelReady", "Unknown", unseen.reason, unseen.message)
    wanted = _model_names(spec, plan)
    found = [name for name in wanted if name in observed.models]
    if len(found) == len(wanted):
        return Finding("ModelReady", "True", "Promoted", "every pair and horizon has a model that beats naive")
    share = f"{len(found)} of {len(wanted)} models are in production"
    # Of several that share the pairs, the one that is worst off.
    train = min((state for state in states if state.process.declared == TRAIN.name), key=_training_rank)
    if train.text == "Complete":
        return Finding("ModelReady", "False", "NotBetterThanNaive", f"{share}; {NAIVE}, and training goes on")
    if train.text in ("Failed", "Suspended"):
        return Finding("ModelReady", "False", f"Training{train.text}", f"{share}; {train.finding.message}; {NAIVE}")
    if train.cause is not None:
        return Finding("ModelReady", "False", train.cause.reason, f"{share}; train: {train.cause.message}; {NAIVE}")
    told = observed.waits_for or f"trains once {spec.training.min_rows} rows of each pair are stored"
    return Finding(
        "ModelReady", "False", "WarmingUp" if observed.waits_for else "Training", f"{share}; {told}; {NAIVE}"
    )


def _training_rank(state: ProcessState) -> int:
    if state.text in ("Failed", "Suspended"):
        return 0
    if state.text == "Complete":
        return 3
    return 1 if state.cause is not None else 2


def _predicting(spec: PricePipelineSpec, observed: Observed, now: str) -> Finding:
    if observed.predictions is None:
        return Finding("Predicting", "Unknown", NOT_SEEN_YET, "the prediction store has not been asked yet")
    if isinstance(observed.predictions, Problem):
        return Finding("Predicting", "Unknown", observed.predictions.reason, observed.predictions.message)
    if not observed.predictions:
        return Finding("Predicting", "False", "NoPredictionYet", "nothing is predicted yet")
    if spec.source.replay is None and spec.source.mode != "Historical":  # else the market's time isn't ours
        patience_ms = 1000 * (_STALE_SECONDS + 2 * spec.candles.seconds)
        now_ms = datetime.fromisoformat(now).timestamp() * 1000
        newest = {
            (each.pair, each.horizon_seconds): each
            for each in sorted(observed.predictions, key=lambda each: each.target_time_ms)
            if each.pair in spec.pairs and each.horizon_seconds in spec.prediction.horizons_seconds
        }
        over = [each for each in newest.values() if each.target_time_ms + patience_ms < now_ms]
        if over:
            which = _some(
                f"{each.pair} over {each.horizon_seconds} s was for {rfc3339(each.target_time_ms)}" for each in over
            )
            return Finding("Predicting", "False", "Stale", f"the newest forecast of {which}: none has followed")
    return Finding("Predicting", "True", "Predicted", "predictions are in the store")


def _some(texts: Iterable[str]) -> str:
    """Returns the first of some texts, and how many more there are."""
    found = list(texts)
    more = len(found) - _TOLD_AT_MOST
    return ", ".join(found[:_TOLD_AT_MOST]) + (f" and {more} more" if more > 0 else "")


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


def _pinned(spec: PricePipelineSpec, plan: Plan, observed: Observed) -> Finding | None:
    """Returns what is told of a pinned version: whether it serves, as predictions name it."""
    pinned = spec.models.pinned
    if pinned is None:
        return None
    if not isinstance(observed.models, Mapping):
        return Finding("ModelPinned", "Unknown", NOT_SEEN_YET, "no prediction has been seen yet")
    serving = {
        f"{pair} over {horizon} s": observed.models[name].version if name in observed.models else 0
        for name, (pair, horizon) in _model_names(spec, plan).items()
    }
    others = [f"{what}: {version or 'the naive forecast'}" for what, version in serving.items() if version != pinned]
    if not others:
        return Finding("ModelPinned", "True", "Pinned", f"version {pinned} serves, whatever is promoted")
    told = f"version {pinned} does not serve yet, or there is none: {_some(others)} serves"
    return Finding("ModelPinned", "False", "OtherVersionServes", told)


def _earlier(plan: Plan, observed: Observed) -> Finding | None:
    """Returns what is told of data under the pipeline's name alone, as an earlier version kept it."""
    if not observed.earlier:
        return None
    told = (
        f"topics {', '.join(observed.earlier)} are of an earlier version and not read: the pipeline has begun anew as "
        f"{plan.pipeline}; delete them, and the tables and predictions of that name, once nothing else uses them"
    )
    return Finding(EARLIER_DATA, "True", "NamedWithoutNamespace", told)


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


def _model_names(spec: PricePipelineSpec, plan: Plan) -> dict[str, tuple[str, int]]:
    """Returns pair and horizon of each model that the pipeline wants, by the model's name."""
    return {
        model_name(plan.pipeline, slug(pair), horizon): (pair, horizon)
        for pair in spec.pairs
        for horizon in spec.prediction.horizons_seconds
    }


def _models(spec: PricePipelineSpec, plan: Plan, observed: Observed, previous: Mapping[str, Any]) -> Status:
    if not isinstance(observed.models, Mapping):
        return {name: previous[name] for name in ("models", "model", "skill") if name in previous}
    wanted = _model_names(spec, plan)
    found = {name: observed.models[name] for name in wanted if name in observed.models}
    models = [_model_status(version, *wanted[name]) for name, version in found.items()]
    if not models:
        return {"model": "naive"}
    status: Status = {"models": models[:_MODELS_AT_MOST], "model": f"v{models[0]['version']}"}
    if len(wanted) > 1:
        status["model"] = f"{len(models)} of {len(wanted)}"
    skills = [model["distributionSkill"] for model in models if "distributionSkill" in model]
    if skills:
        status["skill"] = f"{100 * min(skills):.1f}%"
    return status


def _model_status(version: ModelVersion, pair: str, horizon: int) -> dict[str, Any]:
    status: dict[str, Any] = {
        "name": version.model_name,
        "pair": pair,
        "horizonSeconds": horizon,
        "version": version.version,
        "trainedThrough": rfc3339(version.trained_through_ms),
    }
    for field, metric in (("distributionSkill", "distribution_skill"), ("pointSkill", "point_skill")):
        if metric in version.metrics:
            status[field] = round(version.metrics[metric], 6)
    return status


def _last_prediction(spec: PricePipelineSpec, observed: Observed, previous: Mapping[str, Any]) -> Status:
    if not isinstance(observed.predictions, Sequence):
        return {"lastPrediction": previous["lastPrediction"]} if "lastPrediction" in previous else {}
    newest: Prediction | None = max(
        observed.predictions,
        key=lambda each: (each.issued_at_ms, each.pair == spec.pairs[0], -each.horizon_seconds),
        default=None,
    )
    if newest is None:
        return {}
    return {
        "lastPrediction": {
            "pair": newest.pair,
            "horizonSeconds": newest.horizon_seconds,
            "issuedAt": rfc3339(newest.issued_at_ms),
            "targetTime": rfc3339(newest.target_time_ms),
            "predictedPrice": newest.predicted_price,
            "lower": newest.lower,
            "upper": newest.upper,
            "model": newest.model_name,
        }
    }


def rfc3339(milliseconds: int) -> str:
    """Returns a time as Kubernetes writes it."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _number(child: Child | None, field: str) -> int:
    return int(child.status.get(field) or 0) if child is not None else 0
