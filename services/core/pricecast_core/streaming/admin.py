"""Topics on the broker: made if they are absent.

In a cluster the operator makes the topics; on a laptop the first service that needs one does. Both take retention
from `pricecast_core.topics`, and partitions and replication from the broker's defaults unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
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


class StreamError(PricecastError):
    """The broker can't be reached or refused an operation. Trying again may help."""


class StreamStoppedError(StreamError, StoppedWaitingError):
    """The process was asked to stop while it waited for the broker."""


def connected(brokers: Brokers, timeout_seconds: float = _TIMEOUT_SECONDS) -> tuple[Any, Any]:
    """Returns a client of the broker, and what the broker says of itself: its brokers and topics.

    Raises:
        StreamError: If the broker can't be reached; says why, as far as it tells.
    """
    reasons: list[KafkaError] = []
    admin: Any = _admin.AdminClient({**CLIENT, **connection(brokers), "error_cb": reasons.append})
    try:
        return admin, admin.list_topics(timeout=timeout_seconds)
    except KafkaException as error:
        # That nobody answered is all that the call says; why, a password or a certificate, comes beside it.
        admin.poll(0)
        why = [each.str() for each in reasons if each.code() != KafkaError._ALL_BROKERS_DOWN]
        told = ": ".join(dict.fromkeys([error.args[0].str(), *why[:1]]))
        raise StreamError(f"kafka_brokers: {brokers} can't be reached: {told}") from None


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
                raise StreamError(f"topic {name!r}: could not be created: {error.args[0].str()}") from None
