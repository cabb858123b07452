"""From what is there to what is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pricecast_core.messages import Prediction
from pricecast_core.news import lexicon
from pricecast_core.stores.models import ModelVersion, Promotion
from pricecast_operator.cluster.objects import Child, Ref, Refusal
from pricecast_operator.observe.observed import Observed, Problem, Registered
from pricecast_operator.render import labels
from pricecast_operator.render.backends import ClusterBackends
from pricecast_operator.status.conditions import Finding, Round, is_bad, merge, transitions
from pricecast_operator.status.finetune import finetune_status, is_finished
from pricecast_operator.status.pipeline import Objects, invalid_status, pipeline_status
from pricecast_operator.status.seen import changes
from pricecast_resources.finetunejob import FinetuneJobSpec
from pricecast_resources.plan import plan
from pricecast_resources.pricepipeline import Models, PricePipelineSpec
from pricecast_resources.status import FinetuneJobStatus, PricePipelineStatus
from tests.contracts.manifests import FINETUNE

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"
SPEC = PricePipelineSpec.model_validate({"pairs": ["BTC/USD"]})
PLAN = plan("btc", SPEC, ClusterBackends(SPEC.storage))
ALL_SEEN = Observed(topics_seen=True, lag={}, models={}, predictions=[])


def live(kind: str, process: str, status: dict[str, Any], **spec: Any) -> Child:
    metadata = {
        "name": f"btc-{process}",
        "namespace": "prices",
        "uid": process,
        "resourceVersion": "1",
        "generation": 1,
        "labels": {labels.PROCESS: process},
    }
    return Child.of({"kind": kind, "metadata": metadata, "spec": spec, "status": status})


def deployment(process: str, ready: int = 1, updated: int = 1, **status: Any) -> Child:
    return live(
        "Deployment",
        process,
        {"observedGeneration": 1, "replicas": 1, "updatedReplicas": updated, "availableReplicas": ready, **status},
    )


def children(**changes: Child) -> dict[str, Child]:
    streams = ("trades", "candles", "technical-indicators", "to-feature-store", "price-predictor")
    found = {process: deployment(process) for process in streams}
    found["train"] = live("Job", "train", {"ready": 1})
    found["retrain"] = live("CronJob", "retrain", {})
    return {**found, **{name.replace("_", "-"): child for name, child in changes.items()}}


def told(
    found: dict[str, Child],
    observed: Observed = ALL_SEEN,
    spec: PricePipelineSpec = SPEC,
    previous: Any = None,
    now: str = NOW,
) -> dict[str, Any]:
    planned = plan("btc", spec, ClusterBackends(spec.storage))
    status = pipeline_status(spec, planned, Objects(found), observed, Round(3, previous or {}, now))
    PricePipelineStatus.model_validate(status)  # what is written is what the CRD describes
    return status


def condition(status: dict[str, Any], kind: str) -> tuple[str, str]:
    found = next(each for each in status["conditions"] if each["type"] == kind)
    return found["status"], found["reason"]


def version(number: int = 3, skill: float = 0.028) -> ModelVersion:
    return ModelVersion(
        model_name="btc-btc-usd-300s",
        version=number,
        stage="production",
        reason="",
        created_at_ms=1_700_000_000_000,
        trained_through_ms=1_700_000_000_000,
        metrics={"distribution_skill": skill, "point_skill": 0.001},
    )


def prediction(minute: int) -> Prediction:
    time_ms = 1_700_000_000_000 + 60_000 * minute
    return Prediction(
        pipeline="btc",
        pair="BTC/USD",
        horizon_seconds=300,
        issued_at_ms=time_ms,
        target_time_ms=time_ms + 300_000,
        feature_time_ms=time_ms,
        last_price=50_000,
        predicted_price=50_010.0,
        lower=49_900.0,
        upper=50_100.0,
        model_name="naive",
        model_version=0,
    )


def test_all_ready() -> None:
    status = told(children())
    assert condition(status, "Ready") == ("True", "ServicesReady")
    assert condition(status, "Progressing") == ("False", "Settled")
    assert condition(status, "Degraded") == ("False", "AsExpected")
    assert condition(status, "ModelReady") == ("False", "Training")
    assert status["model"] == "naive"
    assert status["observedGeneration"] == 3


def test_nothing_created_yet() -> None:
    status = told({}, Observed())
    assert condition(status, "Ready") == ("False", "ServicesNotReady")
    assert condition(status, "TopicsReady") == ("Unknown", "NotSeenYet")
    assert condition(status, "Degraded") == ("Unknown", "NotSeenYet")  # all is well only once it was looked at


def test_a_service_that_is_not_ready_is_named() -> None:
    status = told(children(candles=deployment("candles", ready=0)))
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ServicesNotReady")
    assert ready["message"] == "candles: 0 of 1 pods are ready"
    assert condition(status, "CandlesReady") == ("False", "Starting")
    assert {"name": "candles", "ready": "0/1"} in status["services"]


def test_a_rolling_update_stays_ready_while_the_old_pod_serves() -> None:
    rolling = deployment("candles", ready=1, updated=0)
    status = told(children(candles=rolling))
    assert condition(status, "Ready")[0] == "True"
    assert condition(status, "Progressing") == ("True", "RollingOut")


def test_a_stuck_rollout_is_degraded() -> None:
    stuck = deployment(
        "candles",
        updated=0,
        conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
    )
    assert condition(told(children(candles=stuck)), "Degraded") == ("True", "RolloutStuck")


def test_news_are_optional() -> None:
    spec = PricePipelineSpec.model_validate({"pairs": ["BTC/USD"], "news": {"rss": {"urls": ["https://a.example/f"]}}})
    status = told(children(), spec=spec)
    assert condition(status, "Ready")[0] == "True"
    assert condition(status, "NewsReady") == ("False", "NotCreated")
    assert status["newsModel"] == lexicon.MODEL_NAME


def test_suspended() -> None:
    spec = PricePipelineSpec.model_validate({"pairs": ["BTC/USD"], "suspend": True})
    stopped = {name: live(child.ref.kind, name, {"observedGeneration": 1}) for name, child in children().items()}
    status = told(stopped, spec=spec)
    assert condition(status, "Ready") == ("False", "Suspended")
    assert condition(status, "Progressing")[0] == "False"


def test_unreachable_servers_are_conditions_with_reasons() -> None:
    observed = Observed(
        topics_seen=True,
        topics=Problem("KafkaUnreachable", "kafka:9092 can't be reached"),
        lag=Problem("KafkaUnreachable", "kafka:9092 can't be reached"),
        models=Problem("RegistryUnreachable", "no database"),
        predictions=Problem("ElasticsearchUnreachable", "no elasticsearch"),
    )
    status = told(children(), observed)
    assert condition(status, "TopicsReady") == ("Unknown", "KafkaUnreachable")
    assert condition(status, "ModelReady") == ("Unknown", "RegistryUnreachable")
    assert condition(status, "Predicting") == ("Unknown", "ElasticsearchUnreachable")
    assert condition(status, "Degraded") == ("True", "KafkaUnreachable")
    assert condition(status, "Ready") == ("False", "KafkaUnreachable")  # pods that run have nothing to do


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ({"ready": 1}, "Training"),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, "NotBetterThanNaive"),
        ({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}, "TrainingFailed"),
    ],
)
def test_why_there_is_no_model(job: dict[str, Any], reason: str) -> None:
    status = told(children(train=live("Job", "train", job)))
    assert condition(status, "ModelReady") == ("False", reason)


def test_model_skill_lag_and_last_prediction_are_told() -> None:
    observed = Observed(
        topics_seen=True,
        lag={"candles": 2, "to-feature-store-technical-indicators": 1, "price-predictor-train": 900},
        models={"btc-btc-usd-300s": version()},
        predictions=[prediction(0), prediction(7)],
    )
    status = told(children(), observed, now="2023-11-14T22:26:00Z")
    assert condition(status, "ModelReady") == ("True", "Promoted")
    assert condition(status, "Predicting") == ("True", "Predicted")
    assert (status["model"], status["skill"], status["lag"]) == ("v3", "2.8%", 3)
    assert status["lastPrediction"]["issuedAt"] == "2023-11-14T22:20:20Z"
    assert {"name": "candles", "ready": "1/1", "lag": 2} in status["services"]
    assert {"name": "to-feature-store", "ready": "1/1", "lag": 1} in status["services"]
    assert {"name": "train", "ready": "Running"} in status["services"]


def test_of_several_models_the_share_and_the_smallest_skill_are_told() -> None:
    spec = PricePipelineSpec.model_validate({"pairs": ["BTC/USD"], "prediction": {"horizonsSeconds": [300, 600]}})
    observed = Observed(topics_seen=True, models={"btc-btc-usd-300s": version()}, predictions=[])
    status = told(children(), observed, spec)
    assert status["model"] == "1 of 2"
    assert condition(status, "ModelReady")[0] == "False"


def test_what_can_not_be_seen_keeps_what_was_seen() -> None:
    seen = Observed(
        topics_seen=True, lag={"candles": 2}, models={"btc-btc-usd-300s": version()}, predictions=[prediction(0)]
    )
    before = told(children(), seen)
    lost = Problem("ElasticsearchUnreachable", "gone")
    after = told(children(), Observed(topics_seen=True, lag=lost, models=lost, predictions=lost), previous=before)
    for field in ("model", "skill", "models", "lastPrediction"):
        assert after[field] == before[field]
    assert "lag" not in after  # no number is no zero


def test_the_same_state_gives_the_same_status_later() -> None:
    first = told(children())
    assert told(children(), previous=first, now=LATER) == first


def test_a_restart_of_the_operator_turns_nothing() -> None:
    seen = Observed(
        topics_seen=True,
        lag={"candles": 3},
        models={"btc-btc-usd-300s": version()},
        predictions=[prediction(1)],
    )
    before = told(children(), seen)
    assert condition(before, "ModelReady") == ("True", "Promoted")
    assert told(children(), Observed(topics_seen=True), previous=before, now=LATER) == before


def test_a_time_of_transition_moves_only_with_the_truth() -> None:
    first = told(children())
    second = told(children(candles=deployment("candles", ready=0)), previous=first, now=LATER)
    times = {each["type"]: each["lastTransitionTime"] for each in second["conditions"]}
    assert times["Ready"] == times["CandlesReady"] == LATER
    assert times["TradesReady"] == times["TopicsReady"] == NOW


def test_an_invalid_spec_is_told_and_what_runs_is_left() -> None:
    before = told(children())
    status = invalid_status(Round(4, before, LATER), "InvalidSpec", "spec.pairs: wrong")
    assert condition(status, "Ready") == ("False", "InvalidSpec")
    assert condition(status, "CandlesReady")[0] == "True"
    PricePipelineStatus.model_validate(status)


def test_refused_objects_are_told() -> None:
    planned = plan("btc", SPEC, ClusterBackends(SPEC.storage))
    refusal = Refusal(Ref("Job", "prices", "x"), "Refused", "apply Job x: Invalid: no")
    status = pipeline_status(SPEC, planned, Objects(children(), refused=[refusal]), ALL_SEEN, Round(1, {}, NOW))
    assert condition(status, "Ready") == ("False", "Refused")


def test_only_turns_are_announced() -> None:
    ready = merge([], [Finding("Ready", "True", "A", "a"), Finding("Degraded", "False", "B", "b")], 1, NOW)
    assert [each["type"] for each in transitions([], ready)] == ["Ready"]
    assert transitions(ready, ready) == []
    worse = merge(ready, [Finding("Ready", "False", "C", "c"), Finding("Degraded", "Unknown", "D", "d")], 1, NOW)
    assert [each["type"] for each in transitions(ready, worse)] == ["Ready"]


FINETUNE_SPEC = FinetuneJobSpec.model_validate(FINETUNE["spec"])


def pod(status: dict[str, Any]) -> Child:
    return live("Pod", "news", status)


def finetuned(job: dict[str, Any] | None, pods: list[Child], previous: Any = None, **options: Any) -> dict[str, Any]:
    child = None if job is None else live("Job", "news", job)
    spec = options.pop("spec", FINETUNE_SPEC)
    status = finetune_status(spec, child, pods, options.pop("progress", {}), Round(1, previous or {}, NOW))
    FinetuneJobStatus.model_validate(status)
    return status


def test_missing_gpu_is_named() -> None:
    message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available."
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    status = finetuned({"active": 1}, [pod({"phase": "Pending", "conditions": [unschedulable]})])
    assert status["state"] == "Pending"
    running = next(each for each in status["conditions"] if each["type"] == "Running")
    assert running["reason"] == "InsufficientResources"
    assert running["message"].startswith("no node has enough nvidia.com/gpu: ")


def test_progress_is_told_while_it_runs() -> None:
    progress = {"step": 12, "total_steps": 100, "loss": 1.5, "eta_seconds": 60}
    status = finetuned({"ready": 1, "startTime": NOW}, [], progress=progress)
    assert (status["state"], status["step"], status["totalSteps"], status["loss"]) == ("Running", 12, 100, 1.5)
    assert status["startTime"] == NOW


def test_scores_are_told_as_soon_as_they_are_known_whatever_an_earlier_pod_said() -> None:
    crashed = pod({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"message": '{"step": 3}'}}}]})
    progress = {"step": 12, "before": {"f1": 0.1, "exact_match": 0.0, "valid": 1.0}}
    status = finetuned({"ready": 1, "startTime": NOW}, [crashed, pod({"phase": "Running"})], progress=progress)
    assert (status["state"], status["step"], status["before"]["f1"]) == ("Running", 12, 0.1)


def test_a_job_has_not_ended_before_its_pods_last_word_is_known() -> None:
    done = {"conditions": [{"type": "Complete", "status": "True"}], "startTime": NOW, "completionTime": LATER}
    status = finetuned(done, [pod({"phase": "Running"})])
    assert (status["state"], "publishedModel" in status) == ("Running", False)
    message = {"terminated": {"message": '{"published_model": "m:v1"}'}}
    status = finetuned(done, [pod({"phase": "Succeeded", "containerStatuses": [{"state": message}]})], previous=status)
    assert (status["state"], status["publishedModel"]) == ("Complete", "m:v1")


def test_result_is_read_from_the_termination_message_and_outlives_the_job() -> None:
    message = (
        '{"published_model": "pricecast-news:abc", "before": {"f1": 0.1}, "after": {"f1": 0.85, "exact_match": 0.8},'
        ' "step": 100, "total_steps": 100}'
    )
    ended = pod({"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"message": message}}}]})
    done = {"conditions": [{"type": "Complete", "status": "True"}], "startTime": NOW, "completionTime": LATER}
    status = finetuned(done, [ended])
    assert status["state"] == "Complete"
    assert status["publishedModel"] == "pricecast-news:abc"
    assert (status["before"]["f1"], status["after"]["f1"]) == (0.1, 0.85)
    assert finetuned(None, [], previous=status) == status


def test_failure_gives_its_reason() -> None:
    message = '{"reason": "F1TooLow", "error": "F1 0.31 is below the required 0.5; nothing is published"}'
    ended = pod({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"message": message}}}]})
    status = finetuned({"conditions": [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}]}, [ended])
    failed = next(each for each in status["conditions"] if each["type"] == "Failed")
    assert (status["state"], failed["reason"]) == ("Failed", "F1TooLow")


def test_suspended_by_a_person_or_waiting_in_a_queue() -> None:
    held = {"conditions": [{"type": "Suspended", "status": "True"}]}
    suspended = FINETUNE_SPEC.model_copy(update={"suspend": True})
    assert finetuned(held, [], spec=suspended)["state"] == "Suspended"
    queued = finetuned(held, [], spec=FINETUNE_SPEC.model_copy(update={"queue_name": "gpus"}))
    assert next(each for each in queued["conditions"] if each["type"] == "Suspended")["reason"] == "Queued"


def test_a_spec_that_could_not_be_acted_on_is_no_end() -> None:
    def failed(reason: str) -> dict[str, Any]:
        return {"conditions": Round(1, {}, NOW).conditions([Finding("Failed", "True", reason, "because")])}

    assert is_finished(failed("BackoffLimitExceeded"))
    assert not is_finished(failed("InvalidSpec"))


def test_a_cause_is_readys_reason_and_the_message_to_look_at_first() -> None:
    failing = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "pricecast-storage" not found'}}
    metadata = {"name": "p", "namespace": "prices", "uid": "p", "resourceVersion": "1"}
    pod = Child.of(
        {
            "kind": "Pod",
            "metadata": {**metadata, "labels": {labels.PROCESS: "price-predictor"}},
            "status": {"phase": "Pending", "containerStatuses": [{"image": "x", "ready": False, "state": failing}]},
        }
    )
    waits = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    found = children()
    for process in ("candles", "price-predictor"):
        found[process] = live("Deployment", process, waits)
    status = pipeline_status(SPEC, PLAN, Objects(found, [pod]), ALL_SEEN, Round(1, {}, NOW))
    assert condition(status, "Ready") == ("False", "SecretMissing")
    assert condition(status, "PricePredictorReady") == ("False", "SecretMissing")
    assert condition(status, "Degraded") == ("True", "SecretMissing")
    assert condition(status, "CandlesReady") == ("False", "Starting")
    assert status["message"].startswith("price-predictor: Secret pricecast-storage does not exist")
    assert len(status["message"]) <= 80


def test_no_replicas_are_not_ready_and_suspended_is_not_predicting() -> None:
    none = SPEC.model_copy(update={"replicas": 0})
    status = pipeline_status(none, PLAN, Objects(children()), ALL_SEEN, Round(1, {}, NOW))
    assert condition(status, "Ready") == ("False", "ScaledToZero")
    suspended = SPEC.model_copy(update={"suspend": True})
    seen = replace(ALL_SEEN, predictions=[prediction(0)])
    status = pipeline_status(suspended, PLAN, Objects(children()), seen, Round(1, {}, NOW))
    assert condition(status, "Predicting") == ("False", "Suspended")
    away = replace(ALL_SEEN, predictions=Problem("ElasticsearchUnreachable", "no answer"))
    status = pipeline_status(suspended, PLAN, Objects(children()), away, Round(1, {}, NOW))
    assert condition(status, "Degraded") == ("True", "ElasticsearchUnreachable")


def test_a_training_says_what_it_waits_for() -> None:
    seen = replace(ALL_SEEN, waits_for="BTC/USD has 12 of 2000 rows")
    conditions = told(children(), seen)["conditions"]
    assert "12 of 2000" in next(each["message"] for each in conditions if each["type"] == "ModelReady")


def test_another_cause_of_the_same_falsehood_is_a_turn_and_a_cause_that_stays_is_none() -> None:
    def ready(reason: str) -> list[dict[str, Any]]:
        return [{"type": "Ready", "status": "False", "reason": reason}]

    assert transitions(ready("SecretMissing"), ready("CrashLoop")) == ready("CrashLoop")
    assert transitions(ready("CrashLoop"), ready("CrashLoop")) == []
    assert transitions([], ready("QuotaExceeded")) == ready("QuotaExceeded")
    assert transitions([], ready("ServicesNotReady")) == []
    assert transitions(ready("QuotaExceeded"), ready("ServicesNotReady")) == []


def test_more_replicas_than_partitions_are_told_of() -> None:
    many = SPEC.with_partitions(1).model_copy(update={"replicas": 3})
    status = pipeline_status(many, PLAN, Objects(children()), ALL_SEEN, Round(1, {}, NOW))
    assert condition(status, "Scaled") == ("False", "PartitionsLimit")
    assert status["message"].startswith("3 replicas are wanted; 1 run")
    assert "message" not in told(children(), ALL_SEEN)


def test_a_forecast_whose_time_is_over_with_none_after_it_is_stale() -> None:
    observed = Observed(topics_seen=True, lag={}, models={}, predictions=[prediction(0), prediction(7)])
    status = told(children(), observed, now="2023-11-14T22:30:00Z")
    assert condition(status, "Predicting") == ("False", "Stale")
    [stale] = [each for each in status["conditions"] if each["type"] == "Predicting"]
    assert "BTC/USD over 300 s was for 2023-11-14T22:25:20Z" in stale["message"]


def test_a_pinned_version_is_told_by_what_serves() -> None:
    spec = SPEC.model_copy(update={"models": Models(pinned=2)})
    there = Registered({"btc-btc-usd-300s": 3})
    seen = replace(ALL_SEEN, models={"btc-btc-usd-300s": version(3)}, registered=there)
    before = told(children(), seen, spec)
    assert condition(before, "ModelPinned") == ("False", "OtherVersionServes")
    after = told(children(), replace(seen, models={"btc-btc-usd-300s": version(2)}), spec, before)
    assert condition(after, "ModelPinned") == ("True", "Pinned")
    assert after["models"][0]["version"] == 2
    unseen = told(children(), replace(seen, models=None), spec, after)
    assert condition(unseen, "ModelPinned") == ("True", "Pinned")
    assert "ModelPinned" not in {each["type"] for each in told(children(), seen)["conditions"]}


@pytest.mark.parametrize(
    ("newest", "words"), [({"btc-btc-usd-300s": 3}, "BTC/USD over 300 s has 1 to 3"), ({}, "has none yet")]
)
def test_a_pinned_version_that_does_not_exist_is_told_with_the_remedy(newest: dict[str, int], words: str) -> None:
    spec = SPEC.model_copy(update={"models": Models(pinned=9)})
    seen = replace(ALL_SEEN, models={"btc-btc-usd-300s": version(3)}, registered=Registered(newest))
    status = told(children(), seen, spec)
    [pinned] = [each for each in status["conditions"] if each["type"] == "ModelPinned"]
    assert (pinned["status"], pinned["reason"]) == ("False", "NoSuchVersion")
    assert words in pinned["message"]
    assert "remove spec.models.pinned" in pinned["message"]
    assert "version 9 is not in the model registry" in status["message"]
    assert pinned in transitions([], status["conditions"])  # an event tells it
    assert condition(status, "Ready") == ("True", "ServicesReady")
    restarted = told(children(), replace(seen, registered=None), spec, status)
    assert condition(restarted, "ModelPinned") == ("False", "NoSuchVersion")


def test_a_pinned_image_that_can_not_be_pulled_is_told_with_the_remedy() -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    pod = {"containerStatuses": [{"image": "r/candles:v9", "ready": False, "state": waiting}]}
    spec = SPEC.model_copy(update={"version": "v9"})
    found = children(candles=deployment("candles", updated=0))
    status = pipeline_status(spec, PLAN, Objects(found, [live("Pod", "candles", pod)]), ALL_SEEN, Round(3, {}, NOW))
    [degraded] = [each for each in status["conditions"] if each["type"] == "Degraded"]
    assert degraded["reason"] == "ImagePullFailed"
    assert "spec.version pins v9: write a version whose images exist, or remove it" in degraded["message"]


def test_which_models_have_followed_each_other_is_told_in_short() -> None:
    name = "btc-btc-usd-300s"
    made = [Promotion(name, 2, 3, 1_700_000_060_000, "the former one is better " * 20)]
    made += [Promotion(name, number, number - 1, 1_700_000_000_000, "beats naive") for number in range(30, 0, -1)]
    status = told(children(), replace(ALL_SEEN, registered=Registered({name: 30}, made)))
    history = status["modelHistory"]
    assert len(history) == 20
    assert (history[0]["change"], history[0]["version"], history[0]["formerVersion"]) == ("RolledBack", 2, 3)
    assert len(history[0]["reason"]) == 200
    assert history[1] == {
        "pair": "BTC/USD",
        "horizonSeconds": 300,
        "version": 30,
        "formerVersion": 29,
        "change": "Promoted",
        "time": "2023-11-14T22:13:20Z",
        "reason": "beats naive",
    }
    away = replace(ALL_SEEN, registered=Problem("RegistryUnreachable", "away"))
    assert told(children(), away, previous=status)["modelHistory"] == history


def test_data_of_an_earlier_version_is_told_and_not_forgotten_by_a_restart() -> None:
    before = told(children(), replace(ALL_SEEN, earlier=("btc.trades",)))
    assert condition(before, "EarlierData") == ("True", "NamedWithoutNamespace")
    restarted = told(children(), replace(ALL_SEEN, topics_seen=False), previous=before)
    assert condition(restarted, "EarlierData") == ("True", "NamedWithoutNamespace")
    assert "EarlierData" not in {each["type"] for each in told(children(), previous=before)["conditions"]}


FULL = "stores: write: Elasticsearch rejected 4 documents 5 times: index [p] blocked by: flood-stage; its disk is full"


def test_data_of_an_earlier_version_is_named_store_by_store() -> None:
    registered = Registered(earlier=("btc-btc-usd-300s",))
    found = replace(ALL_SEEN, earlier=("btc.trades",), registered=registered, earlier_predictions=True)
    [earlier] = [each for each in told(children(), found)["conditions"] if each["type"] == "EarlierData"]
    for words in ("topics btc.trades;", "models btc-btc-usd-300s;", "predictions of pipeline btc:", "tables btc_"):
        assert words in earlier["message"]


def test_what_an_unready_process_lacks_is_in_the_condition() -> None:
    found = children(price_predictor=deployment("price-predictor", ready=0))
    status = told(found, replace(ALL_SEEN, lacking={"price-predictor": FULL}))
    for kind in ("PricePredictorReady", "Ready"):
        [shown] = [each for each in status["conditions"] if each["type"] == kind]
        assert shown["status"] == "False"
        assert "its disk is full" in shown["message"]


def test_a_process_that_is_ready_lacks_nothing() -> None:
    status = told(children(), replace(ALL_SEEN, lacking={"price-predictor": FULL}))
    assert "disk" not in str(status)


def of(fields: dict[str, Any]) -> dict[str, Any]:
    """The status where the newest prediction says this of itself."""
    return told(children(), replace(ALL_SEEN, predictions=[msgspec.structs.replace(prediction(0), **fields)]))


@pytest.mark.parametrize(
    ("fields", "kind", "expected"),
    [
        ({"live_skill": 0.02}, "BeatsNaive", ("True", "BetterThanNaive")),
        ({"live_skill": -0.02}, "BeatsNaive", ("False", "WorseThanNaive")),
        ({"distance": 0.8}, "InDistribution", ("True", "LikeTheTraining")),
        ({"distance": 1.3}, "InDistribution", ("False", "FarFromTraining")),
        ({"distance": 0.8, "volatility": 1.3}, "InDistribution", ("False", "FarFromTraining")),
        ({"distance": 9.0, "abstained": True}, "InDistribution", ("False", "Abstains")),
        ({"drift": 0.1}, "FeaturesDrifting", ("False", "LikeTheTraining")),
        ({"drift": 0.3}, "FeaturesDrifting", ("True", "Drifting")),
    ],
)
def test_what_the_newest_forecast_says_of_itself_is_a_condition(
    fields: dict[str, Any], kind: str, expected: tuple[str, str]
) -> None:
    status = of(fields)
    assert condition(status, kind) == expected
    later = told(children(), replace(ALL_SEEN, predictions=None), previous=status)
    assert condition(later, kind) == expected  # nobody has looked since the operator's start
    turned = transitions([], status["conditions"])
    bad = expected[0] == ("True" if kind == "FeaturesDrifting" else "False")
    assert (kind in {each["type"] for each in turned}) == (bad or expected[0] == "True")


def test_a_naive_forecast_says_nothing_of_the_kind() -> None:
    kinds = {each["type"] for each in of({})["conditions"]}
    assert not kinds & {"BeatsNaive", "InDistribution", "FeaturesDrifting"}


def test_a_market_that_is_far_is_told_until_it_is_near_by_a_margin_and_in_the_same_words() -> None:
    spec = PricePipelineSpec.model_validate({"pairs": ["BTC/USD", "ETH/USD"]})
    status: dict[str, Any] = {}
    messages = []
    for btc, eth in ((0.9, 0.5), (1.1, 0.5), (0.9, 1.2), (0.5, 0.9), (0.7, 0.7), (0.9, 0.9)):
        newest = [
            msgspec.structs.replace(prediction(0), pair=pair, distance=distance)
            for pair, distance in (("BTC/USD", btc), ("ETH/USD", eth))
        ]
        status = told(children(), replace(ALL_SEEN, predictions=newest), spec, status)
        [found] = [each for each in status["conditions"] if each["type"] == "InDistribution"]
        messages.append((found["status"], found["message"]))
    far = ("False", "the market is like hardly anything that the models learned from, at first for BTC/USD over 300 s")
    near = ("True", "the market is like what the models learned from")
    assert messages == [near, far, far, far, near, near]


def test_each_new_change_of_version_is_news_with_its_reason_and_those_of_before_are_not() -> None:
    promoted = {
        "pair": "BTC/USD",
        "horizonSeconds": 300,
        "version": 2,
        "formerVersion": 1,
        "change": "Promoted",
        "time": NOW,
        "reason": "better in shadow",
    }
    back = {**promoted, "version": 1, "formerVersion": 2, "change": "RolledBack", "reason": "serves again: worse"}
    assert changes({}, {"modelHistory": [promoted]}) == []
    assert changes({"modelHistory": [promoted]}, {"modelHistory": [promoted]}) == []
    [news] = changes({"modelHistory": [promoted]}, {"modelHistory": [back, promoted]})
    assert news["reason"] == "ModelRolledBack"
    assert news["message"] == "BTC/USD over 300 s: version 1, after 2: serves again: worse"
    assert is_bad(news)
