"""Agents at /mcp: the tools of `pricecast_agents`, which ask this very application with the caller's own token."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import ASGIApp

from pricecast_core.errors import SettingsError

PATH = "/mcp"


class Agents:
    """The Model Context Protocol over HTTP, without sessions: any replica answers any call.

    Args:
        api: The application that the tools ask; its gate decides what a caller may see.

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

        @contextlib.asynccontextmanager
        async def opened() -> AsyncIterator[httpx.AsyncClient]:
            transport = httpx.ASGITransport(app=api)  # type: ignore[arg-type, unused-ignore]
            async with httpx.AsyncClient(transport=transport, base_url="http://api.internal") as client:
                yield client

        self._server: Any = server(opened)
        # Hosts need no check: what a page could reach by a name of its own is read-only, and wants a token where others
        # than this machine can reach it.
        self.app: ASGIApp = self._server.streamable_http_app(
            streamable_http_path=PATH,
            json_response=True,
            stateless_http=True,
            host="0.0.0.0",  # noqa: S104
        )

    async def run(self) -> None:
        """Handles calls until cancelled."""
        async with self._server.session_manager.run():
            await asyncio.Event().wait()
