"""Stored feature rows to scored predictions through real processes over the embedded broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pricecast_embedded_broker import EmbeddedBroker
from tests.contracts.forecasts import ForecastsContract


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    broker = EmbeddedBroker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker.address
    broker.stop()


class TestOnTheEmbeddedBroker(ForecastsContract):
    pass
