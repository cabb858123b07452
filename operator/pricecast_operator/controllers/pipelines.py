"""One PricePipeline: from its spec, as it is now, to its objects and its status. Idempotent, level-based."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pricecast_core import logs
from pricecast_core.stores.models import model_name
from pricecast_core.values import PIPELINE_ID_LENGTH, pipeline_id, slug
from pricecast_operator import metrics
from pricecast_operator.cluster.objects import WORKLOADS, Child, Ref, Refusal, Wanted
from pricecast_operator.controllers.known import KIND, KnownPipeline
from pricecast_operator.controllers.resources import Name, Resources, Surroundings, is_paused
from pricecast_operator.controllers.secrets import Secrets
from pricecast_operator.controllers.topics import PipelineTopics
from pricecast_operator.controllers.waves import UPGRADED, Waves
from pricecast_operator.observe.observed import Observed, Problem
from pricecast_operator.observe.observer import Sight, Target
from pricecast_operator.render.backends import ClusterBackends
from pricecast_operator.render.owner import Owner
from pricecast_operator.render.pipeline import Pipeline, render
from pricecast_operator.render.pods import RenderOptions
from pricecast_operator.status.causes import is_silent, of_warnings
from pricecast_operator.status.conditions import INVALID_SPEC, Round, merge
from pricecast_operator.status.pipeline import Objects, invalid_status, pipeline_status
from pricecast_operator.status.seen import EARLIER_DATA, QUALITY, Status, changes
from pricecast_resources.plan import Plan, plan
from pricecast_resources.pricepipeline import PricePipelineSpec

_TOLD = ("Ready", "Degraded", "ModelReady", "ModelPinned", "TopicsReady", *QUALITY, EARLIER_DATA)
"""Conditions whose turns are worth an event."""
_NUMBERS = ("lag", "lastPrediction")
_WAVE_SECONDS = 15.0
"""Time between two looks at a pipeline that is moved to new images."""
_SILENT_SECONDS = 10.0
"""How long a Job may have no pod, or a pod no container, before events are asked why; and until they are asked again."""
log = logs.get(__name__)


class Pipelines(Resources[KnownPipeline, PricePipelineSpec]):
    """All PricePipelines.

    Args:
        surroundings: What it works with.
        topics: Their Kafka topics.
        secrets: Secrets that specs name.
        options: What rendering needs to know.
        published: Returns the model that a FinetuneJob (namespace, name) has published, or an empty text.
        waves: How a new version reaches the pipelines.
        quiet_seconds: Least time between two status writes in which only numbers moved.

    Attributes:
        options: What rendering needs to know, now.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        topics: PipelineTopics,
        secrets: Secrets,
        options: RenderOptions,
        published: Callable[[str, str], str],
        waves: Waves,
        quiet_seconds: float,
    ) -> None:
        super().__init__(KIND, PricePipelineSpec, KnownPipeline, surroundings)
        self.options = options
        self._topics = topics
        self._secrets = secrets
        self._published = published
        self._waves = waves
        self._quiet_seconds = quiet_seconds

    def lost(self, name: Name) -> None:
        """Takes note that a pipeline is gone."""
        super().lost(name)
        self._waves.forget(name)
        for waiting in self._waves.next():
            self._again(waiting, 0.0)
        metrics.forget(*name, metrics.READY, metrics.LAG, metrics.SKILL, metrics.PREDICTED_AT)

    def that_use(self, namespace: str, finetune_job: str) -> list[Name]:
        """Returns the pipelines whose news model is that of a FinetuneJob."""
        return [
            name
            for name, known in self._known.items()
            if name[0] == namespace
            and (((known.body["spec"].get("news") or {}).get("signals") or {}).get("finetuneJob")) == finetune_job
        ]

    def secrets_used(self) -> set[Name]:
        """Returns the Secrets that pipelines use."""
        return {(name[0], secret) for name, known in self._known.items() for secret in known.secrets}

    def that_read(self, secrets: set[Name]) -> list[Name]:
        """Returns the pipelines that use one of these Secrets."""
        return [
            name for name, known in self._known.items() if any((name[0], secret) in secrets for secret in known.secrets)
        ]

    async def _round(self, name: Name, known: KnownPipeline, spec: PricePipelineSpec, this: Round) -> Status:
        if len(pipeline_id(*name)) > PIPELINE_ID_LENGTH:
            told = f"metadata.name: {'.'.join(name)} is too long for the names of topics; name it, or its namespace, shorter"
            return self._invalid(this, INVALID_SPEC, told)
        exact = spec.topics.partitions is not None
        had = known.observed.partitions or known.status.get("partitions")
        if not exact and had:
            spec = spec.with_partitions(int(had))
        known.spec = spec
        images = self._waves.images(name, known.status, self.options.images)
        if spec.version:
            self._waves.forget(name)
            images = self.options.pinned(spec.version).images
        planned = await self._render(known, name, spec, images)
        key = self._key(name)
        if is_paused(known.body):
            return self._status_of(name, known, spec, planned, this, images=str(known.status.get("images") or images))
        if self._waves.waits(name) and known.status.get("observedGeneration") == known.generation:
            # The images it keeps may not know the settings that this operator would give them.
            return self._upgraded(name, self._status_of(name, known, spec, planned, this, images=images), this)
        begins = not any(ref.kind in WORKLOADS for ref in self._children.controlled_by(key, known.uid))
        topics_stand = await self._topics.ensure(known, name, spec, planned, begins=begins, exact=exact)
        wanted = known.wanted
        if begins and not topics_stand:
            # A service that came first would make the topics its own way.
            wanted = [each for each in wanted if each.ref.kind not in WORKLOADS]
        refused = await self._sync(name, known, wanted)
        await self._ask_events(name, known)
        status = self._status_of(name, known, spec, planned, this, images=images, refused=refused)
        return self._upgraded(name, status, this)

    def _upgraded(self, name: Name, status: Status, this: Round) -> Status:
        """Returns the status with what is to be told of an upgrade, and lets others go on with theirs."""
        upgrade = self._waves.finding(name, status)
        if upgrade is not None:
            before = [each for each in this.previous.get("conditions", ()) if each["type"] == UPGRADED]
            status["conditions"] += merge(before, [upgrade], this.generation, this.now)
            if upgrade.reason == "UpgradeFailed" and not any(each["reason"] == upgrade.reason for each in before):
                for waiting in self._waves.waiting():
                    self._again(waiting, 0.0)  # to tell for whom
            if upgrade.reason != "UpgradeWaits":
                self._again(name, _WAVE_SECONDS)  # time passes, whether or not anything happens
        for waiting in self._waves.next():
            self._again(waiting, 0.0)
        return status

    def _status_of(
        self,
        name: Name,
        known: KnownPipeline,
        spec: PricePipelineSpec,
        planned: Plan,
        this: Round,
        *,
        images: str,
        refused: Sequence[Refusal] = (),
    ) -> Status:
        """Returns the status of a pipeline as it is now."""
        key = self._key(name)
        children = _by_process(self._children.controlled_by(key, known.uid))
        pods = [child for child in self._children.of(key).values() if child.ref.kind == "Pod"]
        objects = Objects(children, pods, refused, known.warned, paused=is_paused(known.body))
        status = pipeline_status(spec, planned, objects, known.observed, this)
        status["images"] = images
        _measure(name, status, known.observed)
        return status

    async def _ask_events(self, name: Name, known: KnownPipeline) -> None:
        """Asks what keeps Jobs from making pods and pods from being made, where their status has been silent for a while."""
        now = time.monotonic()
        silent = {child.uid: child for child in self._children.of(self._key(name)).values() if is_silent(child)}
        known.silent = {uid: known.silent.get(uid, now) for uid in silent}
        known.warned = {uid: cause for uid, cause in known.warned.items() if uid in silent}
        if known.spec is not None and known.spec.suspend:
            return
        for uid, since in known.silent.items():
            if now - since >= _SILENT_SECONDS and uid not in known.warned:
                cause = of_warnings(await self._cluster.warnings(silent[uid].ref, uid))
                if cause is not None:
                    known.warned[uid] = cause
        if known.silent.keys() - known.warned.keys():
            self._again(name, _SILENT_SECONDS)

    def _invalid(self, this: Round, reason: str, message: str) -> Status:
        return invalid_status(this, reason, message)

    def _is_told(self, condition: Mapping[str, Any]) -> bool:
        return condition["type"] in _TOLD

    def _news(self, previous: Mapping[str, Any], status: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        return changes(previous, status)

    def _may_write(self, name: Name, known: KnownPipeline, status: Status) -> bool:
        """Returns whether anything but numbers has moved, or those were written long enough ago."""
        now = time.monotonic()
        if _without_numbers(status) == _without_numbers(known.status):
            wait = known.status_written + self._quiet_seconds - now
            if wait > 0:
                self._again(name, wait)
                return False
        known.status_written = now
        return True

    def look_at(self, name: Name) -> Target | None:
        """Returns what to look at for a pipeline; None where there is no plan yet."""
        known = self._known.get(name)
        if known is None or known.plan is None or known.spec is None:
            return None
        spec = known.spec
        storage = spec.storage
        key = storage.predictions.api_key_secret_ref
        in_registry = storage.models.kind == "SQL"
        return Target(
            key=name,
            pipeline=known.plan.pipeline,
            kafka=self._secrets.kafka(name[0], storage.kafka),
            topics=tuple(known.plan.topics),
            registry_url=self._secrets.database_url(name[0], storage.models.url_secret_ref) if in_registry else None,
            models=tuple(
                model_name(known.plan.pipeline, slug(pair), horizon)
                for pair in spec.pairs
                for horizon in spec.prediction.horizons_seconds
            ),
            pinned=spec.models.pinned is not None,
            store_url=storage.predictions.url,
            store_key=self._secrets.value(name[0], key) if key is not None else None,
        )

    def looked(self, name: Name, sight: Sight) -> bool:
        """Takes note of what one look has seen; returns whether it says anything new."""
        known = self._known.get(name)
        if known is None:
            return False
        new = known.observed
        if isinstance(sight.missing_topics, Problem):
            new = replace(new, kafka=sight.missing_topics, lag=sight.missing_topics)
        elif sight.missing_topics is not None:
            new = replace(new, kafka=None)
            if sight.missing_topics:
                known.topics_ensured = None
        if sight.lag is not None and new.kafka is None:
            new = replace(new, lag=sight.lag)
        if sight.models is not None:
            new = replace(new, models=sight.models)
        if sight.registered is not None:
            new = replace(new, registered=sight.registered)
        if sight.predictions is not None:
            new = replace(new, predictions=sight.predictions)
        if sight.earlier_predictions is not None:
            new = replace(new, earlier_predictions=sight.earlier_predictions)
        changed = new != known.observed or bool(sight.missing_topics)
        known.observed = new
        return changed

    def training_pods(self) -> dict[Name, str]:
        """Returns the address of the pod that trains first, by pipeline: it tells what it waits for."""
        return {
            name: str(child.status["podIP"])
            for name in self._known
            for child in self._children.of(self._key(name)).values()
            if child.ref.kind == "Pod"
            and child.process == "train"
            and child.status.get("phase") == "Running"
            and child.status.get("podIP")
        }

    def waits_for(self, name: Name, what: str) -> bool:
        """Takes note of what a pipeline's training waits for; returns whether that is news."""
        known = self._known.get(name)
        if known is None or known.observed.waits_for == what:
            return False
        known.observed = replace(known.observed, waits_for=what)
        return True

    def unready_pods(self) -> dict[tuple[Name, str], str]:
        """Returns the address of a pod that runs and isn't ready, by pipeline and process: it tells what it lacks."""
        return {
            (name, child.process): str(child.status["podIP"])
            for name in self._known
            for child in self._children.of(self._key(name)).values()
            if child.ref.kind == "Pod"
            and not child.deleting
            and child.status.get("podIP")
            and any("running" in each.get("state", {}) and not each.get("ready") for each in _containers(child))
        }

    def lacks(self, told: Mapping[tuple[Name, str], str], unready: Collection[tuple[Name, str]]) -> set[Name]:
        """Takes note of what the processes that aren't ready lack; returns the pipelines where it is news.

        Args:
            told: What those that were asked said.
            unready: All of them: of those that weren't asked, what they said before holds.
        """
        lacking: dict[Name, dict[str, str]] = {}
        for name, process in unready:
            before = self._known[name].observed.lacking.get(process, "") if name in self._known else ""
            if text := told.get((name, process), before):
                lacking.setdefault(name, {})[process] = text
        changed = {
            name
            for name, known in self._known.items()
            if _lasting(known.observed.lacking) != _lasting(lacking.get(name, {}))
        }
        for name in changed:
            known = self._known[name]
            known.observed = replace(known.observed, lacking=lacking.get(name, {}))
        return changed

    async def _render(self, known: KnownPipeline, name: Name, spec: PricePipelineSpec, images: str) -> Plan:
        """Renders a pipeline's objects, where anything that they follow from has changed; returns its plan."""
        finetune_job = spec.news.signals.finetune_job if spec.news is not None else ""
        news_model = self._published(name[0], finetune_job) if finetune_job else ""
        planned = known.plan
        if planned is None or known.planned_for != (known.generation, news_model):
            planned = known.plan = plan(pipeline_id(*name), spec, ClusterBackends(spec.storage), news_model)
            known.planned_for = (known.generation, news_model)
            known.secrets = frozenset(ref.name for process in planned.processes for ref in process.secrets.values())
        versions = {secret: (await self._secrets.get(name[0], secret)).version for secret in sorted(known.secrets)}
        urls = {spec.storage.features.url_secret_ref, spec.storage.models.url_secret_ref}
        used = urls & {ref for process in planned.processes for ref in process.secrets.values()}
        databases = self._secrets.databases(name[0], used)
        databases |= self._secrets.token_servers(name[0], spec.storage.kafka)
        options = self.options.with_images(images)
        rendered_for = (known.planned_for, spec.partitions, versions, databases, options)
        if rendered_for != known.rendered_for:
            pipeline = Pipeline(Owner(KIND, name[1], name[0], known.uid), spec, planned, databases, versions)
            known.wanted = tuple(Wanted.of(manifest) for manifest in render(pipeline, options))
            known.rendered_for = rendered_for
        return planned

    async def _clean_up(self, name: Name) -> None:
        await self._topics.clean_up(name)


def _by_process(children: Mapping[Ref, Child]) -> dict[str, Child]:
    return {child.process: child for child in children.values() if child.process and not child.deleting}


def _without_numbers(status: Mapping[str, Any]) -> dict[str, Any]:
    services = [{"name": each["name"], "ready": each["ready"]} for each in status.get("services", [])]
    return {**{name: value for name, value in status.items() if name not in _NUMBERS}, "services": services}


def _measure(name: Name, status: Status, observed: Observed) -> None:
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    metrics.READY.labels(*name).set(ready["status"] == "True")
    if "lag" in status:
        metrics.LAG.labels(*name).set(status["lag"])
    else:
        metrics.forget(*name, metrics.LAG)
    skills = [model["distributionSkill"] for model in status.get("models", []) if "distributionSkill" in model]
    if skills:
        metrics.SKILL.labels(*name).set(min(skills))
    if isinstance(observed.predictions, Sequence) and observed.predictions:
        newest = max(prediction.issued_at_ms for prediction in observed.predictions)
        metrics.PREDICTED_AT.labels(*name).set(newest / 1000)


def _containers(pod: Child) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = pod.status.get("containerStatuses", ())
    return found


def _lasting(lacking: Mapping[str, str]) -> dict[str, str]:
    """Returns problems without their counters and ages, which change while they stay the same."""
    return {process: re.sub(r"\d+", "#", text) for process, text in lacking.items()}
