"""One PricePipeline: from its spec, as it is now, to its objects and its status. Idempotent, level-based."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pricecast_core import logs
from pricecast_core.pairs import slug
from pricecast_core.stores.models import model_name
from pricecast_operator import metrics
from pricecast_operator.cluster.api import Cluster
from pricecast_operator.cluster.inventory import Inventory, Note
from pricecast_operator.cluster.objects import WORKLOADS, Child, Ref, Wanted
from pricecast_operator.controllers.children import Children
from pricecast_operator.controllers.resources import Announce, Known, Name, Resources
from pricecast_operator.controllers.secrets import Secrets
from pricecast_operator.observe.kafka import TopicPlan, Topics, TopicsError
from pricecast_operator.observe.observed import Observed, Problem
from pricecast_operator.observe.observer import Sight, Target
from pricecast_operator.render import labels
from pricecast_operator.render.backends import ClusterBackends
from pricecast_operator.render.network import Destination, from_url
from pricecast_operator.render.pipeline import Owner, Pipeline, render
from pricecast_operator.render.pods import RenderOptions
from pricecast_operator.status.conditions import Round
from pricecast_operator.status.pipeline import Status, invalid_status, pipeline_status
from pricecast_resources.base import SecretKeyRef
from pricecast_resources.plan import Plan, plan
from pricecast_resources.pricepipeline import PricePipelineSpec

KIND = "PricePipeline"
_TOLD = ("Ready", "Degraded", "ModelReady", "TopicsReady")
"""Conditions whose turns are worth an event."""
_NUMBERS = ("lag", "lastPrediction")
_GONE_SECONDS = 2.0
log = logs.get(__name__)


@dataclass(slots=True)
class _Pipeline(Known):
    """What is remembered of one pipeline.

    Attributes:
        observed: What was seen outside of the API server.
        plan: Its plan; None before the first round.
        planned_for: What the plan follows from.
        secrets: Names of the Secrets that it uses.
        rendered_for: What `wanted` was rendered for.
        wanted: Its objects as they should be.
        topics_ensured: The topics that were made, if they were.
        status_written: When its status was written last.
    """

    observed: Observed = field(default_factory=Observed)
    plan: Plan | None = None
    planned_for: Any = None
    secrets: frozenset[str] = frozenset()
    rendered_for: Any = None
    wanted: Sequence[Wanted] = ()
    topics_ensured: TopicPlan | None = None
    status_written: float = float("-inf")


class Pipelines(Resources[_Pipeline, PricePipelineSpec]):
    """All PricePipelines.

    Args:
        cluster: The API server.
        children: Objects that exist.
        announce: Tells people of turns.
        topics: Kafka's admin API.
        secrets: Secrets that specs name.
        inventory: Notes of topics to delete.
        options: What rendering needs to know.
        published: Returns the model that a FinetuneJob (namespace, name) has published, or an empty text.
        again: Has a pipeline reconciled after so many seconds.
        quiet_seconds: Least time between two status writes in which only numbers moved.

    Attributes:
        options: What rendering needs to know, now.
    """

    def __init__(
        self,
        cluster: Cluster,
        children: Children,
        announce: Announce,
        *,
        topics: Topics,
        secrets: Secrets,
        inventory: Inventory,
        options: RenderOptions,
        published: Callable[[str, str], str],
        again: Callable[[Name, float], None],
        quiet_seconds: float,
    ) -> None:
        super().__init__(KIND, PricePipelineSpec, _Pipeline, cluster=cluster, children=children, announce=announce)
        self.options = options
        self._topics = topics
        self._secrets = secrets
        self._inventory = inventory
        self._published = published
        self._again = again
        self._quiet_seconds = quiet_seconds

    def lost(self, name: Name) -> None:
        """Takes note that a pipeline is gone."""
        super().lost(name)
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

    async def _round(self, name: Name, known: _Pipeline, spec: PricePipelineSpec, this: Round) -> Status:
        elder = self._elder_of(name, spec)
        if elder is not None:
            told = f"metadata.name: {elder[0]}/{elder[1]} has the same name and brokers, so the same topics; choose another"
            return self._invalid(this, "NameTaken", told)
        planned = await self._render(known, name, spec)
        topics_stand = await self._ensure_topics(known, name, spec, planned)
        key = self._key(name)
        wanted = known.wanted
        if not topics_stand and not any(ref.kind in WORKLOADS for ref in self._children.of(key)):
            # A service that came first would make the topics its own way.
            wanted = [each for each in wanted if each.ref.kind not in WORKLOADS]
        refused = await self._children.sync(key, known.uid, wanted)
        children = _by_process(self._children.of(key))
        status = pipeline_status(spec, planned, children, known.observed, this, refused=refused)
        _measure(name, status, known.observed)
        return status

    def _invalid(self, this: Round, reason: str, message: str) -> Status:
        return invalid_status(this, reason, message)

    def _is_told(self, condition: Mapping[str, Any]) -> bool:
        return condition["type"] in _TOLD

    def _may_write(self, name: Name, known: _Pipeline, status: Status) -> bool:
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
        if known is None or known.plan is None:
            return None
        spec = PricePipelineSpec.model_validate(dict(known.body["spec"]))
        storage = spec.storage
        key = storage.predictions.api_key_secret_ref
        return Target(
            key=name,
            brokers=storage.kafka.brokers,
            topics=tuple(known.plan.topics),
            registry_url=self._secrets.known(name[0], storage.models.url_secret_ref)
            if storage.models.kind == "SQL"
            else "",
            models=tuple(
                model_name(name[1], slug(pair), horizon)
                for pair in spec.pairs
                for horizon in spec.prediction.horizons_seconds
            ),
            store_url=storage.predictions.url,
            store_key=self._secrets.known(name[0], key) if key is not None else None,
        )

    def looked(self, name: Name, sight: Sight) -> bool:
        """Takes note of what was seen; returns whether it says anything new."""
        known = self._known.get(name)
        if known is None:
            return False
        if sight.missing_topics:
            known.topics_ensured = None
        new = replace(known.observed, lag=sight.lag, models=sight.models, predictions=sight.predictions)
        changed = new != known.observed or bool(sight.missing_topics)
        known.observed = new
        return changed

    async def _render(self, known: _Pipeline, name: Name, spec: PricePipelineSpec) -> Plan:
        """Renders a pipeline's objects, where anything that they follow from has changed; returns its plan."""
        finetune_job = spec.news.signals.finetune_job if spec.news is not None else ""
        news_model = self._published(name[0], finetune_job) if finetune_job else ""
        planned = known.plan
        if planned is None or known.planned_for != (known.generation, news_model):
            planned = known.plan = plan(name[1], spec, ClusterBackends(spec.storage), news_model)
            known.planned_for = (known.generation, news_model)
            known.secrets = frozenset(ref.name for process in planned.processes for ref in process.secrets.values())
        versions = {secret: (await self._secrets.get(name[0], secret)).version for secret in sorted(known.secrets)}
        databases = self._databases(name[0], spec)
        rendered_for = (known.planned_for, versions, databases, self.options)
        if rendered_for != known.rendered_for:
            pipeline = Pipeline(Owner(KIND, name[1], name[0], known.uid), spec, planned, databases, versions)
            known.wanted = tuple(Wanted.of(manifest) for manifest in render(pipeline, self.options))
            known.rendered_for = rendered_for
        return planned

    def _databases(self, namespace: str, spec: PricePipelineSpec) -> dict[SecretKeyRef, Destination]:
        found = {}
        for ref in {spec.storage.features.url_secret_ref, spec.storage.models.url_secret_ref}:
            url = self._secrets.known(namespace, ref)
            destination = from_url(url) if url else None
            if destination is not None:
                found[ref] = destination
        return found

    async def _ensure_topics(self, known: _Pipeline, name: Name, spec: PricePipelineSpec, planned: Plan) -> bool:
        """Makes the topics as planned; returns whether they exist."""
        if spec.topics.deletion_policy == "Delete":
            await self._inventory.note(name, Note(known.uid, spec.storage.kafka.brokers))
        else:
            await self._inventory.discard(name)
        wanted = TopicPlan(planned.topics, spec.topics.partitions, spec.topics.replication_factor)
        if known.topics_ensured == wanted:
            return True
        problem = None
        try:
            await asyncio.to_thread(self._topics.ensure, spec.storage.kafka.brokers, wanted)
        except TopicsError as error:
            problem = Problem(error.reason, str(error))
        known.observed = replace(known.observed, topics=problem, topics_seen=True)
        if problem is not None and problem.reason != "PartitionsDiffer":
            self._again(name, 15.0)
            return False
        known.topics_ensured = wanted
        return True

    def _elder_of(self, name: Name, spec: PricePipelineSpec) -> Name | None:
        """Returns an older pipeline of the same name on the same brokers, in another namespace."""
        mine = self._known[name].body["metadata"]
        for other, known in self._known.items():
            if other[1] != name[1] or other == name:
                continue
            theirs = known.body["metadata"]
            brokers = ((known.body["spec"].get("storage") or {}).get("kafka") or {}).get("brokers")
            same = brokers == spec.storage.kafka.brokers
            if same and (theirs["creationTimestamp"], theirs["uid"]) < (mine["creationTimestamp"], mine["uid"]):
                return other
        return None

    async def _clean_up(self, name: Name) -> None:
        """Deletes the topics of a pipeline that is gone, if it asked for that."""
        note = self._inventory.get(name)
        if note is None:
            return
        if await self._cluster.exists(Ref(KIND, *name)):
            return  # not seen yet, after a restart
        pods = await self._cluster.pods(name[0], {labels.PIPELINE: name[1]})
        if any(pod["status"].get("phase") in ("Pending", "Running") for pod in pods):
            self._again(name, _GONE_SECONDS)  # they would make the topics anew
            return
        deleted = await asyncio.to_thread(self._topics.delete, note.brokers, name[1])
        log.info("topics deleted with their pipeline", pipeline="/".join(name), topics=len(deleted))
        await self._inventory.discard(name)


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
    skills = [model["distributionSkill"] for model in status.get("models", []) if "distributionSkill" in model]
    if skills:
        metrics.SKILL.labels(*name).set(min(skills))
    if isinstance(observed.predictions, Sequence) and observed.predictions:
        newest = max(prediction.issued_at_ms for prediction in observed.predictions)
        metrics.PREDICTED_AT.labels(*name).set(newest / 1000)
