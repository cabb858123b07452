"""The embedded broker for tests of real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pricecast_embedded_broker import EmbeddedBroker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker of the test's own, which may be taken away and brought back."""
    found = EmbeddedBroker(tmp_path / "broker")
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one broker for all tests of a module."""
    found = EmbeddedBroker(tmp_path_factory.mktemp("broker"))
    found.start()
    yield found.address
    found.stop()
