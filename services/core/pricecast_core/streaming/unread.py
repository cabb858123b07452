"""What waits to be read behind a committed offset, for all who ask.

Offsets alone don't tell: the end of a transaction takes an offset of its own, and so do messages that were aborted. At
rest the last offset of a topic that is written in transactions is such a marker, that of another topic is a message.
Only reading tells them apart.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pricecast_core.streaming.admin import CLIENT

Place = tuple[str, int]
"""A topic and a partition."""
EXACT = 100
"""Up to so many offsets between a group and the end, messages are counted one by one; beyond, offsets are told."""
_CALL_SECONDS = 5.0


def anything_at(consumer: Consumer, topic: str, partition: int, offset: int, timeout_seconds: float) -> bool | None:
    """Returns whether a message lies at an offset or behind it; None if the broker gives no answer in time.

    Args:
        consumer: With `enable.partition.eof`; it is assigned the partition.
        topic: The topic.
        partition: Its partition.
        offset: Where to look from.
        timeout_seconds: Longest wait.

    Raises:
        KafkaException: If the partition can't be read.
    """
    consumer.assign([TopicPartition(topic, partition, offset)])
    message = consumer.poll(timeout_seconds)
    if message is None:
        return None
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return error is None


class Unread:
    """Counts the messages between committed offsets and the ends of partitions. For one thread at a time.

    Args:
        brokers: Bootstrap servers.
    """

    def __init__(self, brokers: str) -> None:
        self._brokers = brokers
        self._known: dict[tuple[Place, int, int], int] = {}

    def count(self, spans: Mapping[tuple[str, Place], tuple[int, int]]) -> dict[tuple[str, Place], int]:
        """Returns the messages that wait.

        Args:
            spans: The committed offset and the end, by consumer group and place.

        Raises:
            KafkaException: If a partition can't be read.
        """
        asked = {key: (key[1], start, end) for key, (start, end) in spans.items()}
        near = {span for span in asked.values() if 0 < span[2] - span[1] <= EXACT}
        self._known = {span: count for span, count in self._known.items() if span in near}
        self._read(sorted(near - self._known.keys()))
        return {key: self._known.get(span, max(0, span[2] - span[1])) for key, span in asked.items()}

    def _read(self, spans: list[tuple[Place, int, int]]) -> None:
        if not spans:
            return
        consumer = Consumer(
            {
                **CLIENT,
                "bootstrap.servers": self._brokers,
                "group.id": "pricecast-unread",  # never joined: partitions are assigned, nothing is committed
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "fetch.message.max.bytes": 65_536,
                "queued.max.messages.kbytes": 1_024,
            }
        )
        try:
            deadline = time.monotonic() + _CALL_SECONDS
            for (topic, partition), start, end in spans:
                consumer.assign([TopicPartition(topic, partition, start)])
                found = self._count_to(consumer, end, deadline)
                if found is None:
                    return  # no answer: offsets are told this time
                self._known[(topic, partition), start, end] = found
        finally:
            consumer.close()

    @staticmethod
    def _count_to(consumer: Any, end: int, deadline: float) -> int | None:
        count = 0
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return count
                raise KafkaException(error)
            if message.offset() < end:
                count += 1
            if message.offset() + 1 >= end:
                return count
        return None
