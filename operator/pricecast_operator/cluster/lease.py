"""One operator at a time: whoever holds the Lease reconciles, the others wait for it.

A Lease of coordination.k8s.io says who holds it and when it was renewed last. Clocks differ, so nobody compares that
time with their own: a Lease counts as abandoned once it has not changed, seen from here, for as long as it lasts.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from pricecast_core.errors import PricecastError
from pricecast_operator.cluster.errors import ClusterError
from pricecast_operator.cluster.objects import Ref
from pricecast_operator.render.labels import MANAGED_BY, MANAGER
from pricecast_operator.render.pods import Manifest

NAME = "pricecast-operator"
SERVES = "pricecast.dev/serves"
"""Annotation: the namespaces that the holder serves; empty means all."""


class Server(Protocol):
    """The API server, as far as Leases need it. Calls block."""

    def find(self, ref: Ref) -> Manifest | None:
        """Returns an object, or None if there is none."""

    def put(self, manifest: Manifest) -> Manifest:
        """Creates an object, or replaces the version that the manifest is of; returns it as it is now."""

    def find_all(self, kind: str, labels: str) -> list[Manifest]:
        """Returns the objects of a kind in all namespaces."""


class LeaseTakenError(PricecastError):
    """Another operator serves the same namespaces under a Lease of its own."""


def identity() -> str:
    """Returns a name for this process that no other has, and that tells people where it runs."""
    user = "" if "KUBERNETES_SERVICE_HOST" in os.environ else f"{os.environ.get('USER') or os.getuid()}@"
    return f"{user}{socket.gethostname()}_{uuid.uuid4().hex[:8]}"


@dataclass
class Lease:
    """The Lease of the operators of a namespace.

    Attributes:
        server: The API server.
        namespace: Where the Lease is.
        serves: The namespaces that this operator serves; empty means all.
        owners: Owner references of the Lease: it goes with them.
        holder: Who we are.
        seconds: How long the Lease lasts unless it is renewed.
    """

    server: Server
    namespace: str
    serves: Sequence[str] = ()
    owners: Sequence[Manifest] = ()
    holder: str = field(default_factory=identity)
    seconds: float = 15.0

    def __post_init__(self) -> None:
        self._seen: tuple[Any, float] = (None, 0.0)
        self._ended = threading.Event()

    @property
    def _ref(self) -> Ref:
        return Ref("Lease", self.namespace, NAME)

    def acquire(self, waits: Callable[[str], None]) -> None:
        """Waits until we hold the Lease.

        Args:
            waits: Told the holder's name, whenever it is another one.

        Raises:
            LeaseTakenError: If an operator elsewhere serves the same namespaces.
        """
        self._refuse_rivals()
        told = ""
        while True:
            try:
                holder = self.attempt()
            except ClusterError as error:
                holder = f"unknown ({error})"
            if holder == self.holder:
                return
            if holder != told:
                told = holder
                waits(holder)
            time.sleep(self.seconds / 8)

    def attempt(self) -> str:
        """Takes or renews the Lease if it is free, abandoned or ours; returns who holds it.

        Raises:
            ClusterError: If the API server doesn't say.
        """
        found = self.server.find(self._ref)
        spec = (found or {}).get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if self._seen[0] != spec:
            self._seen = (spec, time.monotonic())
        free = not holder or time.monotonic() > self._seen[1] + float(spec.get("leaseDurationSeconds") or self.seconds)
        if holder != self.holder and not free:
            return holder
        try:
            self._write(found, self.holder)
        except ClusterError as error:
            if error.status == 409:  # another was quicker
                return holder if holder != self.holder else "another"
            raise
        return self.holder

    def hold(self, lost: Callable[[str], None]) -> None:
        """Renews the Lease in a thread of its own until `release`; calls `lost` once it can't be held."""

        def renew() -> None:
            renewed = time.monotonic()
            while not self._ended.wait(self.seconds / 5):
                try:
                    holder = self.attempt()
                except ClusterError as error:
                    holder = f"unknown ({error})"
                if holder == self.holder:
                    renewed = time.monotonic()
                elif time.monotonic() > renewed + self.seconds * 2 / 3 or not holder.startswith("unknown"):
                    lost(holder)
                    return

        threading.Thread(target=renew, name="lease", daemon=True).start()

    def release(self) -> None:
        """Gives the Lease up, so that the next need not wait for its end."""
        self._ended.set()
        try:
            found = self.server.find(self._ref)
            if found is not None and (found.get("spec") or {}).get("holderIdentity") == self.holder:
                self._write(found, "")
        except ClusterError:
            return  # it runs out by itself

    def _write(self, found: Manifest | None, holder: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (found or {}).get("spec") or {}
        same = before.get("holderIdentity") == holder
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(self.seconds)),
            "renewTime": now,
            "acquireTime": before.get("acquireTime") if same else now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not same),
        }
        metadata: dict[str, Any] = {
            "name": NAME,
            "namespace": self.namespace,
            "labels": {MANAGED_BY: MANAGER},
            "annotations": {SERVES: ",".join(self.serves)},
            "ownerReferences": list(self.owners),
        }
        if found is not None:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        self.server.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})

    def _refuse_rivals(self) -> None:
        """Refuses to serve what an operator of another namespace serves, where we may know of it."""
        try:
            found = self.server.find_all("Lease", f"{MANAGED_BY}={MANAGER}")
        except ClusterError:
            return
        for each in found:
            spec, metadata = each.get("spec") or {}, each["metadata"]
            if metadata["namespace"] == self.namespace or not spec.get("holderIdentity") or _is_old(spec):
                continue
            theirs = {name for name in (metadata.get("annotations") or {}).get(SERVES, "").split(",") if name}
            if not theirs or not self.serves or theirs & set(self.serves):
                raise LeaseTakenError(
                    f"the operator {spec['holderIdentity']} of namespace {metadata['namespace']} serves "
                    f"{', '.join(sorted(theirs)) or 'all namespaces'}; stop it, or set NAMESPACE={metadata['namespace']} "
                    "to wait for it, or NAMESPACES to others than its"
                )


def _is_old(spec: Manifest) -> bool:
    """Returns whether a Lease has run out, give or take a minute that clocks may differ."""
    try:
        renewed = datetime.fromisoformat(str(spec["renewTime"]).replace("Z", "+00:00"))
    except (KeyError, ValueError):
        return True
    return (datetime.now(UTC) - renewed).total_seconds() > 60 + float(spec.get("leaseDurationSeconds") or 0)
