"""A stand-in for Kraken: REST, WebSocket v1 and WebSocket v2 on one loopback port, speaking the documented protocol.

Tests start it, add trades and make it fail; and `python -m tests.doubles.kraken --port 9876 --trades FILE.csv` runs it
alone, so that a pipeline can be watched end to end without the internet:

    KRAKEN_REST_URL=http://127.0.0.1:9876 KRAKEN_WEBSOCKET_URL=ws://127.0.0.1:9876/v2
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import math
import random
import ssl
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.doubles.exchange import ExchangeDouble

PAGE_ROWS = 1_000
SNAPSHOT_ROWS = 50


@dataclass(frozen=True)
class Deal:
    """One trade as the exchange keeps it. Prices and volumes are text, as on the wire."""

    trade_id: int
    price: str
    volume: str
    time_us: int
    side: str  # buy or sell

    def rest(self) -> list[Any]:
        return [self.price, self.volume, self.time_us / 1e6, self.side[0], "m", "", self.trade_id]

    def v1(self) -> list[str]:
        return [self.price, self.volume, f"{self.time_us / 1e6:.6f}", self.side[0], "m", ""]

    def v2(self, pair: str) -> dict[str, Any]:
        moment = datetime.fromtimestamp(self.time_us // 1_000_000, UTC)
        return {
            "symbol": pair,
            "side": self.side,
            "price": float(self.price),
            "qty": float(self.volume),
            "ord_type": "market",
            "trade_id": self.trade_id,
            "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{self.time_us % 1_000_000:06d}Z",
        }


@dataclass
class Faults:
    """What goes wrong, changed at any time.

    Attributes:
        rest: What the next REST calls meet, in order: an HTTP status, an error text of Kraken's, `hang` or `html`.
        rest_lag: So many of the newest trades REST doesn't know yet.
        warning: A warning of Kraken's beside every good answer of REST.
        subscriptions: What the next subscriptions are refused with, in order.
        silent: Nothing more is sent on open WebSockets, not even heartbeats.
        refuse: New WebSockets are closed at once.
        lose: So many of the next trades aren't sent on WebSockets.
    """

    rest: deque[int | str] = field(default_factory=deque)
    rest_lag: int = 0
    warning: str = ""
    subscriptions: deque[str] = field(default_factory=deque)
    silent: bool = False
    refuse: bool = False
    lose: int = 0


class KrakenDouble(ExchangeDouble):
    """The exchange. All methods may be called from any thread.

    Args:
        pairs: The pairs it lists, in the common spelling.
        port: Loopback port; 0 takes a free one.
        tls: With its certificate; then its addresses are https:// and wss:// ones of `localhost`.
    """

    def __init__(self, pairs: Iterable[str] = ("BTC/USD",), port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(port, tls)
        self.deals: dict[str, list[Deal]] = {pair: [] for pair in pairs}
        self.faults = Faults()
        self.rest_calls: list[dict[str, str]] = []
        self.connections = 0
        self.bad_rows: dict[str, list[Any]] = {}

    @property
    def v1_url(self) -> str:
        return self.websocket_url

    @property
    def v2_url(self) -> str:
        return f"{self.v1_url}/v2"

    def add(self, pair: str, *deals: Deal) -> None:
        """Makes trades happen: REST knows them and subscribers are told."""
        self._run(self._add(pair, deals))

    def trade(self, pair: str, price: float, volume: float, time_us: int, side: str = "buy") -> Deal:
        """Makes one trade happen and returns it."""
        known = self.deals[pair]
        deal = Deal(known[-1].trade_id + 1 if known else 1, f"{price:.5f}", f"{volume:.8f}", time_us, side)
        self.add(pair, deal)
        return deal

    def send_raw(self, message: str) -> None:
        """Sends any text to all subscribers."""
        self._run(self._broadcast(lambda _version, _pairs: message))

    def subscribers(self, pair: str) -> int:
        """Returns how many connections have subscribed to a pair."""
        return sum(pair in pairs for _, pairs in list(self._subscribers.values()))

    async def beat(self) -> None:
        await self._broadcast(lambda version, _: json.dumps({"channel" if version == 2 else "event": "heartbeat"}))

    async def _add(self, pair: str, deals: Iterable[Deal]) -> None:
        for deal in deals:
            self.deals[pair].append(deal)
            if self.faults.lose > 0:
                self.faults.lose -= 1
                continue

            def message(version: int, pairs: set[str], deal: Deal = deal) -> str | None:
                if pair not in pairs:
                    return None
                if version == 1:
                    return json.dumps([337, [deal.v1()], "trade", _v1_name(pair)])
                return json.dumps({"channel": "trade", "type": "update", "data": [deal.v2(pair)]})

            await self._broadcast(message)

    async def _broadcast(self, message: Any) -> None:
        if self.faults.silent:
            return
        for connection, (version, pairs) in list(self._subscribers.items()):
            text = message(version, pairs)
            if text is not None:
                with contextlib.suppress(ConnectionClosed):
                    await connection.send(text)

    async def http(self, connection: ServerConnection, request: Request) -> Response | None:
        address = urlsplit(request.path)
        if not address.path.startswith("/0/public/"):
            return None
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.rest_calls.append(query)
        if self.faults.rest:
            fault = self.faults.rest.popleft()
            if isinstance(fault, int):
                return _response(fault, {})
            if fault == "hang":
                await asyncio.sleep(3600)
            if fault == "html":
                return _response(200, "<html>checking your browser</html>")
            return _response(200, {"error": [fault]})
        methods = {"/0/public/AssetPairs": self._asset_pairs, "/0/public/Trades": self._trades}
        method = methods.get(address.path, lambda _query: {"error": ["EGeneral:Unknown method"]})
        return _response(200, method(query))

    def _asset_pairs(self, query: dict[str, str]) -> dict[str, Any]:
        kind = query.get("aclass_base", "currency")
        names = [_v1_name(pair) for pair in self.deals if _kind(pair) == kind]
        return {"error": [], "result": {name.replace("/", ""): {"wsname": name} for name in names}}

    def _trades(self, query: dict[str, str]) -> dict[str, Any]:
        pair = next((name for name in self.deals if _v1_name(name).replace("/", "") == query.get("pair", "")), None)
        if pair is None:
            return {"error": ["EQuery:Unknown asset pair"]}
        if query.get("asset_class", "currency") != _kind(pair):
            return {"error": ["EGeneral:Invalid arguments"]}
        known = self.deals[pair]
        known = known[: len(known) - self.faults.rest_lag]
        since, count = int(query.get("since", "0")), int(query.get("count", PAGE_ROWS))
        found = [deal for deal in known if deal.time_us * 1000 > since][:count] if since else known[-count:]
        rows = [deal.rest() for deal in found] + self.bad_rows.get(pair, [])
        last = str(found[-1].time_us * 1000 if found else since)
        base, quote = _v1_name(pair).split("/")
        return {
            "error": [self.faults.warning] if self.faults.warning else [],
            "result": {f"X{base}Z{quote}": rows, "last": last},
        }

    async def converse(self, connection: ServerConnection) -> None:
        self.connections += 1
        assert connection.request is not None
        version = 2 if connection.request.path.startswith("/v2") else 1
        if self.faults.refuse:
            return
        with contextlib.suppress(ConnectionClosed):
            await connection.send(json.dumps(_STATUS[version]))
            async for text in connection:
                request = json.loads(text)
                await (self._subscribe_v2 if version == 2 else self._subscribe_v1)(connection, request)
        self._subscribers.pop(connection, None)

    async def _subscribe_v1(self, connection: ServerConnection, request: dict[str, Any]) -> None:
        if request.get("event") != "subscribe":
            return
        for name in request["pair"]:
            answer = {
                "channelID": 337,
                "channelName": "trade",
                "event": "subscriptionStatus",
                "pair": name,
                "status": "subscribed",
                "subscription": {"name": "trade"},
            }
            pair = next((known for known in self.deals if _v1_name(known) == name), None)
            refusal = self._refusal(name, known=pair is not None)
            if refusal:
                answer |= {"status": "error", "errorMessage": refusal}
            await connection.send(json.dumps(answer))
            if pair is not None and not refusal:
                self._subscribers.setdefault(connection, (1, set()))[1].add(pair)

    def _refusal(self, name: str, *, known: bool) -> str:
        if not known:
            return f"Currency pair not supported {name}"
        return self.faults.subscriptions.popleft() if self.faults.subscriptions else ""

    async def _subscribe_v2(self, connection: ServerConnection, request: dict[str, Any]) -> None:
        if request.get("method") == "ping":
            now = datetime.now(UTC).isoformat()
            pong = {"method": "pong", "req_id": request["req_id"], "time_in": now, "time_out": now}
            await connection.send(json.dumps(pong))
        if request.get("method") != "subscribe":
            return
        for pair in request["params"]["symbol"]:
            result = {"channel": "trade", "snapshot": True, "symbol": pair}
            answer = {"method": "subscribe", "req_id": request["req_id"], "result": result, "success": True}
            refusal = self._refusal(pair, known=pair in self.deals)
            if refusal:
                answer = {"method": "subscribe", "error": refusal, "success": False, "symbol": pair}
            await connection.send(json.dumps(answer))
            if not refusal:
                last = [deal.v2(pair) for deal in self.deals[pair][-SNAPSHOT_ROWS:]]
                self._subscribers.setdefault(connection, (2, set()))[1].add(pair)
                await connection.send(json.dumps({"channel": "trade", "type": "snapshot", "data": last}))


_STATUS: dict[int, dict[str, Any]] = {
    1: {"connectionID": 8628615390848610000, "event": "systemStatus", "status": "online", "version": "1.9.0"},
    2: {
        "channel": "status",
        "type": "update",
        "data": [{"version": "2.0.4", "system": "online", "api_version": "v2", "connection_id": 13834774380200032777}],
    },
}


def _kind(pair: str) -> str:
    return "tokenized_asset" if pair.partition("/")[0].endswith("x") else "currency"


def _v1_name(pair: str) -> str:
    names = {"BTC": "XBT", "DOGE": "XDG"}
    return "/".join(names.get(coin, coin) for coin in pair.split("/"))


def _response(status: int, body: Any) -> Response:
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    kind = "text/html" if isinstance(body, str) else "application/json"
    headers = Headers(
        {"Content-Type": kind, "Content-Length": str(len(content)), "Connection": "close"}
        | {"Date": formatdate(usegmt=True)}
    )
    return Response(status, "", headers, content)


def main() -> None:
    """Runs the exchange: a file's trades, moved so that they end now, then new ones as time passes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=9876, help="loopback port (default 9876)")
    parser.add_argument("--pair", default="BTC/USD", help="the pair it lists (default BTC/USD)")
    parser.add_argument("--trades", type=Path, help="Kraken's CSV (timestamp,price,volume); without it, none at first")
    parser.add_argument("--rate", type=float, default=5.0, help="new trades a second (default 5)")
    options = parser.parse_args()
    rows = list(csv.reader(options.trades.open())) if options.trades else []
    shift = time.time() - float(rows[-1][0]) if rows else 0.0
    with KrakenDouble([options.pair], options.port) as exchange:
        exchange.deals[options.pair] = [
            Deal(number, price, volume, int((float(moment) + shift) * 1e6), random.choice(("buy", "sell")))
            for number, (moment, price, volume) in enumerate(rows, 1)
        ]
        print(f"KRAKEN_REST_URL={exchange.rest_url} KRAKEN_WEBSOCKET_URL={exchange.v2_url} (v1: {exchange.v1_url})")  # noqa: T201
        price = float(rows[-1][1]) if rows else 50_000.0
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(random.expovariate(options.rate))
                price *= math.exp(random.gauss(0, 0.0001))
                volume = round(random.lognormvariate(-4, 1), 4) + 0.0001
                exchange.trade(options.pair, price, volume, time.time_ns() // 1000, random.choice(("buy", "sell")))


if __name__ == "__main__":
    main()
