"""Writing to topics so exactly that the topics themselves say where the source stopped.

A source outside of Kafka has no offsets to commit: after a crash it resumes from what it wrote last. That is exact
only if what was written can't change any more once it has been read: a request of the killed process may still be on
its way. So every batch is a transaction under one lasting id. Opening the publisher ends what a process before it
left behind and shuts that process out; then `positions.last_values` reads the end of the topics, and nothing moves it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from pricecast_core import logs, metrics
from pricecast_core.kafka import connection
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
                **connection(settings.kafka),
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


def _explained(error: KafkaException) -> StreamError:
    reason: KafkaError = error.args[0]
    if reason.code() in (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED):
        return FencedError(f"broker: another process writes for this pipeline; only one may: {reason.str()}")
    return StreamError(f"broker: the batch may not be written: {reason.str()}")
