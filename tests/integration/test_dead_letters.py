"""Dead letters, listed, shown and replayed by the command, against the embedded broker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from pricecast_core.dead_letters import MAX_BYTES, dead_letter
from pricecast_core.errors import BadMessageError
from pricecast_core.messages import DeadLetter, encode
from pricecast_core.streaming import all_values, ensure_topics
from pricecast_core.streaming.letters import HEADER, letters, replay
from pricecast_core.topics import DEAD_LETTERS, NEWS, TRADES
from pricecast_embedded_broker import EmbeddedBroker

PRICECAST = str(Path(sys.executable).with_name("pricecast"))
TRADE = b'{"pair":"BTC/USD","price":1,"volume":1,"timestamp_ms":1790000000000}'
NEWSFLASH = b'{"id":"rss:1","title":"Up","source":"s","published_at":"x","timestamp_ms":1790000000000}'


def letter(topic: str, value: bytes, key: bytes = b"", partition: int = -1, reason: str = "malformed") -> DeadLetter:
    error = BadMessageError("price: is wrong", "price", reason)
    return dead_letter("candles", error, topic=topic, partition=partition, offset=7, key=key, value=value)


LETTERS = [
    letter("t.trades", TRADE, b"BTC/USD", 0),
    letter("t.trades", b"{not json", b"BTC/USD", 0, "late"),
    letter("t.news", NEWSFLASH),
    letter("/data/XBTUSD.csv", b"1,2"),
    letter("other.trades", TRADE, b"BTC/USD", 0),
    letter("t.trades", b"x" * (MAX_BYTES + 1), b"BTC/USD", 0),
]


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    broker = EmbeddedBroker()
    broker.start()
    ensure_topics(broker.address, "t", (TRADES, NEWS, DEAD_LETTERS))
    producer = Producer({"bootstrap.servers": broker.address})
    for each in LETTERS:
        producer.produce("t.dead-letters", encode(each), b"candles")
    producer.flush()
    yield broker.address
    broker.stop()


def deadletters(brokers: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [PRICECAST, "deadletters", *arguments, "--brokers", brokers, "--pipeline", "t"]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def on(brokers: str, topic: str) -> list[tuple[bytes, bytes]]:
    return [(key, value) for _, key, value in all_values(brokers, topic)]


def test_letters_are_counted_listed_and_chosen(brokers: str) -> None:
    listed = deadletters(brokers, "list").stdout
    assert "       5  candles: malformed\n       1  candles: late\n" in listed
    assert "0-3" in listed
    assert "[/data/XBTUSD.csv:7]" in listed
    [late] = map(json.loads, deadletters(brokers, "list", "--reason", "late", "--json").stdout.splitlines())
    assert (late["place"], late["value"]) == ("0-1", "{not json")
    assert json.loads(deadletters(brokers, "show", "0-0").stdout)["value"] == TRADE.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("show",), "place: is missing"), (("show", "0-99"), "no such dead letter"), (("replay",), "place: is missing")],
)
def test_a_letter_that_is_not_there_is_told(brokers: str, arguments: tuple[str, ...], said: str) -> None:
    told = deadletters(brokers, *arguments)
    assert (told.returncode, said in told.stderr) == (78, True)


def test_a_letter_is_replayed_once_to_where_it_came_from(brokers: str) -> None:
    first = deadletters(brokers, "replay", "0-0")
    assert first.stdout == "1 replayed, 0 were before, 0 can't be\n"
    assert on(brokers, "t.trades") == [(b"BTC/USD", TRADE)]
    everything = deadletters(brokers, "replay", "--all")
    assert everything.stdout == "2 replayed, 1 were before, 3 can't be\n"
    assert "0-3: can't be replayed: came from /data/XBTUSD.csv, which is no topic of t" in everything.stderr
    assert "0-5: can't be replayed: was too long to be kept whole" in everything.stderr
    assert on(brokers, "t.trades") == [(b"BTC/USD", TRADE), (b"BTC/USD", b"{not json")]
    assert on(brokers, "t.news") == [(b"rss:1", NEWSFLASH)]  # by the key that its topic wants
    assert deadletters(brokers, "replay", "--all").stdout == "0 replayed, 3 were before, 3 can't be\n"


def test_nothing_is_replayed_of_what_is_not_chosen(brokers: str) -> None:
    assert replay(brokers, "t", []).written == []
    assert [each.place for each in letters(brokers, "t")] == [f"0-{offset}" for offset in range(6)]
    assert HEADER == "pricecast-dead-letter"  # what other programs may look for


def test_the_topics_are_listed_with_who_writes_and_reads_them(brokers: str) -> None:
    command: list[Any] = [PRICECAST, "topics", "--brokers", brokers, "--pipeline", "t"]
    shown = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env={"COLUMNS": "160", "PATH": ""}
    )
    assert shown.returncode == 0, shown.stderr
    rows = {line.split()[0]: line.split() for line in shown.stdout.splitlines()}
    assert rows["t.dead-letters"][1:3] == ["1", "6"]
    assert rows["t.candles"][1:3] == ["-", "-"]
