"""Live objects as the operator remembers them, and whether they are what they should be. Pure.

An object is right if it holds everything that was rendered: what the API server fills in and what others add is
theirs. Comparing costs a parse, so the answer is kept by two digests, of what is wanted and of what is there; it is
asked again only when either changes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pricecast_operator.render.labels import MANAGER, PROCESS, RENDERED_ANNOTATION
from pricecast_operator.render.pods import Manifest

WORKLOADS = ("Deployment", "Job", "CronJob")
"""Kinds that run processes."""
_TOLD = (*WORKLOADS, "Pod")
"""Kinds whose status is told of in our own."""
_VOLATILE = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
_ELSEWHERE = ("status", "metadata", "kind", "apiVersion")
_MUTABLE_OF_A_JOB = ("suspend", "ttlSecondsAfterFinished")


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Which object."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Ref:
        """Returns the reference of an object."""
        metadata = manifest["metadata"]
        return cls(manifest["kind"], metadata.get("namespace", ""), metadata["name"])

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an object can't be as it should be, until someone changes something.

    Attributes:
        ref: Which object.
        reason: One word for the condition.
        message: For people: names the object.
    """

    ref: Ref
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object as it should be.

    Attributes:
        ref: Which object.
        content: All of it, as JSON: a third of what the parsed object takes.
        digest: Digest of the content.
    """

    ref: Ref
    content: bytes
    digest: str

    @classmethod
    def of(cls, manifest: Manifest) -> Wanted:
        """Wraps a rendered object.

        It is marked with a digest of itself: of an object that merely holds all that is wanted nobody could tell that
        it also holds what was wanted once.
        """
        digest = _digest(_dump(manifest))
        metadata = manifest["metadata"]
        marked = {**metadata, "annotations": {**metadata.get("annotations", {}), RENDERED_ANNOTATION: digest}}
        return cls(Ref.of(manifest), _dump({**manifest, "metadata": marked}), digest)

    @property
    def manifest(self) -> Manifest:
        """The object as it was rendered."""
        return cast("Manifest", json.loads(self.content))


@dataclass(frozen=True, slots=True)
class Child:
    """An object as it is.

    Attributes:
        ref: Which object.
        uid: Its identity.
        version: Its resource version.
        controller: Uid of the resource that controls it; empty if nothing does.
        posted: Whether we own fields of it by having created it, and not yet by having applied it.
        process: The process that it runs; empty if it is no workload of a pipeline.
        generation: Generation of its spec.
        status: Its status, where anyone asks for it.
        content: All that is neither status nor bookkeeping, as JSON: small to keep, parsed only when compared.
        digest: Digest of the content.
        deleting: Whether it is on its way out.
    """

    ref: Ref
    uid: str
    version: int
    controller: str
    posted: bool
    process: str
    generation: int
    status: Mapping[str, Any]
    content: bytes
    digest: str
    deleting: bool

    @classmethod
    def of(cls, live: Mapping[str, Any]) -> Child:
        """Remembers a live object."""
        metadata = live["metadata"]
        kind = sys.intern(live["kind"])
        status = live.get("status") or {}
        content = b""  # of a pod, which is a Deployment's or a Job's, nothing is compared
        if kind == "Pod":
            status = _of_pod(status)
        else:
            kept = {name: value for name, value in metadata.items() if name not in _VOLATILE}
            rest = {name: value for name, value in live.items() if name not in _ELSEWHERE}
            content = _dump({**rest, "metadata": kept})
        return cls(
            ref=Ref(kind, sys.intern(metadata.get("namespace", "")), metadata["name"]),
            uid=metadata["uid"],
            version=int(metadata.get("resourceVersion") or 0),
            controller=controller_of(live),
            posted=fields_as_applied(metadata.get("managedFields") or ()) is not None,
            process=sys.intern((metadata.get("labels") or {}).get(PROCESS, "")) if kind in _TOLD else "",
            generation=int(metadata.get("generation") or 0),
            status=dict(status) if kind in _TOLD else {},
            content=content,
            digest=_digest(content),
            deleting="deletionTimestamp" in metadata,
        )

    def says_as_much_as(self, other: Child) -> bool:
        """Returns whether nothing that anyone asks for differs from another sight of the same object."""
        return (self.uid, self.controller, self.digest, self.generation, self.status, self.deleting) == (
            other.uid, other.controller, other.digest, other.generation, other.status, other.deleting
        )  # fmt: skip


def _of_pod(status: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is asked of a pod's status: where it is, and what keeps it from running. A tenth of it all."""
    kept = {name: status[name] for name in ("phase", "podIP", "reason", "message") if name in status}
    scheduled = [
        {name: each.get(name) for name in ("type", "status", "message")}
        for each in status.get("conditions") or ()
        if each["type"] == "PodScheduled" and each["status"] == "False"
    ]
    containers = [
        {
            name: each[name]
            for name in ("image", "ready", "state", "lastState")
            if each.get(name) not in (None, {}) and not (name == "lastState" and each.get("ready"))
        }
        for each in status.get("containerStatuses") or ()
    ]
    return {
        **kept,
        **({"conditions": scheduled} if scheduled else {}),
        **({"containerStatuses": containers} if containers else {}),
    }


def controller_of(live: Mapping[str, Any]) -> str:
    """Returns the uid of the resource that controls a live object; empty if nothing does."""
    references = live["metadata"].get("ownerReferences") or ()
    return next((str(each["uid"]) for each in references if each.get("controller")), "")


def fields_as_applied(managed: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """Returns `metadata.managedFields` with what we created turned into what we applied; None if it is so already.

    An object is created by a request that fails where the name is taken, which applying doesn't: it would adopt what
    is there. But only of applied fields does the API server know which to remove once they are applied no more.
    """
    entries = list(managed)
    ours = [each for each in entries if each.get("manager") == MANAGER and not each.get("subresource")]
    created = [each for each in ours if each.get("operation") == "Update"]
    if not created:
        return None
    others = [each for each in entries if each not in created]
    if len(created) < len(ours):
        return others  # applied already; what it held besides is nobody's
    return [*others, {**created[0], "operation": "Apply"}]


def is_as_wanted(wanted: Wanted, child: Child) -> bool:
    """Returns whether a live object holds everything that was rendered."""
    live, manifest = json.loads(child.content), wanted.manifest
    if wanted.ref.kind == "Job":  # its template can't change; other settings are another Job
        spec = manifest["spec"]
        return all(live["spec"].get(name) == spec[name] for name in _MUTABLE_OF_A_JOB if name in spec)
    return all(name in ("kind", "apiVersion") or contains(live.get(name), value) for name, value in manifest.items())


def job_patch(wanted: Wanted) -> Manifest:
    """Returns what may change of a Job that exists."""
    spec = wanted.manifest["spec"]
    return {"spec": {name: spec[name] for name in _MUTABLE_OF_A_JOB if name in spec}}


def contains(live: Any, wanted: Any) -> bool:
    """Returns whether `live` holds all of `wanted`; lists of named things by name, other lists as a whole."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(contains(live.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(live, list):
            return wanted == [] and live is None
        key = _key_of(wanted)
        if key:
            by_name = {each.get(key): each for each in live if isinstance(each, dict)}
            return all(contains(by_name.get(each[key]), each) for each in wanted)
        return len(live) == len(wanted) and all(contains(*pair) for pair in zip(live, wanted, strict=True))
    if wanted in ("", None, False, {}) and live is None:
        return True  # the API server leaves out what is empty
    return bool(live == wanted)


def _key_of(items: Iterable[Any]) -> str | None:
    items = list(items)
    for key in ("name", "uid"):
        if items and all(isinstance(each, dict) and key in each for each in items):
            return key
    return None


def _dump(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()
