"""The testbed keeps its promises: what other tests do to its servers has the effect that they rely on."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from elasticsearch import Elasticsearch as ElasticsearchClient

from pricecast_testbed import Elasticsearch, Kafka, Postgres, Server, TestbedError, promtool
from pricecast_testbed.server import alive, start_process, stop_process, wait_until
from pricecast_testbed.shell import run

OwnServer = Callable[[type[Server]], Server]


def put_kafka(url: str) -> None:
    producer = Producer({"bootstrap.servers": url})
    producer.produce("kept", b"value")
    assert producer.flush(30) == 0


def get_kafka(url: str) -> str:
    consumer = Consumer({"bootstrap.servers": url, "group.id": "reader"})
    consumer.assign([TopicPartition("kept", 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    return str(message.value().decode())


def put_elasticsearch(url: str) -> None:
    with ElasticsearchClient(url) as client:
        client.index(index="kept", id="1", document={"field": "value"})


def get_elasticsearch(url: str) -> str:
    with ElasticsearchClient(url) as client:
        client.cluster.health(index="kept", wait_for_status="yellow", timeout="30s")
        return str(client.get(index="kept", id="1")["_source"]["field"])


def put_postgres(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'value' AS field")


def get_postgres(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT field FROM kept").fetchone()
        assert row is not None
        return str(row[0])


@pytest.mark.parametrize(
    ("kind", "put", "get"),
    [
        pytest.param(Kafka, put_kafka, get_kafka, id="kafka"),
        pytest.param(Elasticsearch, put_elasticsearch, get_elasticsearch, id="elasticsearch"),
        pytest.param(Postgres, put_postgres, get_postgres, id="postgres"),
    ],
)
def test_a_server_that_was_stopped_or_killed_comes_back_where_it_was_with_its_data(
    own_server: OwnServer, kind: type[Server], put: Callable[[str], None], get: Callable[[str], str]
) -> None:
    server = own_server(kind)
    url = server.url
    put(url)
    for end in (server.stop, server.kill):
        end()
        assert not server.running
        assert not server.ready()
        server.start()
        assert server.url == url
        assert get(url) == "value"
    server.wipe()
    assert not server.data.exists()


def test_two_servers_of_a_kind_run_beside_each_other(own_server: OwnServer) -> None:
    first, second = own_server(Postgres), own_server(Postgres)
    put_postgres(first.url)
    put_postgres(second.url)
    assert first.url != second.url


def test_promtool_refuses_a_wrong_rule(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("groups: [{name: a, rules: [{alert: B, expr: 'up =='}]}]")
    with pytest.raises(TestbedError, match="parse error"):
        run([promtool(), "check", "rules", rules])


@contextmanager
def sleeper(log: Path, words: list[str | Path]) -> Iterator[dict[str, object]]:
    process = start_process(words, log)
    yield process
    stop_process(process)


def test_a_process_that_does_not_obey_is_killed(tmp_path: Path) -> None:
    with sleeper(tmp_path / "log", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"]) as process:
        wait_until(lambda: (tmp_path / "log").read_text() == "up\n", process, tmp_path / "log")
        stop_process(process, seconds=0.5)
        assert not alive(process)


def test_a_process_that_ends_before_it_is_ready_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with (
        sleeper(tmp_path / "server.log", ["sh", "-c", "echo no such port; exit 1"]) as process,
        pytest.raises(TestbedError, match="server ended:\nno such port"),
    ):
        wait_until(lambda: False, process, tmp_path / "server.log")


def test_a_number_that_another_process_has_now_is_left_alone() -> None:
    other = {"pid": os.getpid(), "birth": "0"}
    assert not alive(other)
    stop_process(other)


def test_session_servers_answer(kafka_brokers: str, elasticsearch_url: str, postgres_url: str) -> None:
    put_kafka(kafka_brokers)
    with urllib.request.urlopen(elasticsearch_url, timeout=10) as answer:
        assert answer.status == 200
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
