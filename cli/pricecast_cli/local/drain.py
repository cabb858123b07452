"""When a finite source has gone all the way through: nothing is left to read on any topic of a path.

A service commits its place in a topic only with, or after, what it made of it. So once the source has ended, the
topics are looked at in the order in which data flows: where nothing follows a group's committed place, everything has
been handed on to the next topic.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pricecast_cli.local.supervisor import Supervisor
from pricecast_cli.local.threads import in_thread
from pricecast_core import services, topics
from pricecast_core.kafka import Brokers
from pricecast_core.streaming.positions import all_read, reader

LOOK_SECONDS = 0.2
QUIET: Mapping[str, Any] = {"log_level": 0, "error_cb": lambda _error: None}
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


def hops(pipeline: str, processes: Collection[str], path: Sequence[services.Service] | None = None) -> list[Hop]:
    """Returns the hops of a path, by default the price path, among some processes, in the order in which data flows."""
    return [
        Hop(f"{pipeline}.{service.group}", topics.topic_name(pipeline, topic))
        for row in path or services.price_path()
        for service in map(partial(services.part, row), range(1, len(processes) + 1))
        if service.name in processes
        for topic in service.reads
    ]


async def drained(
    supervisor: Supervisor, pipeline: str, brokers: Brokers, path: Sequence[services.Service] | None = None
) -> bool:
    """Waits until a path's source has ended and all it gave has gone through. Returns False if it can't be.

    Args:
        supervisor: Runs the path's services.
        pipeline: Name of the pipeline.
        brokers: Its Kafka.
        path: The services, the source first; by default the price path.
    """
    source = path[0] if path else services.TRADES
    if await supervisor.wait_for(source.name, "done") != "done":
        return False
    chain = hops(pipeline, supervisor.watched, path)
    return await in_thread(lambda ended: wait_until_read(brokers, chain, ended))


def wait_until_read(brokers: Brokers, chain: Sequence[Hop], ended: threading.Event) -> bool:
    """Waits until the groups have read their topics to the end, one after the other. Returns False if ended before."""
    return all(_wait_for_hop(brokers, hop, ended) for hop in chain)


def _wait_for_hop(brokers: Brokers, hop: Hop, ended: threading.Event) -> bool:
    consumer = reader(brokers, hop.group, **QUIET)
    try:
        while not ended.is_set():
            if all_read(consumer, hop.topic):
                return True
            ended.wait(LOOK_SECONDS)  # a commit is no event that one could wait for
        return False
    finally:
        consumer.close()
