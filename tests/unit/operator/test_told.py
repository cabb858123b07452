"""What the operator hears from a pod: the very answers of the services' health server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pricecast_core.health import Health
from pricecast_operator.observe.told import Told, told_by


@pytest.fixture
def health() -> Iterator[Health]:
    health = Health()
    yield health
    health.stop()


def test_what_is_lacking_and_facts_are_heard(health: Health) -> None:
    problems: dict[str, str | None] = {"stores": "its disk is full", "broker": None}
    health.ready("stores", lambda: problems["stores"])
    health.ready("broker", lambda: problems["broker"])
    health.info("waits for", lambda: "rows")
    port = health.start("127.0.0.1", 0)
    assert told_by("127.0.0.1", port) == Told("stores: its disk is full", {"waits for": "rows"})
    problems["stores"] = None
    assert told_by("127.0.0.1", port) == Told("", {"waits for": "rows"})
    health.stop()
    assert told_by("127.0.0.1", port) == Told()
