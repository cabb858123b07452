"""One FinetuneJob: its Job, its checkpoints, its status. Idempotent, level-based."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pricecast_operator import metrics
from pricecast_operator.cluster.objects import Ref, Wanted
from pricecast_operator.controllers.resources import Known, Name, Resources, Surroundings
from pricecast_operator.render.finetune import render_finetune
from pricecast_operator.render.owner import Owner
from pricecast_operator.render.pods import RenderOptions
from pricecast_operator.status.causes import short
from pricecast_operator.status.conditions import Finding, Round
from pricecast_operator.status.finetune import Status, finetune_status, is_finished
from pricecast_resources.finetunejob import FinetuneJobSpec

KIND = "FinetuneJob"


@dataclass(slots=True)
class _Job(Known):
    """What is remembered of one job.

    Attributes:
        progress: What its running pod said of itself last.
    """

    progress: Mapping[str, Any] = field(default_factory=dict)


class FinetuneJobs(Resources[_Job, FinetuneJobSpec]):
    """All FinetuneJobs.

    Args:
        surroundings: What it works with.
        options: What rendering needs to know.
        finished: Called with namespace and name of a job that has published its model.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        options: RenderOptions,
        finished: Callable[[str, str], None],
    ) -> None:
        super().__init__(KIND, FinetuneJobSpec, _Job, surroundings)
        self._options = options
        self._finished = finished

    def seen(self, body: Mapping[str, Any]) -> None:
        """Takes note of a job; of one that has published its model, its pipelines are told."""
        super().seen(body)
        name = (body["metadata"]["namespace"], body["metadata"]["name"])
        if self.published(*name):
            self._finished(*name)

    def lost(self, name: Name) -> None:
        """Takes note that a job is gone; what it published stays."""
        super().lost(name)
        metrics.forget(*name, metrics.FINETUNE_STEP, metrics.FINETUNE_LOSS, metrics.FINETUNE_F1)

    def published(self, namespace: str, name: str) -> str:
        """Returns the model that a job has published, or an empty text."""
        known = self._known.get((namespace, name))
        status = known.status if known is not None else {}
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

    async def _round(self, name: Name, known: _Job, spec: FinetuneJobSpec, this: Round) -> Status:
        owner = Owner(KIND, name[1], name[0], known.uid)
        wanted = [Wanted.of(manifest) for manifest in render_finetune(owner, spec, self._options)]
        key = self._key(name)
        if is_finished(this.previous):  # a Job that was cleaned up after its time is not made again
            made = self._children.controlled_by(key, known.uid)
            wanted = [each for each in wanted if each.ref in made]
        refused = await self._sync(name, known, wanted)
        job = self._children.controlled_by(key, known.uid).get(Ref("Job", *name))
        pods = list(self._children.controlled_by(key, job.uid).values()) if job is not None else []
        status = finetune_status(spec, job, pods, known.progress, this, refused=refused)
        _measure(name, status)
        return status

    def _invalid(self, this: Round, reason: str, message: str) -> Status:
        findings = [Finding("Failed", "True", reason, message)]
        return {
            "state": "Failed",
            "message": short(message),
            "conditions": this.conditions(findings),
            "observedGeneration": this.generation,
        }


def _measure(name: Name, status: Status) -> None:
    if "step" in status:
        metrics.FINETUNE_STEP.labels(*name).set(status["step"])
    if "loss" in status:
        metrics.FINETUNE_LOSS.labels(*name).set(status["loss"])
    for stage in ("before", "after"):
        if stage in status:
            metrics.FINETUNE_F1.labels(*name, stage).set(status[stage]["f1"])
