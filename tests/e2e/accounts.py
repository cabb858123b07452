"""The books of a pipeline on a simulated market: every trade in one candle, every candle in one prediction."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from tests.e2e.stack import Stack, until


def read(brokers: str, topic: str) -> list[dict[str, Any]]:
    """Returns every committed message of a topic with one partition, in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "accounts",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    messages: list[dict[str, Any]] = []
    try:
        while True:
            for message in consumer.consume(1_000, timeout=1):
                error = message.error()
                if error is None:
                    messages.append(json.loads(message.value() or b"{}"))
                elif error.code() == KafkaError._PARTITION_EOF:
                    return messages
                else:
                    raise AssertionError(error)
    finally:
        consumer.close()


def assert_nothing_lost_or_doubled(stack: Stack, pipeline: str, candle_seconds: int) -> None:
    """Compares trades with candles, and candles with the predictions in Elasticsearch."""
    step = candle_seconds * 1000
    candles = read(stack.brokers, f"{pipeline}.candles")
    starts = [each["window_start_ms"] for each in candles]
    assert starts == list(range(starts[0], starts[-1] + 1, step)), "candles are not one after another"
    records = read(stack.brokers, f"{pipeline}.trades")
    trades = [each for each in records if each.get("kind") != "clock"]  # clocks close the candles of a quiet pair
    ids = [each["trade_id"] for each in trades]
    assert ids == sorted(set(ids)), "a trade is doubled or out of order"
    end = starts[-1] + step
    counted = sum(each["trade_count"] for each in candles)
    assert counted == sum(starts[0] <= each["timestamp_ms"] < end for each in trades), "trades and candles differ"
    predictions = stack.predictions(pipeline)
    first = predictions[0]["feature_time_ms"]
    until(
        f"the prediction of {end}",
        lambda: stack.predictions(pipeline)[-1]["feature_time_ms"] >= end,
        90,
        pause=2,
    )
    times = [each["feature_time_ms"] for each in stack.predictions(pipeline) if each["feature_time_ms"] <= end]
    assert times == list(range(first, end + 1, step)), "predictions are not one for each candle"
