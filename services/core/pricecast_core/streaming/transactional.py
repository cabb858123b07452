"""Writing to topics so exactly that the topics themselves say where the source stopped.

A source outside of Kafka has no offsets to commit: after a crash it resumes from what it wrote last. That is exact
only if what was written can't change any more once it has been read: a request of the killed process may still be on
its way. So every batch is a transaction under one lasting id. Opening the publisher ends what a process before it
left behind and shuts that process out; then `last_values` reads the end of the topics, and nothing moves it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from pricecast_core import logs, metrics
from pricecast_core.messages import Message, encode
from pricecast_core.service import Stop
from pricecast_core.settings import StreamSettings
from pricecast_core.streaming.admin import CLIENT, StreamError, StreamStoppedError
from pricecast_core.topics import TopicSpec, topic_name

Record = tuple[TopicSpec, str, Message]
"""A topic, a key and a message."""

TRANSACTION_TIMEOUT_MS = 10_000
"""How long a killed process's transaction can hold back those who read its output."""
_CALL_SECONDS = 2.0
_STOP_SECONDS = 10.0
_READ_SECONDS = 10.0
_FIRST_WINDOW = 1_000
log = logs.get(__name__)


class FencedError(StreamError):
    """Another process has taken over: this one must end."""


class TransactionalPublisher:
    """Writes batches of messages, each batch whole or not at all, in order.

    Not safe to use from several threads. After any `StreamError` it is of no more use: whether the last batch was
    written is then unknown, and the topics have to be read again.

    Args:
        service: Name of the service, for metrics; with the pipeline it is the lasting transactional id.
        settings: Brokers and pipeline.
        stop: Ends waits.
        waiting: Told what is waited for, and `None` when it is over.

    Raises:
        StreamError: If the broker refuses, or the process is to stop while the broker is away.
    """

    def __init__(
        self, service: str, settings: StreamSettings, stop: Stop, waiting: Callable[[str | None], None] = lambda _: None
    ) -> None:
        self._service = service
        self._pipeline = settings.pipeline
        self._stop = stop
        self._waiting = waiting
        self._names: dict[str, str] = {}
        self._written: dict[str, Any] = {}
        self._producer = Producer(
            {
                **CLIENT,
                "bootstrap.servers": settings.kafka_brokers,
                "client.id": f"{settings.pipeline}.{service}",
                "transactional.id": f"{settings.pipeline}.{service}",
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "queue.buffering.max.messages": 200_000,
                "linger.ms": 2,
            }
        )
        self._patiently(self._producer.init_transactions)

    def write(self, records: Iterable[Record]) -> None:
        """Writes a batch and returns once it is on the broker's disk, for readers to see.

        The messages carry the time of writing, not the event's, as Kafka's timestamp: topics keep messages for days
        since then, and history of years ago would be deleted before anybody read it.

        Raises:
            StreamError: If it is not known to be written.
        """
        counts: dict[str, int] = {}
        producer = self._producer
        try:
            producer.begin_transaction()
            for topic, key, message in records:
                name = self._names.get(topic.name) or self._name(topic)
                value = encode(message)
                while True:
                    try:
                        producer.produce(name, value, key)
                        break
                    except BufferError:
                        producer.poll(0.1)
                        self._raise_if_stopped()
                counts[topic.name] = counts.get(topic.name, 0) + 1
        except KafkaException as error:
            raise _explained(error) from None
        self._patiently(producer.commit_transaction)
        for topic_key, count in counts.items():
            self._written[topic_key].inc(count)

    def _name(self, topic: TopicSpec) -> str:
        name = self._names[topic.name] = topic_name(self._pipeline, topic)
        self._written[topic.name] = metrics.MESSAGES_OUT.labels(self._service, name)
        return name

    def _patiently(self, call: Callable[[float], None]) -> None:
        """Repeats a call for as long as the broker is away; once asked to stop, for a few seconds only."""
        since = time.monotonic()
        stopping_since: float | None = None
        told = False
        while True:
            try:
                call(_CALL_SECONDS if not self._stop.is_set() else 1.0)
                break
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise _explained(error) from None
                reason = error.args[0].str()
            if not told:
                log.warning("waiting for the broker", error=reason)
                told = True
            self._waiting(f"can't be reached for {time.monotonic() - since:.0f} s: {reason}")
            if self._stop.is_set():
                stopping_since = stopping_since or time.monotonic()
                if time.monotonic() - stopping_since > _STOP_SECONDS:
                    raise StreamStoppedError(f"broker: asked to stop while it is away: {reason}")
        self._waiting(None)

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise StreamStoppedError("broker: asked to stop while the queue of unsent messages is full")


def last_values(
    brokers: str, topic: str, keys: Collection[str], enough: Callable[[str, list[bytes]], bool] = lambda _, found: True
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
    with _reading(brokers, topic) as (consumer, partitions):
        return _backwards(consumer, topic, partitions, keys, enough)


def all_values(brokers: str, topic: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Yields every committed message of a topic, partition by partition, as it was when that was begun.

    Args:
        brokers: Bootstrap servers.
        topic: Full name of the topic; one that isn't there has no messages.

    Yields:
        The oldest offset that the partition still keeps, the key and the value.

    Raises:
        StreamError: If the broker can't be reached.
    """
    with _reading(brokers, topic) as (consumer, partitions):
        for partition in partitions:
            low, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_READ_SECONDS)
            if end > low:
                for key, value in _between(consumer, TopicPartition(topic, partition, low), end):
                    yield low, key, value


@contextmanager
def _reading(brokers: str, topic: str) -> Iterator[tuple[Consumer, list[int]]]:
    """Gives a consumer of what is committed, and the topic's partitions.

    Raises:
        StreamError: If the broker can't be reached.
    """
    consumer = Consumer(
        {
            **CLIENT,
            "bootstrap.servers": brokers,
            "group.id": "pricecast-last-values",  # never joined: partitions are assigned, nothing is committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    try:
        found = consumer.list_topics(topic, timeout=_READ_SECONDS).topics[topic]
        yield consumer, [] if found.error else list(found.partitions)
    except KafkaException as error:
        raise StreamError(f"topic {topic!r}: can't be read from {brokers}: {error.args[0].str()}") from None
    finally:
        consumer.close()


def _backwards(
    consumer: Consumer,
    topic: str,
    partitions: list[int],
    keys: Collection[str],
    enough: Callable[[str, list[bytes]], bool],
) -> dict[str, list[bytes]]:
    values: dict[str, list[bytes]] = {}
    wanted = {key.encode(): key for key in keys}
    unread = {
        partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_READ_SECONDS)
        for partition in partitions
    }
    window = _FIRST_WINDOW
    while wanted and unread:  # all partitions at one pace: each key is in one of them only
        for partition, (low, end) in list(unread.items()):
            start = max(low, end - window)
            newer: dict[str, list[bytes]] = {}
            for key, value in _between(consumer, TopicPartition(topic, partition, start), end) if end > low else ():
                if key in wanted:
                    newer.setdefault(wanted[key], []).append(value)
            for name, older in newer.items():
                values[name] = older + values.get(name, [])
                if enough(name, values[name]):
                    del wanted[name.encode()]
            if start > low:
                unread[partition] = (low, start)
            else:
                del unread[partition]
        window *= 4
    return values


def _between(consumer: Consumer, start: TopicPartition, end: int) -> Iterable[tuple[bytes, bytes]]:
    """Yields key and value of each committed message from `start` up to the offset `end`."""
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
                if message.offset() >= end:
                    return
                yield message.key() or b"", message.value() or b""
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            else:
                raise KafkaException(error)


def _explained(error: KafkaException) -> StreamError:
    reason: KafkaError = error.args[0]
    if reason.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED):
        return FencedError(f"broker: another process writes for this pipeline; only one may: {reason.str()}")
    return StreamError(f"broker: the batch may not be written: {reason.str()}")
