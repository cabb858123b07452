"""What PricePipelines and FinetuneJobs have in common: what is known of each, and one round of a reconcile.

A round reads what was seen last, never what an event said, so that it may run at any time and any number of times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from pricecast_core.errors import PricecastError
from pricecast_operator.cluster.api import Cluster
from pricecast_operator.cluster.errors import ClusterError
from pricecast_operator.cluster.objects import Ref, Refusal, Wanted
from pricecast_operator.controllers.children import Children, Key
from pricecast_operator.observe.observed import describe
from pricecast_operator.render.labels import PAUSED_ANNOTATION
from pricecast_operator.status.conditions import FAULT, INVALID_SPEC, Round, transitions
from pricecast_resources.kinds import KINDS
from pricecast_resources.manifest import explain_all

Name = tuple[str, str]
"""Namespace and name."""
Status = dict[str, Any]
Announce = Callable[[Mapping[str, Any], Mapping[str, Any]], None]
"""Tells people of a condition that turned: resource, condition."""

Again = Callable[[Name, float], None]
"""Has a resource reconciled after so many seconds."""
_REFUSED_SECONDS = 20.0
"""Until what was refused is tried again: no watch tells when a quota grows or a stranger's object goes."""


@dataclass(slots=True)
class Known:
    """What is remembered of one resource.

    Attributes:
        body: The resource as it was seen last.
    """

    body: Mapping[str, Any]

    @property
    def status(self) -> Mapping[str, Any]:
        """Its status; empty where it has none yet."""
        return self.body.get("status") or {}

    @property
    def uid(self) -> str:
        """Its identity."""
        return str(self.body["metadata"]["uid"])

    @property
    def generation(self) -> int:
        """Generation of its spec."""
        return int(self.body["metadata"]["generation"])

    @property
    def version(self) -> int:
        """Its resource version."""
        return int(self.body["metadata"]["resourceVersion"])


class ReconcileError(PricecastError):
    """A round failed; its resource's condition says so too."""


K = TypeVar("K", bound=Known)
S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the controllers of all kinds work with.

    Attributes:
        cluster: The API server.
        children: Objects that exist.
        announce: Tells people of turns.
        again: Has a resource reconciled after so many seconds.
    """

    cluster: Cluster
    children: Children
    announce: Announce
    again: Again


class Resources(ABC, Generic[K, S]):
    """All resources of one kind.

    Args:
        kind: The kind.
        spec: Model of its spec.
        known: What is remembered of one, made from its body.
        surroundings: What it works with.
    """

    def __init__(
        self,
        kind: str,
        spec: type[S],
        known: Callable[[Mapping[str, Any]], K],
        surroundings: Surroundings,
    ) -> None:
        self.kind = kind
        self._spec = spec
        self._new = known
        self._cluster = surroundings.cluster
        self._children = surroundings.children
        self._announce = surroundings.announce
        self._again = surroundings.again
        self._known: dict[Name, K] = {}

    def names(self) -> list[Name]:
        """Returns all of them."""
        return list(self._known)

    def seen(self, body: Mapping[str, Any]) -> None:
        """Takes note of one as a list, a watch or an answer shows it; what is older than that is passed over."""
        name = (body["metadata"]["namespace"], body["metadata"]["name"])
        known = self._known.get(name)
        if known is None or known.uid != body["metadata"]["uid"]:
            self._known[name] = self._new(body)
        elif int(body["metadata"]["resourceVersion"]) >= known.version:
            known.body = body

    def lost(self, name: Name) -> None:
        """Takes note that one is gone."""
        self._known.pop(name, None)
        self._children.forget(self._key(name))

    async def reconcile(self, name: Name) -> None:
        """Makes a resource's objects and status as they should be, or cleans up after one that is gone.

        Raises:
            ClusterError: If the API server can't be reached, or asks to try again.
            ReconcileError: If anything else went wrong.
        """
        known = self._known.get(name)
        if known is None:
            await self._clean_up(name)
            return
        if known.body["metadata"].get("deletionTimestamp"):
            return  # Kubernetes deletes what it owns
        this = Round(known.generation, known.status, _now())
        try:
            spec = self._spec.model_validate(dict(known.body["spec"]))
        except ValidationError as error:
            status = self._invalid(this, INVALID_SPEC, explain_all(self._spec, error, "spec"))
        else:
            if not KINDS[self.kind].allows(name[1]):  # from before the CRD said so
                told = f"metadata.name: {name[1]!r}: {KINDS[self.kind].name_rule}"
                await self._tell(name, known, self._invalid(this, INVALID_SPEC, told))
                return
            try:
                status = await self._round(name, known, spec, this)
            except ClusterError as error:
                if error.namespace_ends:
                    return  # and so does this resource
                raise
            except Exception as error:  # whatever it is, it is this resource's alone
                told = describe(error)
                await self._tell(name, known, self._invalid(this, FAULT, f"could not be reconciled: {told}"))
                raise ReconcileError(told) from None
        await self._tell(name, known, status)

    @abstractmethod
    async def _round(self, name: Name, known: K, spec: S, this: Round) -> Status:
        """Makes the objects as they should be and returns the status that says how they are."""

    @abstractmethod
    def _invalid(self, this: Round, reason: str, message: str) -> Status:
        """Returns the status of one that can't be acted on."""

    async def _clean_up(self, name: Name) -> None:
        """Does what is left to do once one is gone; Kubernetes itself deletes what it owned."""

    async def _sync(self, name: Name, known: K, wanted: Sequence[Wanted]) -> list[Refusal]:
        """Makes a resource's objects as they should be, unless it is paused; returns what can't be so."""
        if is_paused(known.body):
            return []
        refused = await self._children.sync(self._key(name), known.uid, wanted)
        if refused:
            self._again(name, _REFUSED_SECONDS)
        return refused

    def _is_told(self, condition: Mapping[str, Any]) -> bool:
        """Returns whether the turn of a condition is worth an event."""
        return bool(condition["status"] == "True")

    def _news(self, previous: Mapping[str, Any], status: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Returns what else is worth an event, in the form of conditions."""
        return ()

    def _may_write(self, name: Name, known: K, status: Status) -> bool:
        """Returns whether a status that says something new is to be written now."""
        return True

    def _key(self, name: Name) -> Key:
        return (self.kind, *name)

    async def _tell(self, name: Name, known: K, status: Status) -> None:
        """Writes the status if it says anything new, and tells people of conditions that turned."""
        body, previous = known.body, known.status
        if status == previous or not self._may_write(name, known, status):
            return
        try:
            written = await self._cluster.apply_status(Ref(self.kind, *name), status)
        except ClusterError as error:
            if error.status == 404:
                return  # it has been deleted meanwhile
            raise
        self.seen(written)
        for condition in transitions(previous.get("conditions", []), status["conditions"]):
            if self._is_told(condition):
                self._announce(body, condition)
        for news in self._news(previous, status):
            self._announce(body, news)


def is_paused(body: Mapping[str, Any]) -> bool:
    """Returns whether a resource asks to be left as it is."""
    return (body["metadata"].get("annotations") or {}).get(PAUSED_ANNOTATION) == "true"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
