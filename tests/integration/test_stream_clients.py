"""Publisher, Follower, Watch and topics against the embedded broker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from pricecast_core import topics
from pricecast_core.errors import BadMessageError
from pricecast_core.health import Health
from pricecast_core.messages import DeadLetter, FeatureRowStored, Trade, decode, encode
from pricecast_core.service import Stop
from pricecast_core.settings import StreamSettings
from pricecast_core.streaming import Follower, Publisher, StreamError, Watch, ensure_topics, tail
from pricecast_core.topics import topic_name
from pricecast_embedded_broker import EmbeddedBroker
from tests.contracts.stream_chain import read_topic
from tests.waiting import eventually

START_MS = 1_767_225_600_000


@pytest.fixture
def settings(brokers: str) -> StreamSettings:
    return StreamSettings(pipeline=f"t{uuid.uuid4().hex[:8]}", kafka_brokers=brokers, stall_timeout_seconds=5)


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def publisher(settings: StreamSettings, stop: Stop) -> Iterator[Publisher]:
    publisher = Publisher("trades", settings, topics.ALL, Health(), stop)
    yield publisher
    publisher.close()


def a_marker(number: int) -> FeatureRowStored:
    return FeatureRowStored(group="technical_indicators", key="BTC/USD", event_time_ms=START_MS + number)


def a_follower(
    settings: StreamSettings, publisher: Publisher, stop: Stop, health: Health | None = None
) -> Follower[FeatureRowStored]:
    return Follower(
        "price-predictor", settings, topics.FEATURES, health=health or Health(), stop=stop, publisher=publisher
    )


def take(follower: Follower[FeatureRowStored], count: int) -> list[int]:
    """Returns the numbers of the next `count` markers."""
    numbers: list[int] = []
    deadline = time.monotonic() + 60
    for batch in follower.batches(most=7, timeout_seconds=0.1):
        numbers += [marker.event_time_ms - START_MS for marker in batch]
        if len(numbers) >= count:
            return numbers
        assert time.monotonic() < deadline
    return numbers


def test_topics_have_the_tables_retention_and_are_made_once(settings: StreamSettings, brokers: str) -> None:
    for _ in range(2):
        ensure_topics(brokers, settings.pipeline, topics.ALL)
    admin = AdminClient({"bootstrap.servers": brokers})
    for spec in topics.ALL:
        resource = ConfigResource(ResourceType.TOPIC, topic_name(settings.pipeline, spec))
        found = next(iter(admin.describe_configs([resource]).values())).result(60)
        assert found["retention.ms"].value == str(spec.retention_ms)


def test_a_broker_that_is_not_there_is_named(settings: StreamSettings) -> None:
    with pytest.raises(StreamError, match=r"kafka_brokers: 127\.0\.0\.1:1 can't be reached"):
        ensure_topics("127.0.0.1:1", settings.pipeline, topics.ALL)


def test_tail_gives_the_last_messages_whatever_markers_and_aborts_lie_between(
    settings: StreamSettings, brokers: str
) -> None:
    ensure_topics(brokers, settings.pipeline, [topics.TRADES])
    topic = topic_name(settings.pipeline, topics.TRADES)
    assert tail(brokers, topic, 3) == []
    assert tail(brokers, "no.such.topic", 3) == []
    producer = Producer({"bootstrap.servers": brokers, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(10)
    for number in range(10):
        producer.begin_transaction()
        producer.produce(topic, str(number).encode())
        producer.commit_transaction(10)
    producer.begin_transaction()
    producer.produce(topic, b"aborted")
    producer.flush(60)
    producer.abort_transaction(10)
    assert tail(brokers, topic, 3) == [b"7", b"8", b"9"]
    assert tail(brokers, topic, 100) == [str(number).encode() for number in range(10)]


def test_what_is_published_while_the_broker_is_away_arrives_once_in_order(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path)
    broker.start()
    settings = StreamSettings(pipeline="away", kafka_brokers=broker.address)
    health, stop = Health(), Stop()
    publisher = Publisher("trades", settings, [topics.TRADES], health, stop)
    trades = [Trade(pair="BTC/USD", price=1.0 + n, volume=1.0, timestamp_ms=START_MS + n) for n in range(1000)]
    for trade in trades[:500]:
        publisher.publish(topics.TRADES, trade.pair, trade)
    publisher.flush()
    broker.stop()
    for trade in trades[500:]:
        publisher.publish(topics.TRADES, trade.pair, trade)
    with pytest.raises(StreamError, match="500 messages are not delivered"):
        publisher.flush(1.0)
    eventually(lambda: health.report(health._ready)[0] == 503, "not ready")
    assert publisher.pending() == 500
    broker.start()
    publisher.flush(60)
    assert health.report(health._ready)[0] == 200
    values = read_topic(broker.address, "away.trades")
    assert [decode(Trade, value) for value in values] == trades
    publisher.close()
    broker.stop()


def test_a_full_queue_makes_the_source_wait_and_stop_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pricecast_core.streaming.publisher.QUEUE_MESSAGES", 10)
    broker = EmbeddedBroker(tmp_path)
    broker.start()
    stop = Stop()
    settings = StreamSettings(pipeline="full", kafka_brokers=broker.address)
    publisher = Publisher("trades", settings, [topics.TRADES], Health(), stop)
    broker.stop()
    trade = Trade(pair="BTC/USD", price=1.0, volume=1.0, timestamp_ms=START_MS)
    for _ in range(10):
        publisher.publish(topics.TRADES, trade.pair, trade)
    stop.set()
    with pytest.raises(StreamError, match="queue of unsent messages is full"):
        publisher.publish(topics.TRADES, trade.pair, trade)


def test_what_a_source_can_not_use_is_a_dead_letter(settings: StreamSettings, publisher: Publisher) -> None:
    publisher.dead_letter(BadMessageError("price: -1", "price"), source="trades.csv", position=7, value=b"x" * 600_000)
    publisher.flush()
    (value,) = read_topic(settings.kafka_brokers, topic_name(settings.pipeline, topics.DEAD_LETTERS))
    letter = decode(DeadLetter, value)
    assert (letter.service, letter.topic, letter.offset, letter.reason) == ("trades", "trades.csv", 7, "malformed")
    assert len(letter.value) == 500_000
    assert "cut from 600000 bytes" in letter.error


def test_a_follower_goes_on_from_its_last_commit(settings: StreamSettings, publisher: Publisher, stop: Stop) -> None:
    for number in range(100):
        publisher.publish(topics.FEATURES, "BTC/USD", a_marker(number))
    publisher.flush()
    follower = a_follower(settings, publisher, stop)
    taken = take(follower, 40)
    assert taken == list(range(len(taken)))
    follower.commit()
    beyond = take(follower, 5)
    follower.close()
    again = a_follower(settings, publisher, stop)
    assert take(again, 100 - len(taken)) == list(range(len(taken), 100))
    assert beyond[0] == len(taken)
    again.commit()
    again.commit()  # nothing new is no error
    again.close()


def test_a_follower_passes_over_what_is_malformed_and_keeps_it(
    settings: StreamSettings, publisher: Publisher, stop: Stop
) -> None:
    publisher.publish(topics.FEATURES, "BTC/USD", a_marker(0))
    publisher._send(topics.FEATURES, b"BTC/USD", b"{broken")
    publisher.publish(topics.FEATURES, "BTC/USD", a_marker(1))
    publisher.flush()
    follower = a_follower(settings, publisher, stop)
    assert take(follower, 2) == [0, 1]
    follower.commit()
    (value,) = read_topic(settings.kafka_brokers, topic_name(settings.pipeline, topics.DEAD_LETTERS))
    assert decode(DeadLetter, value).value == b"{broken"
    follower.close()


def test_a_followers_iteration_ends_with_the_process(
    settings: StreamSettings, publisher: Publisher, stop: Stop
) -> None:
    health = Health()
    follower = a_follower(settings, publisher, stop, health)
    for _ in follower.batches(timeout_seconds=0.05):
        if health.report(health._ready)[0] == 200:
            stop.set()
    follower.close()


class TestWatch:
    @pytest.fixture
    def group(self, settings: StreamSettings) -> str:
        return f"{settings.pipeline}.candles"

    @pytest.fixture
    def topic(self, settings: StreamSettings, publisher: Publisher) -> str:
        return topic_name(settings.pipeline, topics.TRADES)

    @pytest.fixture
    def watch(self, settings: StreamSettings, group: str, topic: str) -> Iterator[Watch]:
        watch = Watch("candles", settings, group=group, topics=[topic], partitions=lambda: {0})
        watch.start()
        yield watch
        watch.stop()

    def commit(self, brokers: str, group: str, topic: str, offset: int) -> None:
        consumer = Consumer({"bootstrap.servers": brokers, "group.id": group, "enable.auto.commit": False})
        consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
        consumer.close()

    def test_messages_that_nobody_handles_are_a_stall_until_somebody_does(
        self, watch: Watch, publisher: Publisher, brokers: str, group: str, topic: str
    ) -> None:
        for number in range(10):
            trade = Trade(pair="BTC/USD", price=1.0, volume=1.0, timestamp_ms=START_MS + number)
            publisher.publish(topics.TRADES, "BTC/USD", trade)
        publisher.flush()
        self.commit(brokers, group, topic, 4)
        problem = eventually(watch.stalled, "stall")
        assert f"{topic}[0] stands at offset 4 of 10" in problem
        assert watch.lag() == {topic: 6}
        assert watch.unreachable() is None
        self.commit(brokers, group, topic, 10)
        eventually(lambda: watch.stalled() is None, "moves again")
        assert watch.lag() == {topic: 0}

    def test_a_transactions_marker_at_the_end_is_no_message(
        self, watch: Watch, brokers: str, group: str, topic: str
    ) -> None:
        producer = Producer({"bootstrap.servers": brokers, "transactional.id": uuid.uuid4().hex})
        producer.init_transactions(10)
        producer.begin_transaction()
        producer.produce(topic, encode(Trade(pair="BTC/USD", price=1.0, volume=1.0, timestamp_ms=START_MS)))
        producer.commit_transaction(10)
        self.commit(brokers, group, topic, 1)
        eventually(lambda: watch._state.get((topic, 0)) and watch.lag() == {topic: 0}, "no lag")
        deadline = time.monotonic() + 8  # beyond the stall timeout
        while time.monotonic() < deadline:
            assert watch.stalled() is None
            time.sleep(0.5)

    def test_standing_still_for_a_good_reason_is_no_stall(
        self, settings: StreamSettings, publisher: Publisher, group: str, topic: str
    ) -> None:
        reason: list[str | None] = ["store: away"]
        watch = Watch(
            "candles", settings, group=group, topics=[topic], partitions=lambda: {0}, excuse=lambda: reason[0]
        )
        watch.start()
        trade = Trade(pair="BTC/USD", price=1.0, volume=1.0, timestamp_ms=START_MS)
        publisher.publish(topics.TRADES, "BTC/USD", trade)
        publisher.flush()
        eventually(lambda: watch.lag() == {topic: 1}, "lag")
        deadline = time.monotonic() + 7
        while time.monotonic() < deadline:
            assert watch.stalled() is None
            time.sleep(0.5)
        reason[0] = None
        eventually(watch.stalled, "stall")
        watch.stop()

    def test_a_broker_that_does_not_answer_is_said_and_forgotten_when_it_does(self, tmp_path: Path) -> None:
        broker = EmbeddedBroker(tmp_path)
        broker.start()
        settings = StreamSettings(pipeline="gone", kafka_brokers=broker.address, stall_timeout_seconds=5)
        ensure_topics(broker.address, "gone", [topics.TRADES])
        watch = Watch("candles", settings, group="gone.candles", topics=["gone.trades"], partitions=lambda: None)
        watch.start()
        broker.stop()
        assert broker.address in eventually(watch.unreachable, "unreachable")
        broker.start()
        eventually(lambda: watch.unreachable() is None, "reachable")
        watch.stop()
        broker.stop()
