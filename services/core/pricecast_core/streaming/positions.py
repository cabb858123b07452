"""How far a topic is written and read: what was last written, what a consumer group has yet to read.

Whoever asks either, asks here: a source that resumes, a consumer that is watched, a replay that is to end when all of
it has gone through, the operator. Offsets alone don't tell: the end of a transaction takes an offset of its own, and so
do messages that were aborted. At rest the last offset of a topic that is written in transactions is such a marker, that
of another topic is a message. Only reading tells them apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pricecast_core.kafka import Brokers, connection
from pricecast_core.streaming.admin import CLIENT, StreamError

Place = tuple[str, int]
"""A topic and a partition."""
EXACT = 100
"""Up to so many offsets between a group and the end, messages are counted one by one; beyond, offsets are told."""
_CALL_SECONDS = 5.0
_READ_SECONDS = 10.0
_FIRST_WINDOW = 1_000


def reader(brokers: Brokers, group: str, **settings: Any) -> Consumer:
    """Returns a consumer that never joins its group: it reads what is committed where it is told, or asks for offsets.

    Args:
        brokers: Bootstrap servers.
        group: Whose offsets it may ask for.
        **settings: The client's settings that differ.
    """
    return Consumer(
        {
            **CLIENT,
            **connection(brokers),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            **settings,
        }
    )


def tail(brokers: Brokers, topic: str, count: int) -> list[bytes]:
    """Returns the values of the last `count` messages of each partition of a topic, oldest first.

    Args:
        brokers: Bootstrap servers.
        topic: Full name of the topic; one that isn't there has no values.
        count: How many of each partition.

    Raises:
        StreamError: If the broker can't be reached.
    """
    found: list[bytes] = []
    with reading(brokers, topic) as (consumer, partitions):
        for partition in partitions if count else ():
            values: list[bytes] = []
            for window in _backwards(consumer, TopicPartition(topic, partition), count):
                values = [value for _, value in window] + values
                if len(values) >= count:
                    break
            found += values[-count:]
    return found


def last_values(
    brokers: Brokers,
    topic: str,
    keys: Collection[str],
    enough: Callable[[str, list[bytes]], bool] = lambda _, found: True,
) -> dict[str, list[bytes]]:
    """Returns the values that were written last, by key, oldest first.

    Reads backwards from the end, in growing windows, until there is enough of each key or the topic begins: cheap
    where every key was written lately, as long as the topic where one never was.

    Args:
        brokers: Bootstrap servers.
        topic: Full name of the topic; one that isn't there has no values.
        keys: The keys looked for.
        enough: Whether the values found of a key suffice; called when there is one or more.

    Raises:
        StreamError: If the broker can't be reached.
    """
    values: dict[str, list[bytes]] = {}
    wanted = {key.encode(): key for key in keys}
    with reading(brokers, topic) as (consumer, partitions):
        unread = [_backwards(consumer, TopicPartition(topic, each), _FIRST_WINDOW) for each in partitions]
        while wanted and unread:  # all partitions at one pace: each key is in one of them only
            for windows in list(unread):
                window = next(windows, None)
                if window is None:
                    unread.remove(windows)
                    continue
                newer: dict[str, list[bytes]] = {}
                for key, value in window:
                    if key in wanted:
                        newer.setdefault(wanted[key], []).append(value)
                for name, older in newer.items():
                    values[name] = older + values.get(name, [])
                    if enough(name, values[name]):
                        del wanted[name.encode()]
    return values


def all_values(brokers: Brokers, topic: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Yields every committed message of a topic, partition by partition, as it was when that was begun.

    Args:
        brokers: Bootstrap servers.
        topic: Full name of the topic; one that isn't there has no messages.

    Yields:
        The oldest offset that the partition still keeps, the key and the value.

    Raises:
        StreamError: If the broker can't be reached.
    """
    with reading(brokers, topic) as (consumer, partitions):
        for partition in partitions:
            low, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_READ_SECONDS)
            if end > low:
                for key, value in _between(consumer, TopicPartition(topic, partition, low), end):
                    yield low, key, value


@dataclass(frozen=True, slots=True)
class Size:
    """How large a topic is.

    Attributes:
        partitions: Its partitions.
        offsets: Offsets between their beginnings and ends: messages, and the ends of transactions.
    """

    partitions: int
    offsets: int


def sizes(brokers: Brokers, names: Iterable[str]) -> dict[str, Size]:
    """Returns how large those of the topics are that exist.

    Raises:
        StreamError: If the broker can't be reached.
    """
    wanted = list(names)
    consumer = reader(brokers, _group_of(wanted[0]))
    try:
        existing = consumer.list_topics(timeout=_READ_SECONDS).topics
        found = {}
        for name in wanted:
            if name in existing:
                ends = [
                    consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=_READ_SECONDS)
                    for partition in existing[name].partitions
                ]
                found[name] = Size(len(ends), sum(high - low for low, high in ends))
        return found
    except KafkaException as error:
        raise StreamError(f"kafka_brokers: {brokers} can't be reached: {error.args[0].str()}") from None
    finally:
        consumer.close()


def committed(consumer: Consumer, places: Iterable[TopicPartition]) -> list[TopicPartition]:
    """Returns the places with what the consumer's group has committed of them; a negative offset where it has nothing.

    Raises:
        KafkaException: If the broker can't tell.
    """
    items = list(places)
    try:
        found: list[TopicPartition] = consumer.committed(items, timeout=_CALL_SECONDS)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:  # nothing committed yet: some brokers refuse
            return items
        raise
    for item in found:
        if item.error:
            raise KafkaException(item.error)
    return found


def unread_span(consumer: Consumer, place: TopicPartition, reset: str = "earliest") -> tuple[int, int]:
    """Returns from which offset on a group has yet to read a partition, and the partition's end.

    Args:
        consumer: Asks.
        place: The partition and what is committed of it (`committed`).
        reset: Where the group starts if nothing is: `earliest` or `latest`.

    Raises:
        KafkaException: If the broker can't tell.
    """
    low, end = consumer.get_watermark_offsets(place, timeout=_CALL_SECONDS)
    start = max(place.offset, low) if place.offset >= 0 or reset == "earliest" else end
    return min(start, end), end


def all_read(consumer: Consumer, topic: str) -> bool:
    """Returns whether the consumer's group has read all messages of a topic; False, too, where the broker can't tell."""
    try:
        found = consumer.list_topics(topic, timeout=_CALL_SECONDS).topics[topic]
        if found.error is not None:
            return False
        places = committed(consumer, [TopicPartition(topic, partition) for partition in found.partitions])
        for place in places:
            start, end = unread_span(consumer, place)
            if start < end and anything_at(consumer, topic, place.partition, start, _CALL_SECONDS) is not False:
                return False
    except KafkaException:
        return False
    return True


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

    def __init__(self, brokers: Brokers) -> None:
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
        consumer = reader(
            self._brokers,
            _group_of(spans[0][0][0]),
            **{"fetch.message.max.bytes": 65_536, "queued.max.messages.kbytes": 1_024},
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


@contextmanager
def reading(brokers: Brokers, topic: str) -> Iterator[tuple[Consumer, list[int]]]:
    """Gives a consumer of what is committed, and the topic's partitions.

    Raises:
        StreamError: If the broker can't be reached.
    """
    consumer = reader(brokers, _group_of(topic))
    try:
        found = consumer.list_topics(topic, timeout=_READ_SECONDS).topics[topic]
        yield consumer, [] if found.error else list(found.partitions)
    except KafkaException as error:
        raise StreamError(f"topic {topic!r}: can't be read from {brokers}: {error.args[0].str()}") from None
    finally:
        consumer.close()


def _group_of(topic: str) -> str:
    """Returns a group that whoever may read a pipeline's topics may name: the client asks for it, though nobody joins."""
    return f"{topic.rpartition('.')[0]}.reader"


def _backwards(consumer: Consumer, place: TopicPartition, window: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yields keys and values of a partition from its end backwards, in windows that grow: the newest window first."""
    low, end = consumer.get_watermark_offsets(place, timeout=_READ_SECONDS)
    while end > low:
        start = max(low, end - window)
        yield list(_between(consumer, TopicPartition(place.topic, place.partition, start), end))
        end, window = start, window * 4


def _between(consumer: Consumer, start: TopicPartition, end: int) -> Iterable[tuple[bytes, bytes]]:
    """Yields key and value of each committed message from `start` up to the offset `end`."""
    for message in messages_between(consumer, start, end):
        yield message.key() or b"", message.value() or b""


def messages_between(consumer: Consumer, start: TopicPartition, end: int | None = None) -> Iterator[Message]:
    """Yields each committed message from `start` up to the offset `end`, or to the end of the partition.

    Raises:
        StreamError: If the broker doesn't answer.
        KafkaException: If the partition can't be read.
    """
    consumer.assign([start])
    deadline = time.monotonic() + _READ_SECONDS
    while True:
        messages = consumer.consume(5_000, timeout=0.05)  # it waits so long for as many, even at the end
        if messages:
            deadline = time.monotonic() + _READ_SECONDS
        elif time.monotonic() > deadline:
            raise StreamError(f"topic {start.topic!r}: no answer within {_READ_SECONDS:.0f} s while reading its end")
        for message in messages:
            error = message.error()
            if error is None:
                if end is not None and (message.offset() or 0) >= end:
                    return
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            else:
                raise KafkaException(error)
