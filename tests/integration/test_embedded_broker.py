"""What pricecast relies on in the embedded broker: durability, groups, transactions, retention, an orderly end."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from pricecast_embedded_broker import BrokerError, EmbeddedBroker, running
from tests.waiting import eventually


def create(broker: EmbeddedBroker, topic: str, partitions: int = 1, **config: str) -> None:
    new = NewTopic(topic, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
    admin = AdminClient({"bootstrap.servers": broker.address})  # named: its futures fail once it is collected
    admin.create_topics([new])[topic].result(60)


def produce(broker: EmbeddedBroker, topic: str, values: list[str], timestamp_ms: int = 0, **config: Any) -> None:
    producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True} | config)
    errors: list[KafkaError] = []
    for value in values:
        producer.produce(
            topic,
            value.encode(),
            key=b"BTC-USD",
            timestamp=timestamp_ms,
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )
    assert producer.flush(60) == 0
    assert not errors


def consumer(broker: EmbeddedBroker, group: str, **config: Any) -> Consumer:
    defaults = {
        "bootstrap.servers": broker.address,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
    }
    return Consumer(defaults | {key.replace("_", "."): value for key, value in config.items()})


def read(source: Consumer, count: int, seconds: float = 30) -> list[str]:
    values: list[str] = []
    deadline = time.monotonic() + seconds
    while len(values) < count and time.monotonic() < deadline:
        for message in source.consume(count - len(values), timeout=0.2):
            assert message.error() is None
            values.append(message.value().decode())
    return values


def read_all(broker: EmbeddedBroker, topic: str, count: int) -> list[str]:
    source = consumer(broker, "reader")
    source.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    values = read(source, count)
    assert source.consume(1, timeout=0.3) == []
    source.close()
    return values


def test_a_topic_has_the_partitions_and_settings_that_it_was_made_with(broker: EmbeddedBroker) -> None:
    create(broker, "trades", partitions=3, retention_ms="60000", cleanup_policy="delete")
    admin = AdminClient({"bootstrap.servers": broker.address})
    assert len(admin.list_topics("trades", 10).topics["trades"].partitions) == 3
    resource = ConfigResource(ResourceType.TOPIC, "trades")
    assert admin.describe_configs([resource])[resource].result(60)["retention.ms"].value == "60000"


def test_a_producer_makes_a_missing_topic(broker: EmbeddedBroker) -> None:
    produce(broker, "unheard-of", ["a"])
    assert read_all(broker, "unheard-of", 1) == ["a"]


def test_a_topic_that_a_producer_made_survives_a_crash(broker: EmbeddedBroker) -> None:
    for topic in ("first", "second"):
        produce(broker, topic, [topic])
    broker.kill()
    broker.start()
    for topic in ("first", "second"):
        assert read_all(broker, topic, 1) == [topic]


def test_a_deleted_topic_is_gone_and_can_be_made_anew(broker: EmbeddedBroker) -> None:
    create(broker, "trades")
    produce(broker, "trades", ["old"])
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.delete_topics(["trades"])["trades"].result(60)
    eventually(lambda: "trades" not in admin.list_topics(timeout=60).topics)
    create(broker, "trades")
    produce(broker, "trades", ["new"])
    assert read_all(broker, "trades", 1) == ["new"]


def test_offsets_are_found_by_timestamp(broker: EmbeddedBroker) -> None:
    create(broker, "trades")
    for minute in range(3):
        produce(broker, "trades", [f"m{minute}"], timestamp_ms=1_700_000_000_000 + minute * 60_000)
    source = consumer(broker, "by-time")
    [found] = source.offsets_for_times([TopicPartition("trades", 0, 1_700_000_000_000 + 60_000)], timeout=60)
    source.close()
    assert found.offset == 1


def test_trades_of_years_ago_are_kept_unless_a_topic_asks_for_retention(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "broker", clean_interval_seconds=0.2)
    broker.start()
    try:
        create(broker, "kept")
        create(broker, "short", retention_ms="60000")
        for topic in ("kept", "short"):
            produce(broker, topic, ["of 2023"], timestamp_ms=1_700_000_000_000)
        source = consumer(broker, "watermarks")
        eventually(lambda: source.get_watermark_offsets(TopicPartition("short", 0), timeout=60) == (1, 1))
        assert source.get_watermark_offsets(TopicPartition("kept", 0), timeout=60) == (0, 1)
        source.close()
    finally:
        broker.stop()


def test_compaction_keeps_the_last_value_of_each_key(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "broker", clean_interval_seconds=0.2)
    broker.start()
    try:
        create(broker, "changelog", cleanup_policy="compact")
        for value in ("1", "2", "3", "4"):  # a batch each; the last batch is never compacted
            produce(broker, "changelog", [value])
        source = consumer(broker, "watermarks")
        eventually(lambda: source.get_watermark_offsets(TopicPartition("changelog", 0), timeout=60) == (2, 4))
        source.close()
        assert read_all(broker, "changelog", 2) == ["3", "4"]
    finally:
        broker.stop()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_acknowledged_messages_and_committed_offsets_survive(broker: EmbeddedBroker, how: str) -> None:
    create(broker, "trades")
    expected = [str(number) for number in range(5_000)]
    produce(broker, "trades", expected)
    source = consumer(broker, "candles")
    source.subscribe(["trades"])
    assert read(source, 2_000) == expected[:2_000]
    source.commit(offsets=[TopicPartition("trades", 0, 2_000)], asynchronous=False)
    source.close()  # a member that does not leave holds its partitions for a session timeout, here as in Kafka
    address = broker.address
    getattr(broker, how)()
    broker.start()
    assert broker.address == address
    assert read_all(broker, "trades", 5_000) == expected
    again = consumer(broker, "candles")
    again.subscribe(["trades"])
    assert read(again, 3_000) == expected[2_000:]
    again.close()


def test_a_client_that_stays_goes_on_after_an_outage(broker: EmbeddedBroker) -> None:
    create(broker, "trades")
    producer = Producer({"bootstrap.servers": broker.address, "enable.idempotence": True})
    source = consumer(broker, "candles")
    source.subscribe(["trades"])
    producer.produce("trades", b"before")
    assert producer.flush(60) == 0
    assert read(source, 1) == ["before"]
    broker.kill()
    producer.produce("trades", b"during")
    broker.start()
    assert producer.flush(60) == 0
    assert read(source, 1, seconds=60) == ["during"]
    source.close()


def test_readers_see_committed_transactions_only(broker: EmbeddedBroker) -> None:
    create(broker, "candles")
    producer = Producer({"bootstrap.servers": broker.address, "transactional.id": "candles-0"})
    producer.init_transactions(10)
    for value, ends in (("kept", producer.commit_transaction), ("dropped", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce("candles", value.encode())
        ends(10)
    assert read_all(broker, "candles", 1) == ["kept"]


def test_offsets_move_with_the_transaction_that_carries_them(broker: EmbeddedBroker) -> None:
    create(broker, "trades")
    create(broker, "candles")
    produce(broker, "trades", ["a", "b"])
    source = consumer(broker, "candles")
    source.subscribe(["trades"])
    assert read(source, 2) == ["a", "b"]
    producer = Producer({"bootstrap.servers": broker.address, "transactional.id": "candles-0"})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.send_offsets_to_transaction([TopicPartition("trades", 0, 2)], source.consumer_group_metadata(), 10)
    producer.abort_transaction(10)
    assert source.committed([TopicPartition("trades", 0)], timeout=60)[0].offset < 0
    producer.begin_transaction()
    producer.send_offsets_to_transaction([TopicPartition("trades", 0, 2)], source.consumer_group_metadata(), 10)
    producer.commit_transaction(10)
    broker.kill()
    broker.start()
    assert eventually(lambda: source.committed([TopicPartition("trades", 0)], timeout=60)[0].offset) == 2
    source.close()


def test_a_second_producer_of_the_same_transactional_id_fences_the_first(broker: EmbeddedBroker) -> None:
    create(broker, "candles")
    config = {"bootstrap.servers": broker.address, "transactional.id": "candles-0"}
    zombie, successor = Producer(config), Producer(config)
    zombie.init_transactions(10)
    zombie.begin_transaction()
    zombie.produce("candles", b"zombie")
    zombie.flush(60)
    successor.init_transactions(10)
    with pytest.raises(Exception, match=r"(?i)fenced|newer"):
        zombie.commit_transaction(10)
    successor.begin_transaction()
    successor.produce("candles", b"successor")
    successor.commit_transaction(10)
    assert read_all(broker, "candles", 1) == ["successor"]


def test_a_transaction_that_a_crash_of_the_broker_left_open_is_aborted_for_good(broker: EmbeddedBroker) -> None:
    create(broker, "candles")
    config = {"bootstrap.servers": broker.address, "transactional.id": "candles-0"}
    expected = []
    for number in range(3):  # each crash replays what the crashes before it left
        unfinished = Producer(config)
        unfinished.init_transactions(30)
        unfinished.begin_transaction()
        unfinished.produce("candles", f"unfinished {number}".encode())
        assert unfinished.flush(60) == 0
        broker.kill()
        broker.start()
        finished = Producer(config)
        finished.init_transactions(30)
        finished.begin_transaction()
        finished.produce("candles", f"finished {number}".encode())
        finished.commit_transaction(30)
        expected.append(f"finished {number}")
        assert read_all(broker, "candles", number + 1) == expected


def test_two_members_share_a_group_and_the_second_takes_over(broker: EmbeddedBroker) -> None:
    create(broker, "trades", partitions=2)
    members = [consumer(broker, "candles", session_timeout_ms=6000) for _ in range(2)]
    for member in members:
        member.subscribe(["trades"])

    def shared() -> bool:
        for member in members:
            member.poll(0.05)
        return [len(member.assignment()) for member in members] == [1, 1]

    eventually(shared)
    members[0].close()
    eventually(lambda: (members[1].poll(0.05), len(members[1].assignment()) == 2)[1])
    members[1].close()


def test_health_answers(broker: EmbeddedBroker) -> None:
    for path in ("/healthz", "/readyz"):
        with urllib.request.urlopen(broker.health_url + path, timeout=60) as answer:
            body = json.load(answer)
        assert body == {"ok": True, "problems": {}, "info": {"address": broker.address}}


def test_it_listens_on_loopback_only(broker: EmbeddedBroker) -> None:
    for address in (broker.address, broker.health_url.removeprefix("http://")):
        port = int(address.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(ConnectionRefusedError):  # a socket that listens on every address would accept this one
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_a_folder_in_use_is_refused(broker: EmbeddedBroker, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BrokerError, match="status 1"):
        EmbeddedBroker(tmp_path / "broker").start()
    assert "in use by another broker" in capfd.readouterr().err


def test_a_port_in_use_is_refused(broker: EmbeddedBroker, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BrokerError, match="status 1"):
        EmbeddedBroker(port=int(broker.address.rpartition(":")[2])).start()
    assert "address already in use" in capfd.readouterr().err


@pytest.mark.parametrize("variable", ["BROKER_PORT", "HTTP_PORT", "BROKER_PARTITIONS"])
def test_a_wrong_setting_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "many")
    command = Path(sys.executable).with_name("pricecast-embedded-broker")
    done = subprocess.run([command], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 78
    assert f'{variable}: "many" is not a number' in done.stderr


def test_it_ends_with_the_process_that_started_it() -> None:
    program = (
        "import os, signal; from pricecast_embedded_broker import EmbeddedBroker; broker = EmbeddedBroker();"
        "broker.start(); print(broker.address, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    host, _, port = done.stdout.strip().rpartition(":")

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) != 0

    eventually(refused)


def test_memory_only_brokers_share_nothing() -> None:
    with running() as first, running() as second:
        assert first != second
        admin = AdminClient({"bootstrap.servers": first})
        admin.create_topics([NewTopic("trades", 1, 1)])["trades"].result(60)
        assert "trades" not in AdminClient({"bootstrap.servers": second}).list_topics(timeout=60).topics
