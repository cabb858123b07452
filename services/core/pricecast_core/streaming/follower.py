"""Reading a topic in batches, for a service that keeps its own state: at least once, in the order written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, TypeVar, cast

from confluent_kafka import Consumer, KafkaError, KafkaException

from pricecast_core import logs, metrics
from pricecast_core.errors import BadMessageError
from pricecast_core.health import Health
from pricecast_core.kafka import connection
from pricecast_core.messages import Message, decoder
from pricecast_core.service import Stop
from pricecast_core.settings import StreamSettings
from pricecast_core.streaming.admin import CLIENT, SESSION_TIMEOUT_MS, StreamError
from pricecast_core.streaming.publisher import Publisher
from pricecast_core.streaming.watch import Watch
from pricecast_core.topics import TopicSpec, topic_name

M = TypeVar("M", bound=Message)
_TRANSIENT = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
}
log = logs.get(__name__)


class Follower(Generic[M]):
    """Reads one topic as a member of the service's consumer group.

    A malformed message goes to the dead letters. While the broker is away, batches are empty and readiness says so.

    Args:
        service: Name of the service; with the pipeline it names the consumer group.
        settings: Brokers and pipeline.
        topic: The topic.
        health: Learns whether the reader is alive and ready.
        stop: Ends the iteration.
        publisher: Takes the dead letters.
        start: Where to start where nothing is committed yet; by default what the settings say.
    """

    def __init__(
        self,
        service: str,
        settings: StreamSettings,
        topic: TopicSpec,
        *,
        health: Health,
        stop: Stop,
        publisher: Publisher,
        start: Literal["earliest", "latest"] | None = None,
    ) -> None:
        self._service = service
        self._topic = topic_name(settings.pipeline, topic)
        self._decode = cast("Callable[[bytes], M]", decoder(topic.message, *topic.others))
        self._refused = False
        self._held: str | None = None
        self._stop = stop
        self._publisher = publisher
        self._partitions: set[int] | None = None
        self._read = metrics.MESSAGES_IN.labels(service, self._topic)
        group = f"{settings.pipeline}.{service}"
        configuration: dict[str, Any] = {
            **CLIENT,
            **connection(settings.kafka),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": start or settings.auto_offset_reset,
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": SESSION_TIMEOUT_MS // 3,
            "fetch.wait.max.ms": 100,
        }
        if settings.instance:
            configuration["group.instance.id"] = settings.instance
        self._consumer = Consumer(configuration)
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        self._watch = Watch(
            service,
            settings,
            group=group,
            topics=[self._topic],
            partitions=lambda: self._partitions,
            excuse=lambda: self._held,
        )
        health.alive("progress", self._watch.stalled)
        health.ready("broker", self._watch.unreachable)
        health.ready("stream", lambda: None if self._partitions is not None else "waiting for partitions")
        health.info("lag", self._watch.lag)
        self._watch.start()

    def batches(self, most: int = 1_000, timeout_seconds: float = 0.5) -> Iterator[list[M]]:
        """Yields the next messages until the process is asked to stop.

        A batch is empty where none came within `timeout_seconds`, so that the caller can do other work.

        Raises:
            StreamError: If the client has failed for good: restart.
        """
        while not self._stop.is_set():
            yield self._batch(most, timeout_seconds)

    def commit(self) -> None:
        """Commits what has been yielded so far; a crash before it gives the same messages again.

        While the broker is away nothing is committed; the next commit makes up for it.
        """
        if self._refused:  # the dead letters must be durable before their messages count as handled
            self._publisher.flush()
            self._refused = False
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._NO_OFFSET:
                return
            if error.args[0].fatal():
                raise StreamError(f"topic {self._topic!r}: commit failed for good: {error.args[0].str()}") from None
            log.warning("could not commit; the next commit makes up for it", error=error.args[0].str())
            return
        self._watch.progress()

    def hold(self, reason: str | None) -> None:
        """Takes no more messages while there is a reason, and yet stays in the group; None goes on.

        The caller keeps iterating over `batches`, which are empty meanwhile. Standing still counts as no stall.
        """
        if reason is None and self._held is not None:
            self._consumer.resume(self._consumer.assignment())
        self._held = reason

    def close(self) -> None:
        """Leaves the group."""
        self._watch.stop()
        self._consumer.close()

    def _batch(self, most: int, timeout_seconds: float) -> list[M]:
        if self._held is not None:
            self._consumer.pause(self._consumer.assignment())  # again each time: partitions may have come meanwhile
        first = self._consumer.poll(timeout_seconds)  # returns with the first message, whatever the batch's size
        if first is None:
            return []
        messages = [first, *self._consumer.consume(most - 1, timeout=0)] if most > 1 else [first]
        batch: list[M] = []
        for message in messages:
            error = message.error()
            if error is not None:
                if error.fatal() or error.code() not in _TRANSIENT:
                    raise StreamError(f"topic {self._topic!r}: reading failed: {error.str()}")
                continue
            self._read.inc()
            value = message.value() or b""
            try:
                batch.append(self._decode(value))
            except BadMessageError as bad:
                self._refused = True
                self._publisher.dead_letter(bad, source=self._topic, position=message.offset(), value=value)
            self._consumer.store_offsets(message)
        return batch

    def _on_assign(self, _consumer: Any, partitions: list[Any]) -> None:
        self._partitions = (self._partitions or set()) | {item.partition for item in partitions}

    def _on_revoke(self, _consumer: Any, partitions: list[Any]) -> None:
        self._partitions = (self._partitions or set()) - {item.partition for item in partitions}
