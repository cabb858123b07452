"""Writing to topics from outside of Kafka: an exchange, a news site, a file.

The producer is idempotent and never gives up on a message: while the broker is away its bounded queue fills, and
then `publish` waits, so that the source is slowed down rather than its data lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from pricecast_core import logs, metrics
from pricecast_core.dead_letters import dead_letter
from pricecast_core.errors import BadMessageError
from pricecast_core.health import Health
from pricecast_core.kafka import Brokers, connection
from pricecast_core.messages import Message, encode
from pricecast_core.service import Stop
from pricecast_core.settings import StreamSettings
from pricecast_core.streaming.admin import CLIENT, StreamError, StreamStoppedError, ensure_topics
from pricecast_core.topics import DEAD_LETTERS, TopicSpec, topic_name

QUEUE_MESSAGES = 100_000
_RETRY_SECONDS = 1.0
_CHECK_SECONDS = 0.2
log = logs.get(__name__)


class Publisher:
    """Writes messages to the topics of a pipeline, in order, each once.

    Safe to use from several threads.

    Args:
        service: Name of the service, for metrics and dead letters.
        settings: Brokers and pipeline.
        topics: The topics written to, beside the dead letters; they are created if absent.
        health: Learns whether the broker takes what is written.
        stop: Ends waits.
    """

    def __init__(
        self, service: str, settings: StreamSettings, topics: Iterable[TopicSpec], health: Health, stop: Stop
    ) -> None:
        self._service = service
        self._pipeline = settings.pipeline
        self._stop = stop
        self._error: StreamError | None = None
        self._failing_since: float | None = None
        self._waiting: str | None = None
        specs = {spec.name: spec for spec in (*topics, DEAD_LETTERS)}
        self._names = {name: topic_name(self._pipeline, spec) for name, spec in specs.items()}
        self._written = {name: metrics.MESSAGES_OUT.labels(service, full) for name, full in self._names.items()}
        self._producer = Producer(
            {
                **CLIENT,
                **connection(settings.kafka),
                "client.id": f"{self._pipeline}.{service}",
                "enable.idempotence": True,
                "message.timeout.ms": 0,  # for ever: giving up would lose data
                "queue.buffering.max.messages": QUEUE_MESSAGES,
                "linger.ms": 5,
                "error_cb": self._on_error,
            }
        )
        health.ready("broker", self._check)
        self._await_topics(settings.kafka, specs.values())

    def publish(self, topic: TopicSpec, key: str, message: Message) -> None:
        """Queues a message; waits while the queue is full.

        Raises:
            StreamError: If the producer has failed for good, or the process is to stop while the queue is full.
        """
        self._send(topic, key.encode(), encode(message))

    def dead_letter(self, error: BadMessageError, *, source: str, position: int = -1, value: bytes = b"") -> None:
        """Puts something that can't be used into the dead letters.

        Args:
            error: Why.
            source: File or address it came from.
            position: Line number or the like.
            value: What came, whole.
        """
        letter = dead_letter(self._service, error, topic=source, offset=position, value=value)
        self._send(DEAD_LETTERS, self._service.encode(), encode(letter))

    def flush(self, timeout_seconds: float = 30.0) -> None:
        """Waits until everything published is on the broker's disk.

        Raises:
            StreamError: If it isn't within the time.
        """
        deadline = time.monotonic() + timeout_seconds
        while remaining := self._producer.flush(min(1.0, max(0.0, deadline - time.monotonic()))):
            self._raise()
            if time.monotonic() >= deadline:
                raise StreamError(f"broker: {remaining} messages are not delivered after {timeout_seconds:.0f} s")
        self._raise()

    def flush_patiently(self) -> None:
        """Waits until everything published is on the broker's disk, however long the broker is away.

        Raises:
            StreamError: If the producer has failed for good, or the process is to stop before.
        """
        while remaining := self._producer.flush(_CHECK_SECONDS):
            self._raise()
            if self._stop.is_set():
                raise StreamStoppedError(f"broker: asked to stop while {remaining} messages are not delivered")
        self._raise()

    def pending(self) -> int:
        """Returns how many messages wait for the broker."""
        return len(self._producer)

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Delivers what is queued; what can't be delivered in time is logged and left to the next start."""
        try:
            self.flush(timeout_seconds)
        except StreamError as error:
            log.warning("closing with messages undelivered", error=str(error))

    def _await_topics(self, brokers: Brokers, specs: Iterable[TopicSpec]) -> None:
        specs = list(specs)
        while True:
            try:
                ensure_topics(brokers, self._pipeline, specs)
            except StreamError as error:
                self._waiting = str(error)
                log.warning("waiting for the broker", error=str(error))
                if self._stop.wait(_RETRY_SECONDS):
                    raise StreamStoppedError(f"broker: asked to stop while it is away: {error}") from None
            else:
                self._waiting = None
                return

    def _send(self, topic: TopicSpec, key: bytes, value: bytes) -> None:
        self._raise()
        name = self._names[topic.name]
        while True:
            try:
                self._producer.produce(name, value=value, key=key, on_delivery=self._on_delivery)
                break
            except BufferError:
                self._producer.poll(0.1)
                self._raise()
                if self._stop.is_set():
                    raise StreamStoppedError(
                        "broker: asked to stop while the queue of unsent messages is full"
                    ) from None
        self._written[topic.name].inc()
        self._producer.poll(0)

    def _on_delivery(self, error: KafkaError | None, _message: Any) -> None:
        if error is None:
            self._failing_since = None
        else:
            self._error = StreamError(f"broker: refused a message for good: {error.str()}")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._error = StreamError(f"broker: the producer has failed for good, restart: {error.str()}")
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and self._failing_since is None:
            self._failing_since = time.monotonic()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _check(self) -> str | None:
        since = self._failing_since
        if since is None or self._waiting is not None:
            return self._waiting
        try:
            self._producer.list_topics(timeout=_CHECK_SECONDS)
        except KafkaException:
            return f"can't be reached for {time.monotonic() - since:.0f} s; messages wait in memory"
        self._failing_since = None
        return None
