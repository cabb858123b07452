"""A pipeline's topics through Kafka's admin API: made as planned, measured for lag, deleted if the spec says so.

Calls block: they belong in a thread. A broker that doesn't answer is asked again only after a pause, so that one
that is away costs one timeout, not one for each pipeline.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import admin as kafka_admin

from pricecast_core import logs
from pricecast_core.errors import BadMessageError, PricecastError
from pricecast_core.kafka import Brokers
from pricecast_core.messages import Candle, Message, Prediction, decode
from pricecast_core.streaming import StreamError, tail
from pricecast_core.streaming.admin import AdminClient, explained
from pricecast_core.streaming.positions import Place, Unread
from pricecast_core.topics import CANDLES, PREDICTIONS, TopicSpec, topic_name

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_kafka: Any = confluent_kafka  # untyped
_admin: Any = kafka_admin
_TIMEOUT_SECONDS = 5.0
_PAUSE_SECONDS = 6.0
_CLIENT: dict[str, Any] = {
    "socket.timeout.ms": 5_000,
    "socket.connection.setup.timeout.ms": 5_000,
    "reconnect.backoff.max.ms": 10_000,
    "log_level": 2,  # an unreachable broker is a condition, not a page of log
}
log = logs.get(__name__)


class TopicsError(PricecastError):
    """Topics are not as planned.

    Attributes:
        reason: One word for the condition.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """Topics of one pipeline.

    Attributes:
        topics: Specs by full name.
        partitions: Partitions of each; of topics that are there already, only if `exact`.
        replication: Copies of each partition.
        exact: Whether other partitions than those are wrong.
    """

    topics: Mapping[str, TopicSpec]
    partitions: int
    replication: int
    exact: bool = True


class Topics:
    """Kafka's admin API, for all brokers that pipelines name. Safe to use from several threads."""

    def __init__(self) -> None:
        self._clients: dict[Brokers, AdminClient] = {}
        self._unread: dict[Brokers, Unread] = {}
        self._away: dict[Brokers, tuple[float, TopicsError]] = {}
        self._lock = threading.Lock()

    def ensure(self, brokers: Brokers, plan: TopicPlan) -> int:
        """Creates the topics that are absent, mends the configuration of the others, and returns how many partitions they have.

        Raises:
            TopicsError: KafkaUnreachable, TopicsRefused or PartitionsDiffer.
        """

        def call(client: Any) -> int:
            existing = client.list_topics(timeout=_TIMEOUT_SECONDS).topics
            found = {name: len(existing[name].partitions) for name in plan.topics if name in existing}
            self._mend(client, {name: plan.topics[name].config for name in found})
            partitions = plan.partitions if plan.exact else min(found.values(), default=plan.partitions)
            absent = [name for name in plan.topics if name not in existing]
            self._create(client, replace(plan, partitions=partitions), absent)
            for name, count in found.items():
                if count != partitions:
                    raise TopicsError(
                        "PartitionsDiffer",
                        f"topic {name!r} has {count} partitions, {'spec.topics.partitions says' if plan.exact else 'others have'} "
                        f"{partitions}; delete the topic, or say as many",
                    )
            return partitions

        return self._guarded(brokers, call)

    def check_history(self, brokers: Brokers, pipeline: str, candle_seconds: int, *, simulated: bool) -> None:
        """Checks that what topics of an earlier pipeline of this name hold can be gone on with.

        Raises:
            TopicsError: KafkaUnreachable or OtherHistory.
        """
        remedy = "delete the pipeline's topics, or choose another metadata.name"

        def call(_: Any) -> None:
            candle = self._newest(brokers, topic_name(pipeline, CANDLES), Candle)
            if candle is not None and candle.candle_seconds != candle_seconds:
                told = f"holds candles of {candle.candle_seconds} s, candles.seconds is {candle_seconds}"
                raise TopicsError("OtherHistory", f"topic {topic_name(pipeline, CANDLES)!r} {told}; {remedy}")
            prediction = self._newest(brokers, topic_name(pipeline, PREDICTIONS), Prediction)
            if prediction is not None and prediction.simulated != simulated:
                market = "a simulated" if prediction.simulated else "a real"
                told = f"holds forecasts of {market} market, source.kind means another"
                raise TopicsError("OtherHistory", f"topic {topic_name(pipeline, PREDICTIONS)!r} {told}; {remedy}")

        self._guarded(brokers, call)

    def earlier(self, brokers: Brokers, plan: TopicPlan) -> list[str]:
        """Returns the topics that an earlier version made for the pipeline, named without its namespace.

        Raises:
            TopicsError: KafkaUnreachable.
        """

        def call(client: Any) -> list[str]:
            existing = client.list_topics(timeout=_TIMEOUT_SECONDS).topics
            return sorted(name for each in plan.topics if (name := each.partition(".")[2]) in existing)

        return self._guarded(brokers, call)

    def missing(self, brokers: Brokers, names: Iterable[str]) -> set[str]:
        """Returns those of the topics that are absent.

        Raises:
            TopicsError: KafkaUnreachable.
        """
        return self._guarded(
            brokers, lambda client: set(names) - set(client.list_topics(timeout=_TIMEOUT_SECONDS).topics)
        )

    def delete(self, brokers: Brokers, pipeline: str) -> list[str]:
        """Deletes a pipeline's topics, their changelogs and its consumer groups; returns the names of the topics.

        Raises:
            TopicsError: KafkaUnreachable or TopicsRefused.
        """

        def call(client: Any) -> list[str]:
            names = [
                name for name in client.list_topics(timeout=_TIMEOUT_SECONDS).topics if is_of_pipeline(name, pipeline)
            ]
            _all_done(client.delete_topics(names, operation_timeout=_TIMEOUT_SECONDS) if names else {}, "deleted")
            groups = self._groups(client, [pipeline]).get(pipeline, [])
            for made in (client.delete_consumer_groups(groups) if groups else {}).values():
                try:
                    made.result()
                except KafkaException as error:  # a group expires by itself once it is empty
                    log.info("consumer group is left to expire", error=error.args[0].str())
            return names

        return self._guarded(brokers, call)

    def lags(self, brokers: Brokers, pipelines: Iterable[str]) -> dict[str, dict[str, int]]:
        """Returns the messages not yet read, by pipeline and service, of all pipelines in one round of calls.

        Offsets at which there is no message, such as ends of transactions, don't count.

        Raises:
            TopicsError: KafkaUnreachable.
        """

        def call(client: Any) -> dict[str, dict[str, int]]:
            groups = self._groups(client, pipelines)
            asked = {
                group: client.list_consumer_group_offsets(
                    [_kafka.ConsumerGroupTopicPartitions(group)], request_timeout=_TIMEOUT_SECONDS
                )[group]
                for names in groups.values()
                for group in names
            }
            committed = {group: _partitions(future) for group, future in asked.items()}
            wanted = {(item.topic, item.partition) for items in committed.values() for item in items or ()}
            ends = (
                client.list_offsets(
                    {TopicPartition(*key): _admin.OffsetSpec.latest() for key in wanted},
                    request_timeout=_TIMEOUT_SECONDS,
                )
                if wanted
                else {}
            )
            end_of = {(item.topic, item.partition): _offset(future) for item, future in ends.items()}
            if wanted and all(end is None for end in end_of.values()):
                raise TopicsError("LagUnknown", f"{brokers} does not say how far any topic goes")
            unread = self._unread.setdefault(brokers, Unread(brokers)).count(_spans(committed, end_of))
            return {
                pipeline: {
                    group.removeprefix(f"{pipeline}."): lag
                    for group in names
                    if (lag := _lag(group, committed[group], unread)) is not None
                }
                for pipeline, names in groups.items()
            }

        return self._guarded(brokers, call)

    @staticmethod
    def _newest(brokers: Brokers, topic: str, kind: type[M]) -> M | None:
        """Returns a message that was written last to a partition of a topic; None where there is none, or no such."""
        try:
            values = tail(brokers, topic, 1)
            return decode(kind, values[-1]) if values else None
        except StreamError as error:
            raise TopicsError("KafkaUnreachable", str(error)) from None
        except BadMessageError:
            return None

    def _groups(self, client: Any, pipelines: Iterable[str]) -> dict[str, list[str]]:
        listed = client.list_consumer_groups(request_timeout=_TIMEOUT_SECONDS).result().valid
        groups: dict[str, list[str]] = {pipeline: [] for pipeline in pipelines}
        for group in listed:
            pipeline = group.group_id.rpartition(".")[0]
            if pipeline in groups:
                groups[pipeline].append(group.group_id)
        return groups

    def _create(self, client: Any, plan: TopicPlan, names: list[str]) -> None:
        new = [
            _admin.NewTopic(
                name,
                num_partitions=plan.partitions,
                replication_factor=plan.replication,
                config=plan.topics[name].config,
            )
            for name in names
        ]
        if new:
            _all_done(
                client.create_topics(new, operation_timeout=_TIMEOUT_SECONDS),
                "created",
                accepted=KafkaError.TOPIC_ALREADY_EXISTS,
            )

    def _mend(self, client: Any, configs: Mapping[str, dict[str, str]]) -> None:
        """Sets what differs of existing topics' configuration."""
        if not configs:
            return
        resources = {name: _admin.ConfigResource(_admin.ResourceType.TOPIC, name) for name in configs}
        found = client.describe_configs(list(resources.values()), request_timeout=_TIMEOUT_SECONDS)
        changes = []
        for resource, future in found.items():
            live = {name: entry.value for name, entry in future.result().items()}
            differing = {name: value for name, value in configs[resource.name].items() if live.get(name) != value}
            if differing:
                entries = [
                    _admin.ConfigEntry(name, value, incremental_operation=_admin.AlterConfigOpType.SET)
                    for name, value in differing.items()
                ]
                changes.append(
                    _admin.ConfigResource(_admin.ResourceType.TOPIC, resource.name, incremental_configs=entries)
                )
        if changes:
            _all_done(client.incremental_alter_configs(changes, request_timeout=_TIMEOUT_SECONDS), "configured")

    def keep(self, used: Collection[Brokers]) -> None:
        """Gives up the clients of all others, such as those by an old password."""
        with self._lock:
            for kept in (self._clients, self._unread, self._away):
                for brokers in [each for each in kept if each not in used]:
                    del kept[brokers]

    def _guarded(self, brokers: Brokers, call: Callable[[Any], T]) -> T:
        """Runs a call; what Kafka's client raises comes out as `TopicsError`."""
        with self._lock:
            until, error = self._away.get(brokers, (0.0, None))
            if error is not None:
                if time.monotonic() < until:
                    raise error
                self._pause(brokers, error)  # one asks whether they are back, the others don't wait along
            client = self._clients.get(brokers)
        try:
            if client is None:
                client = self._clients[brokers] = AdminClient(brokers, **_CLIENT)
            answer = call(client.client)
        except KafkaException as failed:
            told = explained(failed.args[0]) if client is None else client.why(failed)
            problem = TopicsError("KafkaUnreachable", f"{brokers} can't be reached: {told}")
            self._pause(brokers, problem)
            # The next call asks anew: what a client remembers of a cluster that has restarted can be wrong for minutes.
            self._clients.pop(brokers, None)
            raise problem from None
        client.answered()
        self._away.pop(brokers, None)
        return answer

    def _pause(self, brokers: Brokers, problem: TopicsError) -> None:
        self._away[brokers] = (time.monotonic() + _PAUSE_SECONDS, problem)


def _partitions(future: Any) -> list[Any] | None:
    """Returns what a group has committed; None where it isn't known, which is no matter of the other groups."""
    try:
        return list(future.result().topic_partitions)
    except KafkaException:
        return None


def _offset(future: Any) -> int | None:
    """Returns a partition's last offset; None where it isn't known, as of a topic that has just been deleted."""
    try:
        return int(future.result().offset)
    except KafkaException:
        return None


def _spans(
    committed: Mapping[str, list[Any] | None], end_of: Mapping[Place, int | None]
) -> dict[tuple[str, Place], tuple[int, int]]:
    """Returns the committed offset and the end of each place that a group reads, as far as both are known."""
    return {
        (group, (item.topic, item.partition)): (max(item.offset, 0), end)
        for group, items in committed.items()
        for item in items or ()
        if (end := end_of[item.topic, item.partition]) is not None
    }


def _lag(group: str, committed: list[Any] | None, unread: Mapping[tuple[str, Place], int]) -> int | None:
    """Returns the messages that a group has yet to read; None unless all of it is known."""
    counts = [unread.get((group, (item.topic, item.partition))) for item in committed or ()]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def is_of_pipeline(topic: str, pipeline: str) -> bool:
    """Returns whether a topic, or the changelog of a state, belongs to a pipeline."""
    return topic.removeprefix("changelog__").startswith(f"{pipeline}.")


def _all_done(futures: Mapping[str, Any], done: str, accepted: int | None = None) -> None:
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != accepted:
                raise TopicsError(
                    "TopicsRefused", f"topic {name!r} could not be {done}: {explained(error.args[0])}"
                ) from None
