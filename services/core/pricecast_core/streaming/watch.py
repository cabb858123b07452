"""A look at a consumer from outside: does the broker answer, how far behind is the group, does it move?

A Kafka client can stall without an error, and a stalled client doesn't know that messages are waiting. So a thread
with a connection of its own compares the group's committed offsets with the ends of the partitions. Offsets alone
don't tell whether a message is waiting, as transaction markers take offsets too: before a stall is declared, the
watch reads on from the committed offset and sees for itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pricecast_core import metrics
from pricecast_core.settings import StreamSettings
from pricecast_core.streaming.positions import anything_at, committed, reader, unread_span

_CALL_SECONDS = 5.0
_LONGEST_INTERVAL_SECONDS = 5.0
_PROBE_SECONDS = 3.0


@dataclass(slots=True)
class _Partition:
    """What is known of one partition: committed offset, its end, the offset up to which nothing is left to read."""

    committed: int = -1
    end: int = -1
    empty_up_to: int = -1
    stuck_since: float | None = None


class Watch:
    """Watches one consumer group over its topics, from a thread of its own.

    Args:
        service: Name of the service, for metrics.
        settings: Brokers and the time after which a consumer counts as stalled.
        group: The consumer group.
        topics: Full names of the topics.
        partitions: The partitions that this process owns, of each topic alike; None while it owns none yet.
        excuse: Why standing still is right at the moment, or None.
    """

    def __init__(
        self,
        service: str,
        settings: StreamSettings,
        *,
        group: str,
        topics: Sequence[str],
        partitions: Callable[[], set[int] | None],
        excuse: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._service = service
        self._brokers = settings.kafka
        self._group = group
        self._topics = topics
        self._owned = partitions
        self._excuse = excuse
        self._reset = settings.auto_offset_reset
        self._timeout = settings.stall_timeout_seconds
        self._interval = min(_LONGEST_INTERVAL_SECONDS, self._timeout / 4)
        self._state: dict[tuple[str, int], _Partition] = {}
        self._moved = 0
        self._seen_moved = 0
        self._unreachable_since: float | None = None
        self._unreachable = ""
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts to watch."""
        self._thread = threading.Thread(target=self._run, name=f"watch {self._group}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch."""
        self._done.set()
        if self._thread is not None:
            self._thread.join(timeout=_CALL_SECONDS + 1)

    def progress(self) -> None:
        """Says that the consumer has moved; called at each commit."""
        self._moved += 1

    def lag(self) -> dict[str, int]:
        """Returns the number of messages not yet handled, by topic."""
        lags = dict.fromkeys(self._topics, 0)
        for (topic, _), known in list(self._state.items()):
            lags[topic] += _waiting(known)
        return lags

    def stalled(self) -> str | None:
        """Says where messages wait and none was handled for too long; None while all moves."""
        now = time.monotonic()
        for (topic, partition), known in list(self._state.items()):
            if known.stuck_since is not None and now - known.stuck_since > self._timeout:
                return (
                    f"{topic}[{partition}] stands at offset {known.committed} of {known.end} for "
                    f"{now - known.stuck_since:.0f} s while messages wait"
                )
        return None

    def unreachable(self) -> str | None:
        """Says since when the broker doesn't answer; None while it does."""
        since = self._unreachable_since
        if since is None:
            return None
        return f"{self._brokers} doesn't answer for {time.monotonic() - since:.0f} s: {self._unreachable}"

    def _run(self) -> None:
        consumer = reader(self._brokers, self._group, **{"queued.max.messages.kbytes": 1024})
        try:
            while True:
                try:
                    self._look(consumer)
                    self._unreachable_since = None
                except KafkaException as error:
                    if self._unreachable_since is None:
                        self._unreachable_since = time.monotonic()
                    self._unreachable = str(error.args[0].str())
                    self._excuse_all()
                if self._done.wait(self._interval):
                    return
        finally:
            consumer.close()

    def _look(self, consumer: Consumer) -> None:
        owned = self._owned()
        items = [TopicPartition(topic, partition) for topic in self._topics for partition in sorted(owned or ())]
        for key in self._state.keys() - {(item.topic, item.partition) for item in items}:
            del self._state[key]
        if not items:  # still ask, to know whether the broker answers
            consumer.list_topics(self._topics[0], timeout=_CALL_SECONDS)
            return
        moved, self._seen_moved = self._moved != self._seen_moved, self._moved
        for item in committed(consumer, items):
            self._judge(consumer, item, *unread_span(consumer, item, self._reset), moved=moved)
        for topic, lag in self.lag().items():
            metrics.CONSUMER_LAG.labels(self._service, topic).set(lag)

    def _judge(self, consumer: Consumer, item: TopicPartition, start: int, end: int, *, moved: bool) -> None:
        known = self._state.setdefault((item.topic, item.partition), _Partition())
        stands = start == known.committed and not moved
        known.committed, known.end = start, end
        if not _waiting(known) or not stands or self._excuse() is not None:
            known.stuck_since = None
        elif known.stuck_since is None:
            if self._anything_at(consumer, item.topic, item.partition, start):
                known.stuck_since = time.monotonic()
            else:
                known.empty_up_to = end

    def _anything_at(self, consumer: Consumer, topic: str, partition: int, offset: int) -> bool:
        try:  # a broker that gives no answer gives nothing to the service either
            return anything_at(consumer, topic, partition, offset, _PROBE_SECONDS) is True
        finally:
            consumer.unassign()

    def _excuse_all(self) -> None:
        for known in self._state.values():
            known.stuck_since = None


def _waiting(known: _Partition) -> int:
    return 0 if known.empty_up_to >= known.end else max(0, known.end - known.committed)
