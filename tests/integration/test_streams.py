"""Trades to stored features through real processes over the embedded broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pricecast_embedded_broker import EmbeddedBroker
from tests.contracts.streams import StreamsContract


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    broker = EmbeddedBroker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker.address
    broker.stop()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(tmp_path / "own-broker")
    yield broker
    broker.stop()


class TestOnTheEmbeddedBroker(StreamsContract):
    pass
