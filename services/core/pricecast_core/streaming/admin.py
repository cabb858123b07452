"""Topics on the broker: made if they are absent.

In a cluster the operator makes the topics; on a laptop the first service that needs one does. Both take retention
from `pricecast_core.topics`, and partitions and replication from the broker's defaults unless told otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import admin as kafka_admin

from pricecast_core.errors import PricecastError, StoppedWaitingError
from pricecast_core.kafka import Brokers, connection
from pricecast_core.streaming.noise import client_log
from pricecast_core.topics import TopicSpec, topic_name

CLIENT: dict[str, Any] = {"enable.metrics.push": False, "logger": client_log}
"""Settings that every Kafka client of pricecast has: no telemetry, and what it says goes to our log, throttled."""
SESSION_TIMEOUT_MS = 6_000
"""How long the partitions of a killed process stay without an owner: the shortest that brokers allow by default."""
BROKER_DEFAULT = -1
_admin: Any = kafka_admin  # untyped
_TIMEOUT_SECONDS = 10.0
_RIGHTS = "give the user all rights to topics, changelog__ topics, groups and transactional ids that begin with the pipeline's id"
REMEDIES: Mapping[int, str] = {
    KafkaError._AUTHENTICATION: "check KAFKA_USERNAME, KAFKA_PASSWORD or the client of KAFKA_TOKEN_URL, on a cluster the "
    "Secret that spec.storage.kafka.secretName names, and KAFKA_MECHANISM",
    KafkaError._SSL: "check KAFKA_CA, on a cluster ca.crt in the Secret, and that the brokers' certificate is of this host",
    KafkaError._INVALID_ARG: "check that KAFKA_CA, KAFKA_CERTIFICATE and KAFKA_KEY are PEM, and the key that of the certificate",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: _RIGHTS,
    KafkaError.GROUP_AUTHORIZATION_FAILED: _RIGHTS,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: _RIGHTS,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: _RIGHTS,
}
"""What to do, by the code of an error."""


class StreamError(PricecastError):
    """The broker can't be reached or refused an operation. Trying again may help."""


class StreamStoppedError(StreamError, StoppedWaitingError):
    """The process was asked to stop while it waited for the broker."""


def connected(brokers: Brokers, timeout_seconds: float = _TIMEOUT_SECONDS) -> tuple[Any, Any]:
    """Returns a client of the broker, and what the broker says of itself: its brokers and topics.

    Raises:
        StreamError: If the broker can't be reached; says why, as far as it tells.
    """
    admin: AdminClient | None = None
    try:
        admin = AdminClient(brokers)
        return admin.client, admin.client.list_topics(timeout=timeout_seconds)
    except KafkaException as error:
        told = explained(error.args[0]) if admin is None else admin.why(error)
        raise StreamError(f"kafka_brokers: {brokers} can't be reached: {told}") from None


class AdminClient:
    """A client of Kafka's admin API that remembers why a broker did not let it in.

    Args:
        brokers: Bootstrap servers.
        **settings: The client's settings that differ.

    Attributes:
        client: The client.

    Raises:
        KafkaException: If a certificate or key can't be used.
    """

    def __init__(self, brokers: Brokers, **settings: Any) -> None:
        self._reasons: deque[KafkaError] = deque(maxlen=20)
        self.client: Any = _admin.AdminClient({**CLIENT, **connection(brokers), "error_cb": self.heard, **settings})

    def heard(self, error: KafkaError) -> None:
        """Remembers an error that tells why.

        A failed handshake is told once; that all brokers are down, several times a second for as long as they are.
        """
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._reasons.append(error)

    def answered(self) -> None:
        """Forgets what went wrong before an answer came."""
        self.client.poll(0)
        self._reasons.clear()

    def why(self, error: KafkaException) -> str:
        """Returns why a call failed, and what to do.

        That nobody answered is all that a call says; why, a password or a certificate, comes beside it.
        """
        self.client.poll(0)
        said = sorted(self._reasons, key=lambda each: _remedy(each) == "")
        self._reasons.clear()
        first = error.args[0]
        told = ": ".join(dict.fromkeys([first.str(), *(each.str() for each in said[:1])]))
        remedy = _remedy(first) or (_remedy(said[0]) if said else "")
        return f"{told}; {remedy}" if remedy else told


def explained(error: KafkaError) -> str:
    """Returns what is wrong, and what to do where that is known."""
    remedy = _remedy(error)
    return f"{error.str()}; {remedy}" if remedy else str(error.str())


def _remedy(error: KafkaError) -> str:
    """Returns what to do; a handshake that fails is a matter of certificates, whatever its code."""
    code = KafkaError._SSL if "SSL routines" in error.str() else error.code()
    return REMEDIES.get(code, "")


def ensure_topics(brokers: Brokers, pipeline: str, specs: Iterable[TopicSpec]) -> None:
    """Creates those of the topics that are absent. Safe to call by several processes at once.

    Raises:
        StreamError: If the broker can't be reached or refuses.
    """
    admin, cluster = connected(brokers)
    existing = cluster.topics
    missing = [
        _admin.NewTopic(
            name,
            num_partitions=BROKER_DEFAULT,
            replication_factor=BROKER_DEFAULT,
            config=spec.config,
        )
        for spec in specs
        if (name := topic_name(pipeline, spec)) not in existing
    ]
    if not missing:
        return
    for name, made in admin.create_topics(missing, operation_timeout=_TIMEOUT_SECONDS).items():
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise StreamError(f"topic {name!r}: could not be created: {explained(error.args[0])}") from None
