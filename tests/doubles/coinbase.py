"""A stand-in for Coinbase Exchange: REST and WebSocket on one loopback port, replaying the recorded documented messages.

Every message is one of tests/data/coinbase (SOURCES.md) with its trade's numbers, price and time put in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

RECORDED = {
    path.stem: json.loads(path.read_text()) for path in (Path(__file__).parents[1] / "data/coinbase").glob("*.json")
}


class CoinbaseDouble:
    """The exchange, with one product. All methods may be called from any thread."""

    def __init__(self, product: str = "BTC-USD") -> None:
        self.product = product
        self.deals: list[dict[str, Any]] = []
        self.rest_calls: list[dict[str, str]] = []
        self.lose = 0
        self.refusals: list[tuple[int, Any]] = []
        self._subscribers: set[ServerConnection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="coinbase-double", daemon=True)
        self._server: Server | None = None
        self._beats: asyncio.Task[None] | None = None
        self.port = 0

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def history(self, count: int, *, step_seconds: float = 0.05) -> None:
        """Makes trades up to now."""
        start = time.time() - count * step_seconds
        for number in range(count):
            self.deals.append(self._deal(start + number * step_seconds))

    def trade(self) -> None:
        """Makes one trade happen now."""
        self._run(self._trade())

    def disconnect(self) -> None:
        """Breaks every WebSocket without a word."""
        self._run(self._disconnect())

    def subscribers(self) -> int:
        return len(self._subscribers)

    def _deal(self, moment: float) -> dict[str, Any]:
        number = len(self.deals) + 1
        stamp = datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {"trade_id": number, "price": f"{50_000 + number % 7}.00", "size": "0.01", "side": "sell", "time": stamp}

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _start(self) -> None:
        self._server = await serve(
            self._websocket, "127.0.0.1", 0, process_request=self._http, ping_interval=None, close_timeout=0.2
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self._beats = asyncio.create_task(self._beat())

    async def _stop(self) -> None:
        assert self._beats is not None
        assert self._server is not None
        self._beats.cancel()
        await self._disconnect()
        self._server.close()
        await self._server.wait_closed()

    async def _disconnect(self) -> None:
        for connection in list(self._subscribers):
            connection.transport.abort()
        self._subscribers.clear()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.25)
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

    async def _http(self, _connection: ServerConnection, request: Request) -> Response | None:
        address = urlsplit(request.path)
        if not address.path.startswith("/products/"):
            return None
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.rest_calls.append(query)
        if self.refusals:
            return _response(*self.refusals.pop(0))
        if address.path != f"/products/{self.product}/trades":
            return _response(404, RECORDED["rest_not_found"])
        before = int(query.get("after", len(self.deals) + 1))
        found = [deal for deal in self.deals if deal["trade_id"] < before][-int(query.get("limit", 1_000)) :][::-1]
        cursors = {"cb-before": str(found[0]["trade_id"]), "cb-after": str(found[-1]["trade_id"])} if found else {}
        return _response(200, [RECORDED["rest_trades"][0] | deal for deal in found], cursors)

    async def _websocket(self, connection: ServerConnection) -> None:
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
                self._subscribers.add(connection)
        self._subscribers.discard(connection)


def _response(status: int, body: Any, more: dict[str, str] | None = None) -> Response:
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), "Connection": "close"}
    return Response(status, "", Headers(headers | {"Date": formatdate(usegmt=True)} | (more or {})), content)
