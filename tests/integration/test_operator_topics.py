"""A pipeline's topics through the admin API of a broker that speaks Kafka's protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from pricecast_core import topics as core
from pricecast_core.messages import Candle, Message, encode
from pricecast_embedded_broker.broker import running
from pricecast_operator.observe.kafka import TopicPlan, Topics, TopicsError, is_of_pipeline
from tests.contracts.predictions import a_prediction


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    with running() as address:
        yield address


def planned(pipeline: str, partitions: int = 2) -> TopicPlan:
    specs = {core.topic_name(pipeline, spec): spec for spec in (core.TRADES, core.NEWS)}
    return TopicPlan(specs, partitions, replication=1)


def config(brokers: str, topic: str) -> dict[str, str]:
    admin: Any = AdminClient({"bootstrap.servers": brokers})
    found = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])
    return {name: entry.value for future in found.values() for name, entry in future.result().items()}


def test_topics_are_made_as_planned(brokers: str) -> None:
    Topics().ensure(brokers, planned("made"))
    listed = AdminClient({"bootstrap.servers": brokers}).list_topics(timeout=60).topics
    assert len(listed["made.trades"].partitions) == 2
    assert config(brokers, "made.trades")["retention.ms"] == str(7 * core.DAY_MS)
    assert config(brokers, "made.news")["cleanup.policy"] == "compact"


def test_making_them_again_changes_nothing_and_other_retention_is_mended(brokers: str) -> None:
    topics, plan = Topics(), planned("mended")
    topics.ensure(brokers, plan)
    topics.ensure(brokers, plan)
    shorter = replace(core.TRADES, retention_ms=core.DAY_MS)
    topics.ensure(brokers, TopicPlan({"mended.trades": shorter}, 2, 1))
    assert config(brokers, "mended.trades")["retention.ms"] == str(core.DAY_MS)


def test_other_partitions_are_told_and_left(brokers: str) -> None:
    topics = Topics()
    topics.ensure(brokers, planned("parts", partitions=1))
    with pytest.raises(TopicsError) as told:
        topics.ensure(brokers, planned("parts", partitions=3))
    assert told.value.reason == "PartitionsDiffer"
    assert "parts.trades" in str(told.value)


def test_partitions_that_nobody_asked_for_are_those_that_are_there(brokers: str) -> None:
    topics = Topics()
    assert topics.ensure(brokers, replace(planned("grown", partitions=3), exact=False)) == 3
    more = planned("grown", partitions=5)
    more = replace(more, exact=False, topics={**more.topics, "grown.candles": core.CANDLES})
    assert topics.ensure(brokers, more) == 3
    listed = AdminClient({"bootstrap.servers": brokers}).list_topics(timeout=60).topics
    assert len(listed["grown.candles"].partitions) == 3


def test_missing_topics_are_named(brokers: str) -> None:
    topics = Topics()
    topics.ensure(brokers, planned("known"))
    assert topics.missing(brokers, ["known.trades", "known.candles"]) == {"known.candles"}


def test_lag_is_what_a_group_has_yet_to_read(brokers: str) -> None:
    topics = Topics()
    topics.ensure(brokers, planned("late", partitions=1))
    producer = Producer({"bootstrap.servers": brokers})
    for number in range(10):
        producer.produce("late.trades", str(number).encode())
    producer.flush(60)
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "late.candles"})
    consumer.commit(offsets=[TopicPartition("late.trades", 0, 4)], asynchronous=False)
    consumer.close()
    assert topics.lags(brokers, ["late", "other"]) == {"late": {"candles": 6}, "other": {}}


def test_the_end_of_a_transaction_is_no_lag(brokers: str) -> None:
    topics = Topics()
    topics.ensure(brokers, planned("whole", partitions=1))
    producer = Producer({"bootstrap.servers": brokers, "transactional.id": "whole.trades"})
    producer.init_transactions(60)
    for _ in range(3):
        producer.begin_transaction()
        producer.produce("whole.trades", b"1")
        producer.produce("whole.trades", b"2")
        producer.commit_transaction(60)
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "whole.candles"})
    for place, unread in ((0, 6), (3, 4), (8, 0), (9, 0)):  # a transaction is two messages and its end
        consumer.commit(offsets=[TopicPartition("whole.trades", 0, place)], asynchronous=False)
        assert topics.lags(brokers, ["whole"]) == {"whole": {"candles": unread}}
    consumer.close()


def test_deletion_takes_topics_and_changelogs_of_that_pipeline_alone(brokers: str) -> None:
    topics = Topics()
    topics.ensure(brokers, planned("gone"))
    topics.ensure(brokers, planned("gone-not"))
    changelog = "changelog__gone.candles--gone.trades--default"
    topics.ensure(brokers, TopicPlan({changelog: core.TRADES}, 1, 1))
    assert sorted(topics.delete(brokers, "gone")) == sorted(["gone.trades", "gone.news", changelog])
    left = topics.missing(brokers, ["gone.trades", "gone.news", changelog, "gone-not.trades"])
    assert left == {"gone.trades", "gone.news", changelog}
    assert topics.delete(brokers, "gone") == []


def test_a_broker_that_is_away_is_not_asked_again_for_each_pipeline() -> None:
    topics, told = Topics(), []
    for pipeline in ("a", "b", "c"):
        with pytest.raises(TopicsError) as error:
            topics.ensure("127.0.0.1:1", planned(pipeline))
        assert error.value.reason == "KafkaUnreachable"
        told.append(error.value)
    assert told[0] is told[1] is told[2]  # the answer of the one attempt


@pytest.mark.parametrize(
    ("topic", "mine"),
    [("btc.trades", True), ("changelog__btc.candles--btc.trades--default", True), ("btc-usd.trades", False)],
)
def test_whose_topic_it_is(topic: str, mine: bool) -> None:
    assert is_of_pipeline(topic, "btc") is mine


def produced(brokers: str, topic: str, *messages: Message) -> None:
    producer = Producer({"bootstrap.servers": brokers})
    for message in messages:
        producer.produce(topic, encode(message))
    producer.flush(60)


CANDLE = Candle(
    pair="BTC/USD",
    open=1.0,
    high=1.0,
    low=1.0,
    close=1.0,
    volume=0.0,
    trade_count=0,
    window_start_ms=1_767_225_600_000,
    window_end_ms=1_767_225_660_000,
    candle_seconds=60,
)


def test_topics_that_hold_other_candles_or_another_market_are_told_by_name(brokers: str) -> None:
    topics = Topics()
    topics.check_history(brokers, "ns.kept", 300, simulated=False)  # there is nothing yet
    produced(brokers, "ns.kept.candles", CANDLE)
    topics.check_history(brokers, "ns.kept", 60, simulated=False)
    with pytest.raises(TopicsError, match=r"'ns\.kept\.candles' holds candles of 60 s.*is 300; delete") as told:
        topics.check_history(brokers, "ns.kept", 300, simulated=False)
    assert told.value.reason == "OtherHistory"
    produced(brokers, "ns.kept.predictions", a_prediction(simulated=True))
    with pytest.raises(TopicsError, match="holds forecasts of a simulated market"):
        topics.check_history(brokers, "ns.kept", 60, simulated=False)
    topics.check_history(brokers, "ns.kept", 60, simulated=True)


def test_topics_that_an_earlier_version_named_without_the_namespace_are_found(brokers: str) -> None:
    topics = Topics()
    topics.ensure(brokers, planned("older"))
    topics.ensure(brokers, planned("ns.older"))
    assert topics.earlier(brokers, planned("ns.older")) == ["older.news", "older.trades"]
    assert topics.earlier(brokers, planned("ns.newer")) == []
    assert topics.delete(brokers, "ns.older")
    assert topics.missing(brokers, ["older.trades", "ns.older.trades"]) == {"ns.older.trades"}


def test_lags_of_pipelines_of_one_name_are_their_own(brokers: str) -> None:
    topics = Topics()
    for namespace, read in (("one", 1), ("two", 3)):
        topics.ensure(brokers, planned(f"{namespace}.same", partitions=1))
        producer = Producer({"bootstrap.servers": brokers})
        for _ in range(4):
            producer.produce(f"{namespace}.same.trades", b"1")
        producer.flush(60)
        consumer = Consumer({"bootstrap.servers": brokers, "group.id": f"{namespace}.same.candles"})
        consumer.commit(offsets=[TopicPartition(f"{namespace}.same.trades", 0, read)], asynchronous=False)
        consumer.close()
    assert topics.lags(brokers, ["one.same", "two.same"]) == {"one.same": {"candles": 3}, "two.same": {"candles": 1}}
