"""How many partitions a pipeline begins with, where it doesn't say."""

from __future__ import annotations

from typing import Any

import pytest

from pricecast_resources.pricepipeline import PricePipelineSpec

COINS = [f"A{number}/USD" for number in range(20)]


@pytest.mark.parametrize(
    ("spec", "partitions"),
    [
        ({"pairs": COINS[:1]}, 1),
        ({"pairs": COINS[:5]}, 5),
        ({"pairs": COINS[:2], "features": {"companionPairs": COINS[2:4]}}, 4),
        ({"pairs": COINS}, 12),
        ({"pairs": COINS[:1], "replicas": 3}, 3),
        ({"pairs": COINS[:1], "services": {"candles": {"replicas": 4}}}, 4),
        ({"pairs": COINS[:1], "services": {"candles": {"autoscaling": {"maxReplicas": 6}}}}, 6),
        ({"pairs": COINS, "replicas": 0}, 12),
        ({"pairs": COINS, "topics": {"partitions": 2}}, 2),
    ],
)
def test_partitions_are_what_scaling_needs(spec: dict[str, Any], partitions: int) -> None:
    read = PricePipelineSpec.model_validate(spec)
    assert read.partitions == partitions
    assert read.with_partitions(7).partitions == 7
