"""Values of Secrets that the operator itself needs: addresses of databases, keys to look at stores with.

Read one by one where a spec names them, never listed or watched, and kept for a minute.
"""

from __future__ import annotations

import time

from pricecast_core import logs
from pricecast_operator.api.base import SecretKeyRef
from pricecast_operator.apply import Cluster, ClusterError

_KEEP_SECONDS = 60.0
log = logs.get(__name__)


class Secrets:
    """Secrets that specs name.

    Args:
        cluster: The API server.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._kept: dict[tuple[str, str], tuple[float, dict[str, str]]] = {}

    async def value(self, namespace: str, ref: SecretKeyRef) -> str | None:
        """Returns a value; None if there is none, or it may not be read."""
        until, values = self._kept.get((namespace, ref.name), (0.0, {}))
        if time.monotonic() >= until:
            try:
                values = await self._cluster.secret(namespace, ref.name)
            except ClusterError as error:
                log.warning("secret can't be read", secret=f"{namespace}/{ref.name}", error=str(error))
            self._kept[namespace, ref.name] = (time.monotonic() + _KEEP_SECONDS, values)
        return values.get(ref.key)

    def known(self, namespace: str, ref: SecretKeyRef) -> str | None:
        """Returns a value as it was read last; None if there was none."""
        return self._kept.get((namespace, ref.name), (0.0, {}))[1].get(ref.key)
