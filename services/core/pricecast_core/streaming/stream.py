"""One service's stream: a topic in, topics out, state between, moved forward together.

quixstreams consumes, keeps state and commits; a `StreamTask` says what happens to a message. Between two commits a
task may hold what it likes in memory, and just before each commit it writes what must last to the stream's state.
Under exactly-once the output, the dead letters, the state's changelog and the offsets are one Kafka transaction:
after a crash at any moment the stream goes on as if each message had been handled once.
"""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from confluent_kafka import KafkaException
from quixstreams import Application
from quixstreams.exceptions import QuixException
from quixstreams.models import TopicConfig
from quixstreams.sinks.base import BaseSink, SinkBackpressureError
from quixstreams.state import State

from pricecast_core import logs, metrics
from pricecast_core.dead_letters import dead_letter
from pricecast_core.errors import BadMessageError, StoreError
from pricecast_core.health import Health
from pricecast_core.messages import Message, decoder, encode
from pricecast_core.service import Stop
from pricecast_core.services import Service
from pricecast_core.settings import StreamSettings
from pricecast_core.streaming.admin import CLIENT, SESSION_TIMEOUT_MS, StreamError, ensure_topics
from pricecast_core.streaming.noise import quieten
from pricecast_core.streaming.watch import Watch
from pricecast_core.topics import DEAD_LETTERS, TopicSpec, topic_name

M = TypeVar("M", bound=Message)

TRANSACTION_TIMEOUT_MS = 10_000
"""How long a killed process's transaction can hold back those who read its output."""
_RESTART_SECONDS = (1.0, 2.0, 5.0, 10.0)
_STORE_RETRY_SECONDS = 2.0
log = logs.get(__name__)


class StreamTask(ABC, Generic[M]):
    """What a service does with the messages of a topic. All methods are called from one thread.

    Attributes:
        stateful: Whether it keeps state in the stream; without, there is no changelog topic.
        stream: The stream it runs in: state and output.
    """

    stateful: ClassVar[bool] = True
    stream: Stream[M]

    @abstractmethod
    def handle(self, message: M, partition: int) -> None:
        """Handles one message.

        Raises:
            BadMessageError: The message goes to the dead letters, and the stream goes on.
        """

    @abstractmethod
    def checkpoint(self) -> None:
        """Called before each commit that follows a message: state and output that must be in it are written here.

        What the task has written is its own to keep in memory too, until `discard`.

        Raises:
            StoreError: Nothing is committed; after a pause the same messages are handled again.
        """

    @abstractmethod
    def discard(self) -> None:
        """Called when memory may no longer agree with the state: forget everything that the state can give back.

        So it is at the start, after a failure (the messages since the last commit come again), and whenever
        partitions come or go (another replica may have moved on from here).
        """


class Stream(Generic[M]):
    """Runs a task over a topic until the process is asked to stop.

    Whatever the broker does, `run` goes on: it starts anew, with a growing pause, from the last commit.

    Args:
        service: The service: which topic it reads, which it writes beside the dead letters, its consumer group.
        settings: Brokers, intervals, folders.
        task: What to do.
        health: Learns whether the stream is alive and ready.
        stop: Ends it.
        exactly_once: False where a message may take longer than a transaction may (10 s), or output goes
            elsewhere; then output is written before offsets are committed, and must be idempotent.
        commit_every: Most messages between two commits; 0 leaves it to the interval.
    """

    def __init__(
        self,
        service: Service,
        settings: StreamSettings,
        task: StreamTask[M],
        health: Health,
        stop: Stop,
        *,
        exactly_once: bool = True,
        commit_every: int = 0,
    ) -> None:
        [source] = service.reads
        self.service = service.group
        self.group = f"{settings.pipeline}.{service.group}"
        self.source = topic_name(settings.pipeline, source)
        self._settings = settings
        self._specs = {spec.name: spec for spec in (source, *service.writes, DEAD_LETTERS)}
        self._names = {name: topic_name(settings.pipeline, spec) for name, spec in self._specs.items()}
        self._decode = decoder(source.message, *source.others)
        self._task = task
        task.stream = self
        self._stop = stop
        self._exactly_once = exactly_once
        self._commit_every = commit_every
        self._app: _Application | None = None
        self._stream_id = ""
        self._handled = 0
        self._counted = 0
        self._published = dict.fromkeys(self._names, 0)
        self._problem: str | None = "starting"
        self._held: str | None = None
        self.watch = Watch(
            service.group,
            settings,
            group=self.group,
            topics=[self.source],
            partitions=self._assigned,
            excuse=lambda: self._held,
        )
        health.alive("progress", self.watch.stalled)
        health.ready("broker", self.watch.unreachable)
        health.ready("stream", self._check)
        health.info("lag", self.watch.lag)
        stop.call(self._on_stop)

    def run(self) -> None:
        """Runs until asked to stop.

        Raises:
            Exception: What the task raises beside `BadMessageError` and `StoreError`: a defect.
        """
        quieten()
        self.watch.start()
        attempt = 0
        try:
            while not self._stop.is_set():
                handled = self._handled
                try:
                    self._run_once()
                    return
                except (QuixException, KafkaException, StreamError) as error:
                    attempt = 0 if self._handled > handled else attempt + 1
                    pause = _RESTART_SECONDS[min(attempt, len(_RESTART_SECONDS) - 1)]
                    self._problem = f"broke off, starting anew: {error}"
                    log.warning("stream broke off", error=str(error), kind=type(error).__name__, pause_seconds=pause)
                    self._stop.wait(pause)
        finally:
            self.watch.stop()

    def state(self, partition: int, key: str) -> State[Any, Any]:
        """Returns the lasting state of a key, as it is in this checkpoint. Not to be kept beyond it."""
        assert self._app is not None
        checkpoint = self._app.context.checkpoint
        state: State[Any, Any] = checkpoint.get_store_transaction(self._stream_id, partition).as_state(key.encode())
        return state

    def publish(self, topic: TopicSpec, key: str, message: Message) -> None:
        """Writes a message, as part of this checkpoint."""
        self._produce(topic.name, key.encode(), encode(message))

    def dead_letter(self, error: BadMessageError, message: M, partition: int) -> None:
        """Puts a message that was decoded, but can't be used, into the dead letters.

        For a message at fault, raise `BadMessageError` instead: that keeps its bytes and its offset.
        """
        letter = dead_letter(self.service, error, topic=self.source, partition=partition, value=encode(message))
        self._produce(DEAD_LETTERS.name, self.service.encode(), encode(letter))

    def _produce(self, name: str, key: bytes, value: bytes) -> None:
        assert self._app is not None
        self._app.context.producer.produce(self._names[name], value, key)
        self._published[name] += 1

    def _run_once(self) -> None:
        settings = self._settings
        self._task.discard()
        ensure_topics(settings.kafka, settings.pipeline, self._specs.values())
        app = self._app = _Application(self._task.discard, **self._configuration())
        topic = app.topic(
            self.source,
            value_deserializer="bytes",
            value_serializer="bytes",
            config=TopicConfig(num_partitions=None, replication_factor=None),
        )
        frame = app.dataframe(topic)
        if self._task.stateful:
            frame.register_store()
        self._stream_id = frame.stream_id
        frame.sink(_TaskSink(self, self._task, self._decode))
        self._problem = "waiting for partitions"
        if self._stop.is_set():
            return
        app.run()
        self._problem = "stopped"

    def _configuration(self) -> dict[str, Any]:
        settings = self._settings
        replica = settings.instance or f"{socket.gethostname()}-{os.getpid()}"
        consumer: dict[str, Any] = {
            **CLIENT,
            **dict(settings.kafka.security),
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": SESSION_TIMEOUT_MS // 3,
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 16_384,  # read ahead: seconds of work, not all the memory
        }
        if settings.instance:
            consumer["group.instance.id"] = settings.instance
        producer: dict[str, Any] = {**CLIENT, **dict(settings.kafka.security), "linger.ms": 5}
        if self._exactly_once:
            producer["transactional.id"] = f"{self.group}.{replica}"
            producer["transaction.timeout.ms"] = TRANSACTION_TIMEOUT_MS
            consumer["max.poll.interval.ms"] = 60_000
        return {
            "broker_address": settings.kafka_brokers,  # with credentials in it, it would be logged
            "consumer_group": self.group,
            "auto_offset_reset": settings.auto_offset_reset,
            "commit_interval": settings.commit_interval_seconds,
            "commit_every": self._commit_every,
            "consumer_poll_timeout": min(settings.commit_interval_seconds, 0.1),
            "consumer_extra_config": consumer,
            "producer_extra_config": producer,
            "state_dir": settings.state_dir / self.group / (settings.instance or "0"),
            "processing_guarantee": "exactly-once" if self._exactly_once else "at-least-once",
            "loglevel": None,  # logging is configured by pricecast_core.logs
            "request_timeout": 10.0,
        }

    def _on_stop(self) -> None:
        if self._app is not None:
            self._app.stop()

    def _assigned(self) -> set[int] | None:
        return None if self._app is None else self._app.partitions(self.source)

    def _check(self) -> str | None:
        if self._held is not None:
            return self._held
        app = self._app
        if app is not None and app.partitions(self.source) is not None and self._problem != "stopped":
            return "recovering state" if app.recovering() else None
        return self._problem

    def _before_commit(self) -> None:
        try:
            self._task.checkpoint()
        except StoreError as error:
            if self._held is None:
                log.warning("store refuses; nothing is committed until it takes the batch", error=str(error))
            self._held = f"store: {error}"
            self._task.discard()
            raise SinkBackpressureError(_STORE_RETRY_SECONDS) from error
        if self._held is not None:
            log.info("store takes batches again")
            self._held = None
        self.watch.progress()
        self._count()

    def _count(self) -> None:
        metrics.MESSAGES_IN.labels(self.service, self.source).inc(self._handled - self._counted)
        self._counted = self._handled
        for name, count in self._published.items():
            if count:
                metrics.MESSAGES_OUT.labels(self.service, self._names[name]).inc(count)
                self._published[name] = 0


class _TaskSink(BaseSink):
    """A task in the clothes of a quixstreams sink: `add` for each message, `flush` before each commit."""

    def __init__(self, stream: Stream[Any], task: StreamTask[Any], decode: Any) -> None:
        super().__init__(on_client_connect_success=lambda: None)
        self._stream = stream
        self._decode = decode
        self._handle = task.handle
        self._discard = task.discard

    def add(self, value: Any, key: Any, timestamp: int, headers: Any, topic: str, partition: int, offset: int) -> None:
        stream = self._stream
        stream._handled += 1
        try:
            self._handle(self._decode(value or b""), partition)
        except BadMessageError as error:
            letter = dead_letter(
                stream.service,
                error,
                topic=topic,
                partition=partition,
                offset=offset,
                key=key or b"",
                value=value or b"",
            )
            stream._produce(DEAD_LETTERS.name, stream.service.encode(), encode(letter))

    def flush(self) -> None:
        self._stream._before_commit()

    def on_paused(self) -> None:
        self._discard()


class _Application(Application):
    """quixstreams' application, less its signal handlers, plus a view of what is assigned.

    The overridden methods are not part of quixstreams' public interface; the tests of this module hold them.
    """

    def __init__(self, on_rebalance: Callable[[], None], **configuration: Any) -> None:
        super().__init__(**configuration)
        self._on_rebalance = on_rebalance
        self._partitions: dict[str, set[int]] | None = None

    @property
    def context(self) -> Any:
        """The checkpoint, state and producer in use."""
        return self._processing_context

    def partitions(self, topic: str) -> set[int] | None:
        """Returns the partitions of the topic that are ours; None before the first assignment."""
        owned = self._partitions
        return None if owned is None else set(owned.get(topic, ()))

    def recovering(self) -> bool:
        """Returns whether state is still being read back from the changelog."""
        return bool(self._state_manager.recovery_required)

    def _setup_signal_handlers(self) -> None:
        """Signals belong to `pricecast_core.service`, which stops the application."""

    def _on_assign(self, consumer: Any, topic_partitions: list[Any]) -> None:
        self._on_rebalance()
        super()._on_assign(consumer, topic_partitions)
        owned = dict(self._partitions or {})
        for item in topic_partitions:
            owned[item.topic] = owned.get(item.topic, set()) | {item.partition}
        self._partitions = owned

    def _on_revoke(self, consumer: Any, topic_partitions: list[Any]) -> None:
        try:
            super()._on_revoke(consumer, topic_partitions)  # commits first
        finally:
            self._on_rebalance()
        self._forget(topic_partitions)

    def _on_lost(self, consumer: Any, topic_partitions: list[Any]) -> None:
        super()._on_lost(consumer, topic_partitions)
        self._on_rebalance()
        self._forget(topic_partitions)

    def _forget(self, topic_partitions: list[Any]) -> None:
        owned = dict(self._partitions or {})
        for item in topic_partitions:
            owned[item.topic] = owned.get(item.topic, set()) - {item.partition}
        self._partitions = owned
