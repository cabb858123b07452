"""When a finite source has gone all the way through: nothing is left to read on any topic of the price path.

A service commits its place in a topic only with, or after, what it made of it. So once the source has ended, the
topics are looked at in the order in which data flows: where nothing follows a group's committed place, everything has
been handed on to the next topic.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pricecast_cli.local.supervisor import Supervisor
from pricecast_cli.local.threads import in_thread
from pricecast_core import services, topics
from pricecast_core.streaming.unread import anything_at

LOOK_SECONDS = 0.2
_CALL_SECONDS = 10.0
QUIET: Mapping[str, Any] = {"log_level": 0, "error_cb": lambda _error: None, "enable.metrics.push": False}
"""The broker comes and goes with the pipeline: what the client library says about it isn't for the screen."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One service's reading of a topic.

    Attributes:
        group: Its consumer group.
        topic: The topic's full name.
    """

    group: str
    topic: str


def hops(pipeline: str, processes: Collection[str]) -> list[Hop]:
    """Returns the hops of the price path among some processes, in the order in which data flows."""
    return [
        Hop(f"{pipeline}.{service.group}", topics.topic_name(pipeline, topic))
        for service in services.price_path()
        if service.name in processes
        for topic in service.reads
    ]


async def drained(supervisor: Supervisor, pipeline: str, brokers: str) -> bool:
    """Waits until the source has ended and all it gave has gone through. Returns False if it can't be."""
    if await supervisor.wait_for(services.TRADES.name, "done") != "done":
        return False
    chain = hops(pipeline, supervisor.watched)
    return await in_thread(lambda ended: wait_until_read(brokers, chain, ended))


def wait_until_read(brokers: str, chain: Sequence[Hop], ended: threading.Event) -> bool:
    """Waits until the groups have read their topics to the end, one after the other. Returns False if ended before."""
    return all(_wait_for_hop(brokers, hop, ended) for hop in chain)


def _wait_for_hop(brokers: str, hop: Hop, ended: threading.Event) -> bool:
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": hop.group,  # to ask for its offsets; never joined
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            **QUIET,
        }
    )
    try:
        while not ended.is_set():
            if _read_to_end(consumer, hop.topic):
                return True
            ended.wait(LOOK_SECONDS)  # a commit is no event that one could wait for
        return False
    finally:
        consumer.close()


def _read_to_end(consumer: Consumer, topic: str) -> bool:
    """Returns whether no message follows the group's committed places."""
    try:
        found = consumer.list_topics(topic, timeout=_CALL_SECONDS).topics[topic]
        if found.error is not None:
            return False
        partitions = [TopicPartition(topic, partition) for partition in found.partitions]
        places = consumer.committed(partitions, timeout=_CALL_SECONDS)
        return all(_nothing_after(consumer, place) for place in places)
    except KafkaException:
        return False


def _nothing_after(consumer: Consumer, place: TopicPartition) -> bool:
    low, high = consumer.get_watermark_offsets(place, timeout=_CALL_SECONDS)
    start = max(place.offset, low)
    if start >= high:
        return True
    return anything_at(consumer, place.topic, place.partition, start, _CALL_SECONDS) is False
