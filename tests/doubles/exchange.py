"""The life of an exchange's double: one loopback port for REST and WebSocket, subscribers, heartbeats."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import MutableMapping
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

BEAT_SECONDS = 0.25


class ExchangeDouble:
    """Serves while its `with` block runs. Public methods may be called from any thread.

    Args:
        port: Loopback port; 0 takes a free one.
        tls: With its certificate; then its addresses are https:// and wss:// ones of `localhost`.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls
        self._subscribers: MutableMapping[ServerConnection, Any] = {}
        """What each connection has subscribed to."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)
        self._server: Server | None = None
        self._heartbeats: asyncio.Task[None] | None = None

    @property
    def rest_url(self) -> str:
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"wss://localhost:{self.port}" if self._tls else f"ws://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def disconnect(self) -> None:
        """Breaks every WebSocket without a word."""
        self._run(self._disconnect())

    async def beat(self) -> None:
        """Sends a heartbeat to all subscribers."""
        raise NotImplementedError

    async def http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers REST; None where a WebSocket is asked for."""
        raise NotImplementedError

    async def converse(self, connection: ServerConnection) -> None:
        """Speaks over one WebSocket until it is closed."""
        raise NotImplementedError

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _start(self) -> None:
        self._server = await serve(
            self.converse,
            "127.0.0.1",
            self.port,
            process_request=self.http,
            ping_interval=None,
            close_timeout=0.2,
            ssl=self._tls,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self._heartbeats = asyncio.create_task(self._keep_beating())

    async def _stop(self) -> None:
        assert self._heartbeats is not None
        assert self._server is not None
        self._heartbeats.cancel()
        await self._disconnect()
        self._server.close()
        await self._server.wait_closed()

    async def _disconnect(self) -> None:
        for connection in list(self._subscribers):
            connection.transport.abort()
        self._subscribers.clear()

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await self.beat()
