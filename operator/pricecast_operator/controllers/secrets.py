"""Secrets that specs name: their versions, and the values that the operator itself needs to look at stores.

Read one by one, by name, and read again once in a while. The operator lists and watches none: whoever may do that
reads every Secret of a namespace, whatever is selected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pricecast_core import logs
from pricecast_core.addresses import Address, of_url
from pricecast_core.errors import SettingsError
from pricecast_core.kafka import Kafka
from pricecast_core.stores.sql import parse_url
from pricecast_operator.cluster.api import Cluster
from pricecast_operator.cluster.errors import ClusterError
from pricecast_operator.observe.observed import Problem
from pricecast_resources.base import OptionalKey, SecretKeyRef
from pricecast_resources.storage import KafkaStorage

Name = tuple[str, str]
"""Namespace and name."""
_POSTGRES_PORT = 5432
log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret as it was read last.

    Attributes:
        version: Its identity and resource version; empty where there is none, or where it may not be read.
        values: Its values.
    """

    version: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


class Secrets:
    """Secrets that specs name.

    Args:
        cluster: The API server.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._kept: dict[Name, Secret] = {}

    async def get(self, namespace: str, name: str) -> Secret:
        """Returns a Secret as it was read last, or now if it never was.

        Raises:
            ClusterError: If the API server can't be reached.
        """
        if (namespace, name) not in self._kept:
            self._kept[namespace, name] = await self._read(namespace, name)
        return self._kept[namespace, name]

    def known(self, namespace: str, ref: SecretKeyRef) -> str | None:
        """Returns a value as it was read last; None if there was none."""
        return self._kept.get((namespace, ref.name), Secret()).values.get(ref.key)

    def is_there(self, namespace: str, name: str) -> bool:
        """Returns whether there was such a Secret when it was read last."""
        return bool(self._kept.get((namespace, name), Secret()).version)

    def value(self, namespace: str, ref: SecretKeyRef) -> str | Problem:
        """Returns a value of a Secret, or why there is none."""
        value = self.known(namespace, ref)
        if value is not None:
            return value
        if self.is_there(namespace, ref.name):
            return Problem("SecretKeyMissing", f"Secret {ref.name} has no key {ref.key}")
        return Problem("SecretMissing", f"Secret {ref.name} does not exist, or may not be read by the operator")

    def database_url(self, namespace: str, ref: SecretKeyRef) -> str | Problem:
        """Returns the URL of a database that the operator can look at, or why it can't."""
        value = self.value(namespace, ref)
        if isinstance(value, Problem):
            return value
        where = f"key {ref.key} of Secret {ref.name}"
        try:
            parsed = parse_url(value)
        except SettingsError as error:
            return Problem("SecretInvalid", f"{where}: {error}")
        if parsed.get_backend_name() == "sqlite":
            return Problem("SecretInvalid", f"{where}: is a file of one pod; write postgresql://USER:PASSWORD@HOST/DB")
        return value

    def databases(self, namespace: str, refs: Iterable[SecretKeyRef]) -> dict[SecretKeyRef, Address]:
        """Returns where the databases are whose URLs these Secrets hold, as far as they say."""
        found = {}
        for ref in refs:
            url = self.database_url(namespace, ref)
            if not isinstance(url, Problem):
                parsed = parse_url(url)
                if parsed.host:
                    found[ref] = Address(parsed.host, parsed.port or _POSTGRES_PORT)
        return found

    def kafka(self, namespace: str, storage: KafkaStorage) -> Kafka | Problem:
        """Returns Kafka as a pipeline reaches it, or why it can't be: from Secrets that were read before."""
        found: dict[str, str] = {}
        for variable, ref in storage.secrets.items():
            value = self.value(namespace, ref)
            if not isinstance(value, Problem):
                found[variable] = value
            elif value.reason != "SecretKeyMissing" or not isinstance(ref, OptionalKey):
                return value
        try:
            return storage.reached(found)
        except SettingsError as error:
            return Problem("SecretInvalid", f"Secret {storage.secret_name}: {error}")

    def token_servers(self, namespace: str, storage: KafkaStorage) -> dict[SecretKeyRef, Address]:
        """Returns where Kafka's tokens are had, where the Secret says so."""
        ref = storage.secrets.get("KAFKA_TOKEN_URL")
        url = None if ref is None else self.known(namespace, ref)
        if ref is None or url is None:
            return {}
        try:
            return {ref: of_url(url, "KAFKA_TOKEN_URL")}
        except SettingsError:
            return {}  # the pods say what is wrong with it

    async def changed(self, used: Iterable[Name]) -> set[Name]:
        """Reads those that are used again and forgets the others; returns those that are not what they were."""
        names = set(used)
        self._kept = {name: secret for name, secret in self._kept.items() if name in names}
        found = set()
        for name, before in list(self._kept.items()):
            try:
                self._kept[name] = await self._read(*name)
            except ClusterError as error:
                log.warning("secret can't be read; its last version counts", error=str(error))
            if self._kept[name] != before:
                found.add(name)
        return found

    async def _read(self, namespace: str, name: str) -> Secret:
        try:
            version, values = await self._cluster.secret(namespace, name)
        except ClusterError as error:
            if error.status != 403:
                raise
            log.warning("secret may not be read; pods won't follow its changes", error=str(error))
            return Secret()
        return Secret(version, values)
