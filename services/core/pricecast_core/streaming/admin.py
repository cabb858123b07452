"""Topics on the broker: made if they are absent, and read back from their end.

In a cluster the operator makes the topics; on a laptop the first service that needs one does. Both take retention
from `pricecast_core.topics`, and partitions and replication from the broker's defaults unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import admin as kafka_admin

from pricecast_core.errors import PricecastError, StoppedWaitingError
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


def ensure_topics(brokers: str, pipeline: str, specs: Iterable[TopicSpec]) -> None:
    """Creates those of the topics that are absent. Safe to call by several processes at once.

    Raises:
        StreamError: If the broker can't be reached or refuses.
    """
    admin: Any = _admin.AdminClient({"bootstrap.servers": brokers, **CLIENT})
    try:
        existing = admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
    except KafkaException as error:
        raise StreamError(f"kafka_brokers: {brokers} can't be reached: {error.args[0].str()}") from None
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


def tail(brokers: str, topic: str, count: int) -> list[bytes]:
    """Returns the values of the last `count` messages of each partition of a topic, oldest first.

    This is how a source resumes after a crash: what it wrote last says where it stopped. Empty where there is no
    such topic.

    Raises:
        StreamError: If the broker can't be reached.
    """
    consumer = Consumer(
        {
            **CLIENT,
            "bootstrap.servers": brokers,
            "group.id": "pricecast-tail",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    values: list[bytes] = []
    try:
        found = consumer.list_topics(topic, timeout=_TIMEOUT_SECONDS).topics[topic]
        for partition in () if found.error else found.partitions:
            values += _partition_tail(consumer, topic, partition, count)
    except KafkaException as error:
        raise StreamError(f"topic {topic!r}: can't be read from {brokers}: {error.args[0].str()}") from None
    finally:
        consumer.close()
    return values


def _partition_tail(consumer: Consumer, topic: str, partition: int, count: int) -> list[bytes]:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_SECONDS)
    span = count  # transaction markers and aborted messages take offsets too: look further back until there are enough
    while True:
        start = max(low, high - span)
        values = _read_to_end(consumer, TopicPartition(topic, partition, start if start > 0 else OFFSET_BEGINNING))
        if len(values) >= count or start == low:
            return values[-count:] if count else []
        span *= 4


def _read_to_end(consumer: Consumer, start: TopicPartition) -> list[bytes]:
    consumer.assign([start])
    values: list[bytes] = []
    while True:
        message = consumer.poll(_TIMEOUT_SECONDS)
        if message is None:
            raise StreamError(f"topic {start.topic!r}: no answer within {_TIMEOUT_SECONDS:.0f} s while reading its end")
        error = message.error()
        if error is None:
            values.append(message.value() or b"")
        elif error.code() == KafkaError._PARTITION_EOF:
            return values
        else:
            raise KafkaException(error)
