"""Agents at /mcp: the tools of `pricecast_agents`, which ask this very application in the caller's name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from pricecast_core.errors import SettingsError
from pricecast_prediction_api.access.caller import Caller
from pricecast_prediction_api.access.gate import ADMITTED

PATH = "/mcp"
_caller: ContextVar[Caller] = ContextVar("caller")
"""Whose tools are at work: the SDK's tasks inherit it."""


class Agents:
    """The Model Context Protocol over HTTP, without sessions: any replica answers any call.

    Args:
        api: The application that the tools ask.

    Raises:
        SettingsError: If the package that it needs isn't installed.
    """

    def __init__(self, api: ASGIApp) -> None:
        try:
            from pricecast_agents.server import server  # noqa: PLC0415 (60 MB that most servers don't need)
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"MCP: true: {error.name} is not installed; install pricecast-prediction-api[mcp]"
            ) from None

        async def as_admitted(scope: Scope, receive: Receive, send: Send) -> None:
            await api({**scope, ADMITTED: _caller.get()}, receive, send)

        @contextlib.asynccontextmanager
        async def opened() -> AsyncIterator[httpx.AsyncClient]:
            transport = httpx.ASGITransport(app=as_admitted)  # type: ignore[arg-type, unused-ignore]
            async with httpx.AsyncClient(transport=transport, base_url="http://api.internal") as client:
                yield client

        self._server: Any = server(opened)
        # Hosts need no check: what a page could reach by a name of its own is read-only, and wants a token where others
        # than this machine can reach it.
        self._app: ASGIApp = self._server.streamable_http_app(
            streamable_http_path=PATH,
            json_response=True,
            stateless_http=True,
            host="0.0.0.0",  # noqa: S104
        )

    async def serve(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a call of someone whom the gate has let in: what its tools ask doesn't pass the gate again."""
        _caller.set(caller)
        await self._app(scope, receive, send)

    async def run(self) -> None:
        """Handles calls until cancelled."""
        async with self._server.session_manager.run():
            await asyncio.Event().wait()
