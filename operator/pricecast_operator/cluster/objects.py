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

from pricecast_operator.render.labels import PROCESS
from pricecast_operator.render.pods import Manifest

WORKLOADS = ("Deployment", "Job", "CronJob")
"""Kinds that run processes."""
_TOLD = (*WORKLOADS, "Pod")
"""Kinds whose status is told of in our own."""
_VOLATILE = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
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
        """Wraps a rendered object."""
        content = _dump(manifest)
        return cls(Ref.of(manifest), content, _digest(content))

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
        owners: Uids of its owners.
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
    owners: tuple[str, ...]
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
        kept = {name: value for name, value in metadata.items() if name not in _VOLATILE}
        rest = {name: value for name, value in live.items() if name not in ("status", "metadata", "kind", "apiVersion")}
        content = _dump({**rest, "metadata": kept})
        kind = sys.intern(live["kind"])
        return cls(
            ref=Ref(kind, sys.intern(metadata.get("namespace", "")), metadata["name"]),
            uid=metadata["uid"],
            version=int(metadata.get("resourceVersion") or 0),
            owners=tuple(owner["uid"] for owner in metadata.get("ownerReferences", ())),
            process=sys.intern((metadata.get("labels") or {}).get(PROCESS, "")) if kind in WORKLOADS else "",
            generation=int(metadata.get("generation") or 0),
            status=dict(live.get("status") or {}) if kind in _TOLD else {},
            content=content,
            digest=_digest(content),
            deleting="deletionTimestamp" in metadata,
        )


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
