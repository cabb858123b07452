"""Kraken's messages as recorded in tests/data/kraken, and what is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pricecast_core.messages import Trade
from pricecast_trades.exchanges.kraken import wire
from pricecast_trades.source import Refused
from tests.doubles.kraken import Deal, KrakenDouble

SAMPLES = Path(__file__).parents[2] / "data" / "kraken"
PAIRS = frozenset({"BTC/USD", "DOGE/USD"})


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def expected(trade_id: int | None, price: float, volume: float, side: Any, timestamp_ms: int) -> Trade:
    return Trade(pair="BTC/USD", price=price, volume=volume, side=side, trade_id=trade_id, timestamp_ms=timestamp_ms)


def test_rest_trades_carry_ids_and_times_cut_to_milliseconds() -> None:
    answer = wire.rest_answer.decode(sample("rest_trades"))
    assert wire.rest_trades("BTC/USD", answer.result["XXBTZUSD"], "rest") == [
        expected(71000001, 61250.1, 0.0015, "buy", 1725000000123),
        expected(71000002, 61250.2, 0.25, "sell", 1725000000999),
        expected(71000003, 61250.2, 0.25, "sell", 1725000000999),
    ]


def test_v2_trades_say_the_same_as_rest() -> None:
    found = []
    for name in ("v2_snapshot", "v2_update"):
        message = wire.v2_message.decode(sample(name))
        assert message.channel == "trade"
        found += [wire.v2_trade(raw, PAIRS, "v2")[1] for raw in message.data]
    answer = wire.rest_answer.decode(sample("rest_trades"))
    assert found == wire.rest_trades("BTC/USD", answer.result["XXBTZUSD"], "rest")


def test_v1_trades_say_the_same_without_ids() -> None:
    message = json.loads(sample("v1_trade"))
    assert wire.v1_trades("BTC/USD", message[1], "v1") == [
        expected(None, 61250.1, 0.0015, "buy", 1725000000123),
        expected(None, 61250.2, 0.25, "sell", 1725000000999),
    ]


@pytest.mark.parametrize("name", ["v2_status", "v2_subscribe", "v2_subscribe_error", "v2_heartbeat"])
def test_every_v2_message_can_be_read(name: str) -> None:
    message = wire.v2_message.decode(sample(name))
    assert message.success == (name != "v2_subscribe_error")
    assert message.channel != "trade"


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (["-1", "1", 1725000000.1, "b", "m", "", 1], "price"),
        (["nan", "1", 1725000000.1, "b", "m", "", 1], "price"),
        (["1e400", "1", 1725000000.1, "b", "m", "", 1], "price"),
        (["1", "0", 1725000000.1, "b", "m", "", 1], "volume"),
        (["1", "1", 1.5, "b", "m", "", 1], "timestamp_ms"),
        (["1", "1", 4102444800.0, "b", "m", "", 1], "timestamp_ms"),
        (["1", "1", 1725000000.1, "x", "m", "", 1], ""),
        (["one", "1", 1725000000.1, "b", "m", "", 1], ""),
        (["1", "1"], ""),
        ({"price": "1"}, ""),
        (None, ""),
    ],
)
def test_a_row_that_can_not_be_used_is_refused_whole(row: Any, field: str) -> None:
    raw = msgspec.Raw(json.dumps([row, ["1", "1", 1725000000.1, "b", "m", "", 2]]).encode())
    refused, good = wire.rest_trades("BTC/USD", raw, "rest")
    assert isinstance(refused, Refused)
    assert refused.error.field == field
    assert json.loads(refused.value) == row
    assert isinstance(good, Trade)


def test_a_pair_that_was_not_asked_for_is_refused() -> None:
    deal = Deal(1, "1.0", "1.0", 1725000000_000000, "buy")
    pair, refused = wire.v2_trade(msgspec.Raw(json.dumps(deal.v2("ETH/USD")).encode()), PAIRS, "v2")
    assert pair == ""
    assert isinstance(refused, Refused)
    assert refused.error.reason == "unknown_pair"


def test_rest_spells_pairs_as_kraken_does() -> None:
    assert wire.rest_pair("BTC/USD") == "XBTUSD"
    assert wire.rest_pair("DOGE/EUR") == "XDGEUR"


def test_the_double_speaks_as_the_samples_do() -> None:
    deals = [
        Deal(71000001, "61250.10000", "0.00150000", 1725000000_123456, "buy"),
        Deal(71000002, "61250.20000", "0.25000000", 1725000000_999999, "sell"),
    ]
    double = KrakenDouble(["BTC/USD"])
    double.deals["BTC/USD"] = deals
    answer = double._trades({"pair": "XBTUSD"})
    recorded = json.loads(sample("rest_trades"))
    assert list(answer["result"]) == list(recorded["result"])
    assert [list(map(type, row)) for row in answer["result"]["XXBTZUSD"]] == [
        list(map(type, row)) for row in recorded["result"]["XXBTZUSD"][:2]
    ]
    assert {**deals[0].v2("BTC/USD")} == json.loads(sample("v2_snapshot"))["data"][0]
    assert deals[1].v1() == json.loads(sample("v1_trade"))[1][1]
