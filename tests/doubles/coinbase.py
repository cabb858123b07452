"""A stand-in for Coinbase Exchange: REST and WebSocket on one loopback port, replaying the recorded documented messages.

Every message is one of tests/data/coinbase (SOURCES.md) with its trade's numbers, price and time put in.
"""

from __future__ import annotations

import contextlib
import json
import time
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

RECORDED = {
    path.stem: json.loads(path.read_text()) for path in (Path(__file__).parents[1] / "data/coinbase").glob("*.json")
}


class CoinbaseDouble(ExchangeDouble):
    """The exchange, with one product. All methods may be called from any thread."""

    def __init__(self, product: str = "BTC-USD") -> None:
        super().__init__()
        self.product = product
        self.deals: list[dict[str, Any]] = []
        self.rest_calls: list[dict[str, str]] = []
        self.lose = 0
        self.refusals: list[tuple[int, Any]] = []

    def history(self, count: int, *, step_seconds: float = 0.05) -> None:
        """Makes trades up to now."""
        start = time.time() - count * step_seconds
        for number in range(count):
            self.deals.append(self._deal(start + number * step_seconds))

    def trade(self) -> None:
        """Makes one trade happen now."""
        self._run(self._trade())

    def subscribers(self) -> int:
        return len(self._subscribers)

    def _deal(self, moment: float) -> dict[str, Any]:
        number = len(self.deals) + 1
        stamp = datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {"trade_id": number, "price": f"{50_000 + number % 7}.00", "size": "0.01", "side": "sell", "time": stamp}

    async def beat(self) -> None:
        last = {} if not self.deals else {"last_trade_id": self.deals[-1]["trade_id"]}
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        await self._send(RECORDED["heartbeat"] | {"product_id": self.product, "time": now} | last)

    async def _trade(self) -> None:
        self.deals.append(self._deal(time.time()))
        if self.lose > 0:
            self.lose -= 1
            return
        await self._send(RECORDED["match"] | {"product_id": self.product} | self.deals[-1])

    async def _send(self, message: dict[str, Any]) -> None:
        for connection in list(self._subscribers):
            with contextlib.suppress(ConnectionClosed):
                await connection.send(json.dumps(message))

    async def http(self, _connection: ServerConnection, request: Request) -> Response | None:
        address = urlsplit(request.path)
        if not address.path.startswith("/products"):
            return None
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.rest_calls.append(query)
        if self.refusals:
            return _response(*self.refusals.pop(0))
        if address.path == "/products":
            return _response(200, [{"id": self.product}, {"id": "T-USD"}])
        if address.path != f"/products/{self.product}/trades":
            return _response(404, RECORDED["rest_not_found"])
        before = int(query.get("after", len(self.deals) + 1))
        found = [deal for deal in self.deals if deal["trade_id"] < before][-int(query.get("limit", 1_000)) :][::-1]
        cursors = {"cb-before": str(found[0]["trade_id"]), "cb-after": str(found[-1]["trade_id"])} if found else {}
        return _response(200, [RECORDED["rest_trades"][0] | deal for deal in found], cursors)

    async def converse(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                products = json.loads(text)["product_ids"]
                if products != [self.product]:
                    await connection.send(json.dumps(RECORDED["error"]))
                    continue
                channels = [{"name": name, "product_ids": products} for name in ("matches", "heartbeat")]
                await connection.send(json.dumps(RECORDED["subscriptions"] | {"channels": channels}))
                if self.deals:
                    last = RECORDED["last_match"] | {"product_id": self.product} | self.deals[-1]
                    await connection.send(json.dumps(last))
                self._subscribers[connection] = products
        self._subscribers.pop(connection, None)


def _response(status: int, body: Any, more: dict[str, str] | None = None) -> Response:
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), "Connection": "close"}
    return Response(status, "", Headers(headers | {"Date": formatdate(usegmt=True)} | (more or {})), content)
