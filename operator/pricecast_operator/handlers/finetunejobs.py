"""One FinetuneJob: its Job, its checkpoints, its status. Idempotent, level-based."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from pricecast_operator import metrics
from pricecast_operator.api.finetunejob import FinetuneJobSpec
from pricecast_operator.apply import Cluster, ClusterError
from pricecast_operator.conditions import Finding, merge, transitions
from pricecast_operator.handlers.children import Children
from pricecast_operator.manifest import dotted, explain
from pricecast_operator.objects import Ref, Wanted
from pricecast_operator.render import Owner
from pricecast_operator.render_finetune import render_finetune
from pricecast_operator.render_pods import RenderOptions
from pricecast_operator.status_finetune import Status, finetune_status, is_finished

KIND = "FinetuneJob"
Name = tuple[str, str]
"""Namespace and name."""


@dataclass(slots=True)
class _Known:
    body: Mapping[str, Any]
    progress: Mapping[str, Any] = field(default_factory=dict)


class FinetuneJobs:
    """All FinetuneJobs.

    Args:
        cluster: The API server.
        children: Objects that exist.
        options: What rendering needs to know.
        announce: Tells people of conditions that turned.
        finished: Called with namespace and name of a job that has published its model.
    """

    def __init__(
        self,
        cluster: Cluster,
        children: Children,
        options: RenderOptions,
        *,
        announce: Callable[[Mapping[str, Any], Mapping[str, Any]], None],
        finished: Callable[[str, str], None],
    ) -> None:
        self._cluster = cluster
        self._children = children
        self._options = options
        self._announce = announce
        self._finished = finished
        self._known: dict[Name, _Known] = {}

    def names(self) -> list[Name]:
        """Returns all jobs."""
        return list(self._known)

    def seen(self, body: Mapping[str, Any]) -> None:
        """Takes note of a job as the watch saw it; an older sight than our own last write is passed over."""
        name = (body["metadata"]["namespace"], body["metadata"]["name"])
        known = self._known.get(name)
        if known is None or known.body["metadata"]["uid"] != body["metadata"]["uid"]:
            self._known[name] = known = _Known(body)
        elif int(body["metadata"]["resourceVersion"]) >= int(known.body["metadata"]["resourceVersion"]):
            known.body = body
        if self.published(*name):
            self._finished(*name)

    def lost(self, name: Name) -> None:
        """Takes note that a job is gone; what it published stays."""
        self._known.pop(name, None)
        self._children.forget((KIND, *name))

    def published(self, namespace: str, name: str) -> str:
        """Returns the model that a job has published, or an empty text."""
        known = self._known.get((namespace, name))
        status = (known.body.get("status") or {}) if known is not None else {}
        return str(status.get("publishedModel") or "") if status.get("state") == "Complete" else ""

    def running_pods(self) -> dict[Name, str]:
        """Returns the address of each job's running pod."""
        addresses = {}
        for name in self._known:
            for child in self._children.of((KIND, *name)).values():
                if child.ref.kind == "Pod" and child.status.get("phase") == "Running" and child.status.get("podIP"):
                    addresses[name] = str(child.status["podIP"])
        return addresses

    def looked(self, name: Name, progress: Mapping[str, Any]) -> bool:
        """Takes note of a job's progress; returns whether it says anything new."""
        known = self._known.get(name)
        if known is None or known.progress == progress:
            return False
        known.progress = progress
        return True

    async def reconcile(self, name: Name) -> None:
        """Makes a job's objects and status as they should be."""
        known = self._known.get(name)
        if known is None or known.body["metadata"].get("deletionTimestamp"):
            return
        body = known.body
        previous = body.get("status") or {}
        generation = int(body["metadata"]["generation"])
        try:
            spec = FinetuneJobSpec.model_validate(dict(body["spec"]))
        except ValidationError as error:
            told = "; ".join(
                f"{dotted(('spec', *line['loc']))}: {explain(FinetuneJobSpec, line)}" for line in error.errors()
            )
            failed = merge([], [Finding("Failed", "True", "InvalidSpec", told)], generation, _now())
            await self._tell(known, name, {"state": "Failed", "conditions": failed, "observedGeneration": generation})
            return
        key = (KIND, *name)
        owner = Owner(KIND, name[1], name[0], body["metadata"]["uid"])
        wanted = [Wanted.of(manifest) for manifest in render_finetune(owner, spec, self._options)]
        live = self._children.of(key)
        if is_finished(previous):  # a Job that was cleaned up after its time is not made again
            wanted = [each for each in wanted if each.ref in live]
        refused = await self._children.sync(key, owner.uid, wanted)
        live = self._children.of(key)
        status = finetune_status(
            spec,
            live.get(Ref("Job", *name)),
            [child for child in live.values() if child.ref.kind == "Pod"],
            known.progress,
            generation=generation,
            previous=previous,
            now=_now(),
            refused=refused,
        )
        _measure(name, status)
        await self._tell(known, name, status)

    async def _tell(self, known: _Known, name: Name, status: Status) -> None:
        previous = known.body.get("status") or {}
        if status == previous:
            return
        try:
            written = await self._cluster.apply_status(Ref(KIND, *name), status)
        except ClusterError as error:
            if error.status == 404:
                return
            raise
        body = known.body
        self.seen(written)
        for condition in transitions(previous.get("conditions", []), status["conditions"]):
            if condition["status"] == "True":
                self._announce(body, condition)


def _measure(name: Name, status: Status) -> None:
    if "step" in status:
        metrics.FINETUNE_STEP.labels(*name).set(status["step"])
    if "loss" in status:
        metrics.FINETUNE_LOSS.labels(*name).set(status["loss"])
    for stage in ("before", "after"):
        if stage in status:
            metrics.FINETUNE_F1.labels(*name, stage).set(status[stage]["f1"])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
