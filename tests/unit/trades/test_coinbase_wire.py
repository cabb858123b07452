"""Coinbase's recorded messages as events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pricecast_core.errors import SettingsError
from pricecast_core.messages import Trade
from pricecast_trades.errors import PassingError
from pricecast_trades.exchanges.coinbase import wire
from pricecast_trades.exchanges.coinbase.session import CoinbaseSession
from pricecast_trades.feed import Beat, Update
from pricecast_trades.known_pairs import KnownPairs

DATA = Path(__file__).parents[2] / "data" / "coinbase"
NOW_MS = 1_415_348_370_000
MATCH = Trade(pair="BTC/USD", price=400.23, volume=5.23512, side="buy", trade_id=10, timestamp_ms=1_415_348_367_028)


def session(*names: str, known: Iterable[str] = ()) -> CoinbaseSession:
    return CoinbaseSession("wss://x", names or ("BTC/USD",), KnownPairs("Coinbase", lambda _: {"BTC/USD"}, known))


def recorded(name: str) -> bytes:
    return (DATA / f"{name}.json").read_bytes()


def events(name: str) -> list[Any]:
    return list(session().receive(recorded(name), 0.0, NOW_MS))


def test_a_match_is_a_trade_of_the_takers_side() -> None:
    assert events("match") == [Update("BTC/USD", [MATCH], NOW_MS)]
    assert events("last_match") == [Update("BTC/USD", [MATCH], None)]  # old by now: it tells no lag


def test_a_heartbeat_tells_the_time_and_the_newest_number() -> None:
    assert events("heartbeat") == [Beat(NOW_MS, 1_415_348_368_464, frozenset({"BTC/USD"}), {"BTC/USD": 20})]


def test_a_session_subscribes_once_and_waits_for_the_answer() -> None:
    talk = session()
    [message] = talk.send(0.0)
    assert json.loads(message) == {
        "type": "subscribe",
        "product_ids": ["BTC-USD"],
        "channels": ["matches", "heartbeat"],
    }
    assert list(talk.send(1.0)) == []
    assert talk.problem() == "not subscribed to BTC-USD yet"
    assert list(talk.receive(recorded("subscriptions"), 0.0, NOW_MS)) == []
    assert talk.problem() is None


def test_only_a_product_that_has_never_answered_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(SettingsError, match="Coinbase doesn't know FOO/USD"):
        session("FOO/USD").receive(recorded("error"), 0.0, NOW_MS)
    with pytest.raises(PassingError, match="not a valid product"):
        session("FOO/USD", known={"FOO/USD"}).receive(recorded("error"), 0.0, NOW_MS)
    listed = b'{"type":"error","message":"BTC-USD is not a valid product"}'
    with pytest.raises(PassingError, match="but lists BTC/USD"):
        session("BTC/USD").receive(listed, 0.0, NOW_MS)
    with pytest.raises(PassingError, match="Service unavailable"):
        session().receive(b'{"type":"error","message":"Service unavailable"}', 0.0, NOW_MS)


@pytest.mark.parametrize("content", [b"", b"<html>", b"{}", b'{"message": "no"}', b"[]", b'[{"id": "?"}]'])
def test_what_is_no_list_of_products_decides_nothing(content: bytes) -> None:
    with pytest.raises(PassingError):
        wire.listed(content)
