"""What is told of what lies outside of the API server: topics, models, predictions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pricecast_core.messages import Prediction
from pricecast_core.services import TRAIN
from pricecast_core.stores.models import ModelVersion, model_name
from pricecast_core.values import DRIFT_SHARE, namespace_and_name, slug
from pricecast_operator.observe.observed import Observed, Problem, Registered
from pricecast_operator.status.causes import short
from pricecast_operator.status.conditions import NOT_SEEN_YET, Finding
from pricecast_operator.status.processes import ProcessState
from pricecast_resources.plan import Plan
from pricecast_resources.pricepipeline import PricePipelineSpec

Status = dict[str, Any]

EARLIER_DATA = "EarlierData"
"""Condition of a pipeline whose data of an earlier version nobody reads any more."""
KAFKA_UNREACHABLE = "KafkaUnreachable"
NO_SUCH_VERSION = "NoSuchVersion"
QUALITY = ("BeatsNaive", "InDistribution", "FeaturesDrifting")
"""Conditions that the newest forecasts tell of."""
_RECOVERED_SKILL, _RECOVERED_DRIFT, _RECOVERED_DISTANCE = 0.0025, 0.2, 0.8
"""From which a model beats naive again, and up to which features no longer drift and a market is near again."""
_FAR_SHARE = 0.1
"""Of many forecasts one is far from the training at any time: so many at once say something of the market."""
_STALE_SECONDS = 60
"""How long after its target time a forecast may be the newest: the store is looked at now and then only."""
_TOLD_AT_MOST, _MODELS_AT_MOST = 10, 512
_HISTORY_AT_MOST, _REASON_CHARACTERS = 20, 200
NAIVE = "the naive forecast serves meanwhile"


def topics_finding(observed: Observed) -> Finding:
    """Returns whether the topics are as planned."""
    if not observed.topics_seen and observed.kafka is None:
        return Finding("TopicsReady", "Unknown", NOT_SEEN_YET, "Kafka has not been asked yet")
    away = observed.kafka or observed.topics
    if away is not None and away.reason == KAFKA_UNREACHABLE:
        return Finding("TopicsReady", "Unknown", away.reason, away.message)
    if observed.kafka is not None:
        return Finding("TopicsReady", "Unknown", observed.kafka.reason, observed.kafka.message)
    if observed.topics is not None:
        return Finding("TopicsReady", "False", observed.topics.reason, observed.topics.message)
    return Finding("TopicsReady", "True", "AsPlanned", "all topics exist")


def model_finding(spec: PricePipelineSpec, plan: Plan, states: Sequence[ProcessState], observed: Observed) -> Finding:
    """Returns whether every pair and horizon has a model."""
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


def predicting_finding(spec: PricePipelineSpec, observed: Observed, now: str) -> Finding:
    """Returns whether predictions are made, and of now."""
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


def quality_findings(
    spec: PricePipelineSpec, predictions: Sequence[Prediction], told: Callable[[str], Finding | None]
) -> list[Finding]:
    """Returns what the newest forecasts say of themselves: worse than naive, far from the training, features that drift.

    How much by is for metrics and the API: figures that move would be written again and again. For the same reason a
    condition that tells of trouble holds until it is over by a margin.

    Args:
        spec: The pipeline.
        predictions: Its newest forecasts.
        told: Returns what was told of an aspect before.
    """
    wanted = spec.prediction.horizons_seconds
    newest = [each for each in predictions if each.pair in spec.pairs and each.horizon_seconds in wanted]
    found = [
        _beats_naive([each for each in newest if each.live_skill is not None], told("BeatsNaive")),
        _in_distribution([each for each in newest if each.distance is not None], told("InDistribution")),
        _drifting([each for each in newest if each.drift is not None], told("FeaturesDrifting")),
    ]
    return [each for each in found if each is not None]


def _beats_naive(known: Sequence[Prediction], before: Finding | None) -> Finding | None:
    least = _RECOVERED_SKILL if before is not None and before.status == "False" else 0.0
    if worse := [each for each in known if (each.live_skill or 0) < least]:
        what = _whats(worse)
        return Finding(
            "BeatsNaive", "False", "WorseThanNaive", f"over the newest scores not clearly better than naive: {what}"
        )
    message = "over its newest scores every model was better than naive"
    return Finding("BeatsNaive", "True", "BetterThanNaive", message) if known else None


def _in_distribution(known: Sequence[Prediction], before: Finding | None) -> Finding | None:
    most = _RECOVERED_DISTANCE if before is not None and before.status == "False" else 1.0
    far = [each for each in known if max(each.distance or 0, each.volatility or 0) > most]
    if abstained := [each for each in known if each.abstained]:
        what = "the market is so far from what the models learned from that they abstain"
        found = Finding("InDistribution", "False", "Abstains", f"{what}, at first for {_whats(abstained)}")
    elif far and len(far) >= _FAR_SHARE * len(known):
        what = "the market is like hardly anything that the models learned from"
        found = Finding("InDistribution", "False", "FarFromTraining", f"{what}, at first for {_whats(far)}")
    else:
        message = "the market is like what the models learned from"
        return Finding("InDistribution", "True", "LikeTheTraining", message) if known else None
    # Which forecasts are far changes with each candle: those are named that were when it began.
    return before if before is not None and before.reason == found.reason else found


def _drifting(known: Sequence[Prediction], before: Finding | None) -> Finding | None:
    least = _RECOVERED_DRIFT if before is not None and before.holds else DRIFT_SHARE
    if moved := [each for each in known if (each.drift or 0) >= least]:
        message = f"many features are distributed otherwise than in the training: {_whats(moved)}"
        return Finding("FeaturesDrifting", "True", "Drifting", message)
    message = "the features are distributed as in the training"
    return Finding("FeaturesDrifting", "False", "LikeTheTraining", message) if known else None


def _whats(predictions: Iterable[Prediction]) -> str:
    return _some(_what(each.pair, each.horizon_seconds) for each in predictions)


def pinned_finding(spec: PricePipelineSpec, plan: Plan, observed: Observed) -> Finding | None:
    """Returns what is told of a pinned version: whether it exists, and whether it serves, as predictions name it."""
    pinned = spec.models.pinned
    if pinned is None:
        return None
    wanted = _model_names(spec, plan)
    newest = observed.registered.newest if isinstance(observed.registered, Registered) else None
    absent = (
        {name: newest.get(name, 0) for name in wanted if newest.get(name, 0) < pinned} if newest is not None else {}
    )
    if absent:
        has = _some(
            f"{_what(*wanted[name])} {f'has 1 to {most}' if most else 'has none yet'}" for name, most in absent.items()
        )
        told = (
            f"version {pinned} is not in the model registry: {has}; pin a version that is, or remove spec.models.pinned"
        )
        return Finding("ModelPinned", "False", NO_SUCH_VERSION, told)
    unseen = observed.registered is None and spec.storage.models.kind == "SQL"
    if unseen or not isinstance(observed.models, Mapping):
        return Finding("ModelPinned", "Unknown", NOT_SEEN_YET, "models and predictions have not been looked at yet")
    serving = {
        _what(*what): observed.models[name].version if name in observed.models else 0 for name, what in wanted.items()
    }
    others = [f"{what}: {version or 'the naive forecast'}" for what, version in serving.items() if version != pinned]
    if not others:
        return Finding("ModelPinned", "True", "Pinned", f"version {pinned} serves, whatever is promoted")
    told = f"version {pinned} does not serve yet{'' if newest else ', or there is none'}: {_some(others)} serves"
    return Finding("ModelPinned", "False", "OtherVersionServes", told)


def changes(previous: Mapping[str, Any], status: Mapping[str, Any]) -> list[dict[str, str]]:
    """Returns the changes of versions that a status tells of and the one before didn't, the oldest first, for events."""
    if "modelHistory" not in previous:
        return []  # what happened before anyone looked is in the status, and no news
    new = [each for each in status.get("modelHistory", []) if each not in previous["modelHistory"]]
    return [
        {
            "type": f"Model{each['change']}",
            "status": "True",
            "reason": f"Model{each['change']}",
            "message": f"{_what(each['pair'], each['horizonSeconds'])}: version {each['version']}, after "
            f"{each['formerVersion'] or 'the naive forecast'}: {each['reason']}",
        }
        for each in reversed(new)
    ]


def _what(pair: str, horizon: int) -> str:
    return f"{pair} over {horizon} s"


def earlier_finding(plan: Plan, observed: Observed) -> Finding | None:
    """Returns what is told of data under the pipeline's name alone, as an earlier version kept it."""
    name = namespace_and_name(plan.pipeline)[1]
    models = observed.registered.earlier if isinstance(observed.registered, Registered) else ()
    found = [
        *([f"topics {', '.join(observed.earlier)}"] if observed.earlier else []),
        *([f"models {_some(models)}"] if models else []),
        *([f"predictions of pipeline {name}"] if observed.earlier_predictions else []),
    ]
    if not found:
        return None
    told = (
        f"{'; '.join(found)}: of an earlier version and not read, as are tables {name}_...; the pipeline has begun anew as "
        f"{plan.pipeline}; delete them once nothing else uses them"
    )
    return Finding(EARLIER_DATA, "True", "NamedWithoutNamespace", told)


def models_status(spec: PricePipelineSpec, plan: Plan, observed: Observed, previous: Mapping[str, Any]) -> Status:
    """Returns what is told of the models that serve."""
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


def model_history(spec: PricePipelineSpec, plan: Plan, observed: Observed, previous: Mapping[str, Any]) -> Status:
    """Returns which versions have followed each other, the newest first."""
    if not isinstance(observed.registered, Registered):
        return {name: previous[name] for name in ("modelHistory",) if name in previous}
    wanted = _model_names(spec, plan)
    history = [
        {
            "pair": wanted[each.model_name][0],
            "horizonSeconds": wanted[each.model_name][1],
            "version": each.version,
            "formerVersion": each.former,
            "change": "RolledBack" if each.version < each.former else "Promoted",
            "time": rfc3339(each.at_ms),
            "reason": short(each.reason, _REASON_CHARACTERS),
        }
        for each in observed.registered.promotions[:_HISTORY_AT_MOST]
    ]
    return {"modelHistory": history} if history else {}


def last_prediction_status(spec: PricePipelineSpec, observed: Observed, previous: Mapping[str, Any]) -> Status:
    """Returns what is told of the newest prediction."""
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


def _model_names(spec: PricePipelineSpec, plan: Plan) -> dict[str, tuple[str, int]]:
    """Returns pair and horizon of each model that the pipeline wants, by the model's name."""
    return {
        model_name(plan.pipeline, slug(pair), horizon): (pair, horizon)
        for pair in spec.pairs
        for horizon in spec.prediction.horizons_seconds
    }


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


def _some(texts: Iterable[str]) -> str:
    """Returns the first of some texts, and how many more there are."""
    found = list(texts)
    more = len(found) - _TOLD_AT_MOST
    return ", ".join(found[:_TOLD_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def rfc3339(milliseconds: int) -> str:
    """Returns a time as Kubernetes writes it."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
