"""Ties the pieces together: watches by kopf, one queue of resources to reconcile, one periodic look outside.

kopf watches, keeps the index of children, posts events and ends cleanly. Its stateful handlers are not used: they
keep their progress in annotations of the resource, two writes for each change, where a level-based reconcile needs
none.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import kopf

from pricecast_core import logs
from pricecast_core.errors import PricecastError
from pricecast_core.health import Health
from pricecast_core.stores.models import ModelRegistry
from pricecast_core.stores.predictions import PredictionStore
from pricecast_operator import metrics
from pricecast_operator.cluster.api import Cluster, group_and_version
from pricecast_operator.cluster.inventory import Inventory
from pricecast_operator.cluster.objects import Child, Ref
from pricecast_operator.controllers.children import OURS, Children, Key, owner_key
from pricecast_operator.controllers.finetunejobs import FinetuneJobs
from pricecast_operator.controllers.pipelines import Pipelines
from pricecast_operator.controllers.queue import WorkQueue
from pricecast_operator.controllers.resources import Name, Surroundings
from pricecast_operator.controllers.secrets import Secrets
from pricecast_operator.controllers.topics import PipelineTopics
from pricecast_operator.controllers.waves import Waves
from pricecast_operator.observe.calls import Calls
from pricecast_operator.observe.kafka import Topics
from pricecast_operator.observe.observed import describe
from pricecast_operator.observe.observer import Observer, Sight, Target
from pricecast_operator.observe.told import TIMEOUT_SECONDS, Told, told_by
from pricecast_operator.render.labels import MANAGER
from pricecast_operator.render.pods import HTTP_PORT
from pricecast_operator.settings import OperatorSettings
from pricecast_operator.status.conditions import is_bad
from pricecast_resources.base import GROUP, VERSION

_PLURALS = {
    "Deployment": "deployments",
    "Job": "jobs",
    "CronJob": "cronjobs",
    "ConfigMap": "configmaps",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "NetworkPolicy": "networkpolicies",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "PodMonitor": "podmonitors",
    "ScaledObject": "scaledobjects",
    "TriggerAuthentication": "triggerauthentications",
    "Pod": "pods",
}
WATCHED = {kind: (*group_and_version(kind), plural) for kind, plural in _PLURALS.items()}
"""What is watched of what we make, and the pods of it."""
_OPTIONAL = ("PodMonitor", "ScaledObject")
"""Kinds of other operators, which may be installed or not."""
_OF_KEDA = ("ScaledObject", "TriggerAuthentication")
_SPEC_SETTLE_SECONDS = 0.05
_CHILD_SETTLE_SECONDS = 0.5
"""How long events of a resource's children are gathered: a rollout is many."""
_FIRST_RESYNC_SECONDS = 30.0
_KAFKA_SECONDS = 6.0
"""Time between two looks at whether Kafka is there: with the time that a look takes, its absence is told in 15 s."""
_STALL_SECONDS = 120.0
_MOST_ASKED = 200
"""So many pods that aren't ready are asked in a round what they lack: if none of them answers, it lasts under a minute."""
_EXIT_SECONDS = 20.0
"""Least time to end in, well within the grace period: a thread that waits for a server can't be told to stop."""
log = logs.get(__name__)


class Operator:
    """The operator.

    Args:
        settings: What it was told.
        cluster: The API server.
        health: Learns whether it is alive and ready.
        owners: Owner references of what it keeps for itself.
    """

    def __init__(
        self, settings: OperatorSettings, cluster: Cluster, health: Health, owners: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        options = settings.render_options(
            pod_monitors=cluster.serves("PodMonitor"), scaled_objects=cluster.serves("ScaledObject")
        )
        topics = Topics()
        self._calls = calls = Calls()
        self._observer = Observer(topics, _open_registry, _open_store, calls)
        self._inventory = Inventory(cluster, settings.namespace, [dict(owner) for owner in owners])
        self._secrets = Secrets(cluster)
        self.children = Children(cluster)
        self.finetune_jobs = FinetuneJobs(
            self._surroundings("FinetuneJob"),
            options=options,
            finished=self._model_published,
        )
        surroundings = self._surroundings("PricePipeline")
        self.pipelines = Pipelines(
            surroundings,
            topics=PipelineTopics(surroundings, topics, calls, self._inventory, self._secrets),
            secrets=self._secrets,
            options=options,
            published=self.finetune_jobs.published,
            waves=Waves(settings.upgrade_wave),
            quiet_seconds=settings.quiet_seconds,
        )
        self._kinds: dict[str, Pipelines | FinetuneJobs] = {
            kinds.kind: kinds for kinds in (self.pipelines, self.finetune_jobs)
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._context = contextvars.copy_context()
        self._beat = time.monotonic()
        self._first = asyncio.Event()
        self._looked_at = 0
        self._started = False
        health.alive("loop", self._stalled)
        health.ready("started", lambda: None if self._started else "is starting")

    def _surroundings(self, kind: str) -> Surroundings:
        def again(name: Name, delay: float) -> None:
            self.queue.add((kind, *name), delay)

        return Surroundings(self._cluster, self.children, self._announce, again)

    def registry(self) -> kopf.OperatorRegistry:
        """Returns kopf's handlers."""
        registry = kopf.OperatorRegistry()
        on_event: Any = kopf.on.event  # handlers take what they need of kopf's many arguments
        on_startup: Any = kopf.on.startup
        on_startup(registry=registry)(self._startup)
        kopf.on.cleanup(registry=registry)(self._cleanup)
        kopf.on.login(registry=registry)(kopf.login_via_client)
        for plural in ("pricepipelines", "finetunejobs"):
            on_event(GROUP, VERSION, plural, registry=registry)(self._resource_event)
        for group, version, plural in WATCHED.values():  # kopf watches those that come to be served later, too
            on_event(group, version, plural, registry=registry)(self._child_event)
        return registry

    async def _startup(self, settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.watching.inactivity_timeout = 70  # bookmarks come each minute: silence beyond is a dead stream
        settings.watching.server_timeout = 600
        settings.watching.chunk_size = 100
        settings.queueing.idle_timeout = 1.0  # kopf keeps a worker for each object that was heard of: 5,000 at once
        settings.process.ultimate_exiting_timeout = _EXIT_SECONDS
        settings.peering.standalone = True  # a Lease says who leads
        settings.persistence.finalizer = f"{GROUP}/operator"
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"operator.{GROUP}")
        settings.persistence.diffbase_storage = _NoDifferences()
        settings.posting.loggers = False
        settings.posting.reporting_component = MANAGER
        settings.posting.event_name_prefix = "pricecast-"
        settings.scanning.disabled = bool(self._settings.namespaces)
        for watched in WATCHED.values():
            settings.watching.label_selectors[watched] = OURS
        await self.children.load(self._served(), self._settings.namespaces)
        self.queue: WorkQueue[Key] = WorkQueue(self._reconcile)
        for key in await self._inventory.load():
            self.queue.add(("PricePipeline", *key), 30.0)  # by then those that exist have been seen
        self._tasks = [
            asyncio.create_task(task, name=name)
            for name, task in (
                ("queue", self.queue.run()),
                ("observe", self._observe_forever()),
                ("progress", self._progress_forever()),
                ("resync", self._resync_forever()),
            )
        ]
        self._started = True

    async def _cleanup(self, **_: Any) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("a task had failed", error=repr(result))
        self._observer.close()
        self._cluster.close()

    async def _resource_event(self, event: Mapping[str, Any], **_: Any) -> None:
        self._context = contextvars.copy_context()  # kopf takes events from within its handlers only
        body = event["object"]
        kind, namespace, name = body["kind"], body["metadata"]["namespace"], body["metadata"]["name"]
        kinds = self._kinds[kind]
        if event["type"] == "DELETED":
            kinds.lost((namespace, name))
        else:
            body["metadata"].pop("managedFields", None)
            kinds.seen(_plain(body))
        self.queue.add((kind, namespace, name), _SPEC_SETTLE_SECONDS)

    async def _child_event(self, event: Mapping[str, Any], **_: Any) -> None:
        live = event["object"]
        if event["type"] == "DELETED":
            key = owner_key(live["metadata"]["namespace"], live["metadata"].get("labels") or {})
            if key is not None:
                self.children.gone(key, Child.of(live))
        else:
            key = self.children.seen(live)
        if key is not None:
            self.queue.add(key, _CHILD_SETTLE_SECONDS)

    async def _reconcile(self, key: Key) -> None:
        kind, namespace, name = key
        outcome = "failed"
        started = time.monotonic()
        try:
            await self._kinds[kind].reconcile((namespace, name))
            outcome = "done"
            if kind == "PricePipeline" and not self._looked_at:
                self._first.set()  # the first pipeline is not kept waiting for a look at its stores
        finally:
            metrics.RECONCILES.labels(kind, outcome).inc()
            metrics.RECONCILE_SECONDS.labels(kind).observe(time.monotonic() - started)

    async def _observe_forever(self) -> None:
        """Looks, once in a while, at all that no watch tells of; at whether Kafka is there more often."""
        looked = float("-inf")
        while True:
            due = time.monotonic() >= looked + self._settings.observe_seconds
            looks = (
                (self._look_at_kinds, self._look_at_secrets, self._look_at_stores) if due else (self._look_at_kafka,)
            )
            looked = time.monotonic() if due else looked
            for look in looks:
                try:
                    await look()
                except Exception as error:  # the next look may do better
                    log.warning("could not look around", error=describe(error))
            self._first.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._first.wait(), min(_KAFKA_SECONDS, self._settings.observe_seconds))
                looked = float("-inf")

    async def _look_at_kafka(self) -> None:
        self._observer.look_at_kafka(self._targets(), self._saw)

    async def _look_at_stores(self) -> None:
        targets = self._targets()
        self._looked_at = len(targets)
        self._observer.look_at_kafka(targets, self._saw)
        self._observer.look(targets, self._saw)

    def _targets(self) -> list[Target]:
        return [target for name in self.pipelines.names() if (target := self.pipelines.look_at(name))]

    def _saw(self, name: tuple[str, str], sight: Sight) -> None:
        if self.pipelines.looked(name, sight):
            self.queue.add(("PricePipeline", *name))

    async def _look_at_secrets(self) -> None:
        changed = await self._secrets.changed(self.pipelines.secrets_used())
        for name in self.pipelines.that_read(changed):
            self.queue.add(("PricePipeline", *name))

    async def _look_at_kinds(self) -> None:
        """Notices that the Prometheus operator or KEDA was installed, or removed, after our own start."""
        before = self.pipelines.options
        served = {kind: await asyncio.to_thread(self._cluster.serves, kind) for kind in _OPTIONAL}
        after = replace(before, pod_monitors=served["PodMonitor"], scaled_objects=served["ScaledObject"])
        if after != before:
            log.info("other kinds are served than before", **served)
            self.pipelines.options = after
            for name in self.pipelines.names():
                self.queue.add(("PricePipeline", *name))

    def _served(self) -> list[str]:
        options = self.pipelines.options
        there = {"PodMonitor": options.pod_monitors} | dict.fromkeys(_OF_KEDA, options.scaled_objects)
        return [kind for kind in WATCHED if there.get(kind, True)]

    async def _progress_forever(self) -> None:
        while True:
            self._beat = time.monotonic()
            jobs, trainings = self.finetune_jobs.running_pods(), self.pipelines.training_pods()
            lacking = self.pipelines.unready_pods()
            unready = dict(random.sample(sorted(lacking.items()), min(len(lacking), _MOST_ASKED)))
            addresses = {*jobs.values(), *trainings.values(), *unready.values()}
            told = dict(zip(addresses, await asyncio.gather(*map(self._told_by, addresses)), strict=True))
            for name, address in jobs.items():
                progress = told[address].info.get("progress")
                if isinstance(progress, dict) and progress and self.finetune_jobs.looked(name, progress):
                    self.queue.add(("FinetuneJob", *name))
            for name, address in trainings.items():
                if self.pipelines.waits_for(name, str(told[address].info.get("waits for") or "")):
                    self.queue.add(("PricePipeline", *name))
            heard = {key: told[address].problem for key, address in unready.items()}
            for name in self.pipelines.lacks(heard, lacking.keys()):
                self.queue.add(("PricePipeline", *name))
            await asyncio.sleep(min(15.0, self._settings.observe_seconds))

    async def _told_by(self, address: str) -> Told:
        try:
            return await self._calls.run(("pod", address), lambda: told_by(address, HTTP_PORT), 2 * TIMEOUT_SECONDS)
        except TimeoutError:
            return Told()

    async def _resync_forever(self) -> None:
        """Compares everything once in a while, with a list of its own: a watch that has missed something is no end."""
        delay = _FIRST_RESYNC_SECONDS
        while True:
            await asyncio.sleep(delay)
            delay = self._settings.resync_seconds
            try:
                await self._resync()
            except PricecastError as error:
                log.warning("could not list", error=str(error))
            except Exception:
                log.exception("comparing everything failed")  # the next round may do better

    async def _resync(self) -> None:
        await self.children.load(self._served(), self._settings.namespaces)
        for kind, kinds in self._kinds.items():
            found = set()
            async for page in self._cluster.pages(kind, self._settings.namespaces):
                for body in page:
                    body["metadata"].pop("managedFields", None)
                    kinds.seen(body)
                    found.add((body["metadata"]["namespace"], body["metadata"]["name"]))
            for name in kinds.names():
                if name not in found and not await self._cluster.exists(Ref(kind, *name)):
                    kinds.lost(name)
                self.queue.add((kind, *name))

    def _model_published(self, namespace: str, name: str) -> None:
        for pipeline in self.pipelines.that_use(namespace, name):
            self.queue.add(("PricePipeline", *pipeline))

    def _announce(self, body: Mapping[str, Any], condition: Mapping[str, Any]) -> None:
        post: Any = kopf.event
        metrics.API_WRITES.labels("create", "Event").inc()
        with contextlib.suppress(LookupError):  # kopf takes no events before it has begun to watch
            self._context.run(
                post,
                dict(body),
                type="Warning" if is_bad(condition) else "Normal",
                reason=condition["reason"] if condition["reason"].isalnum() else condition["type"],
                message=f"{condition['type']} is {condition['status']}: {condition['message']}"[:1000],
            )

    def _stalled(self) -> str | None:
        silence = time.monotonic() - self._beat
        dead = [task.get_name() for task in self._tasks if task.done()]
        if dead:
            return f"has stopped: {', '.join(dead)}"
        return f"the event loop stands for {silence:.0f} s" if silence > _STALL_SECONDS else None


class _NoDifferences(kopf.DiffBaseStorage):
    """Keeps kopf from remembering what a resource was: a level-based reconcile doesn't ask."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        """Returns nothing to compare, instead of a copy of each object seen."""
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Returns nothing that was remembered."""
        return None

    def store(self, *, body: kopf.Body, patch: Any, essence: kopf.BodyEssence) -> None:
        """Writes nothing."""


def _plain(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns kopf's read-only view of an object as the dictionary under it."""
    return {name: body[name] for name in body}


def _open_registry(url: str) -> ModelRegistry:
    from pricecast_core.stores.models_sql import SqlModelRegistry  # noqa: PLC0415 - only where there is one to look at

    return SqlModelRegistry(url)


def _open_store(url: str, key: str | None) -> PredictionStore:
    from pricecast_core.stores.predictions_elasticsearch import ElasticsearchPredictionStore  # noqa: PLC0415

    return ElasticsearchPredictionStore(url, api_key=key)
