"""Trades to stored features through real processes over a real Kafka."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pricecast_testbed import Kafka, Server
from tests.contracts.streams import OwnBroker, StreamsContract


@pytest.fixture
def brokers(kafka_brokers: str) -> str:
    return kafka_brokers


class _OwnKafka:
    """A Kafka that a test may take away."""

    def __init__(self, start: Callable[[type[Server]], Server]) -> None:
        self._start = start
        self._server: Server | None = None

    @property
    def address(self) -> str:
        assert self._server is not None
        return self._server.url

    def start(self) -> None:
        if self._server is None:
            self._server = self._start(Kafka)
        else:
            self._server.start()

    def stop(self) -> None:
        assert self._server is not None
        self._server.stop()


@pytest.fixture
def own_broker(own_server: Callable[[type[Server]], Server]) -> OwnBroker:
    return _OwnKafka(own_server)


class TestOnKafka(StreamsContract):
    pass
