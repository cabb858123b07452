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


def test_the_remedy_at_the_end_of_what_elasticsearch_says_of_a_full_disk_is_heard(health: Health) -> None:
    """As a predictor said it whose indices Elasticsearch had blocked: longer than 300 characters."""
    said = (
        "write: Elasticsearch rejected 26 documents 5 times: cluster_block_exception: index [pricecast-predictions] blocked "
        "by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block; for "
        "more information, see https://www.elastic.co/docs/troubleshoot/elasticsearch/fix-watermark-errors?version=9.5]; "
        "(its disk is full: free space or add a node); they are written again once it takes them"
    )
    health.ready("stores", lambda: said)
    assert told_by("127.0.0.1", health.start("127.0.0.1", 0)).problem == f"stores: {said}"
