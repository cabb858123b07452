"""The tools that agents call (Model Context Protocol), all of them read-only.

The server asks the prediction API over HTTP, with the caller's own token, so that an agent sees what its user may see.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from typing import Annotated, Any
from urllib.parse import quote as quote_url

import httpx
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from pricecast_agents.quotes import Quote, TrackRecord, quote, track_record

INSTRUCTIONS = """\
Forecasts of crypto prices by pricecast, each with an 80% interval and how its model did out of sample. Quote no number \
without its interval and its caveat: markets are close to unpredictable, and what skill there is lies in how wide the \
interval is, not in where the price goes. Never call a forecast better than naive unless `beats_naive` is true."""
MAX_HISTORY = 500
_READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

Pair = Annotated[str, Field(description="Trading pair, such as BTC/USD")]
Horizon = Annotated[int, Field(ge=0, description="Seconds ahead; 0 takes the shortest that is forecast")]
Pipeline = Annotated[str, Field(description="NAME or NAMESPACE.NAME, where several forecast the pair; else empty")]
Count = Annotated[int, Field(ge=1, le=MAX_HISTORY, description="How many, the newest first")]
Client = Callable[[], AbstractAsyncContextManager[httpx.AsyncClient]]


def server(client: Client) -> MCPServer[Any]:
    """Returns the MCP server.

    Args:
        client: Opens a client of the prediction API.
    """
    mcp: MCPServer[Any] = MCPServer(
        "pricecast", instructions=INSTRUCTIONS, version=metadata.version("pricecast-agents"), log_level="WARNING"
    )

    async def ask(context: Context[Any, Any], path: str, query: dict[str, Any] | None = None) -> Any:
        """Returns the API's answer; what it refuses, and why, is the tool's error."""
        given = (context.headers or {}).get("authorization")
        async with client() as api:
            try:
                answer = await api.get(path, params=query or {}, headers={"authorization": given} if given else {})
            except httpx.HTTPError as error:
                raise ToolError(f"the prediction API can't be reached: {type(error).__name__}: {error}") from None
        try:
            found = answer.json()
        except json.JSONDecodeError:
            raise ToolError(f"the prediction API answered {answer.status_code}, and no JSON") from None
        if answer.is_error:
            raise ToolError(str(found.get("detail", answer.status_code)))
        return found

    def url(pair: str, what: str) -> str:
        return f"/v1/pairs/{quote_url(pair, safe='/-')}/{what}"

    @mcp.tool(annotations=_READ_ONLY)
    async def list_pairs(context: Context[Any, Any]) -> list[dict[str, Any]]:
        """Lists what is forecast: pairs, horizons in seconds, pipelines, and whether the market is simulated."""
        pairs = (await ask(context, "/v1/pairs"))["pairs"]
        return [
            {
                "pair": each["pair"],
                "horizons_seconds": each["horizonsSeconds"],
                "pipelines": each["pipelineIds"],
                "simulated": each["simulated"],
            }
            for each in pairs
        ]

    @mcp.tool(annotations=_READ_ONLY)
    async def latest_forecast(
        context: Context[Any, Any], pair: Pair, horizon_seconds: Horizon = 0, pipeline: Pipeline = ""
    ) -> Quote:
        """Returns the newest forecast of a pair's price, with its interval, skill, age and caveat."""
        asked = {"horizonSeconds": horizon_seconds, "pipeline": pipeline}
        return quote(await ask(context, url(pair, "prediction"), asked))

    @mcp.tool(annotations=_READ_ONLY)
    async def forecast_history(
        context: Context[Any, Any], pair: Pair, horizon_seconds: Horizon = 0, pipeline: Pipeline = "", count: Count = 20
    ) -> list[Quote]:
        """Returns past forecasts of a pair and what came of each, the newest first."""
        asked = {"horizonSeconds": horizon_seconds, "pipeline": pipeline, "pageSize": count}
        return [quote(each) for each in (await ask(context, url(pair, "predictions"), asked))["predictions"]]

    @mcp.tool(annotations=_READ_ONLY)
    async def forecast_track_record(
        context: Context[Any, Any],
        pair: Pair,
        horizon_seconds: Horizon = 0,
        pipeline: Pipeline = "",
        count: Count = 500,
    ) -> TrackRecord:
        """Returns how good the latest forecasts of a pair were, beside naive ones. Look here before trusting any."""
        asked = {"horizonSeconds": horizon_seconds, "pipeline": pipeline, "pageSize": count}
        return track_record(pair, (await ask(context, url(pair, "predictions"), asked))["predictions"])

    return mcp


def over_http(address: str, token: str = "") -> Client:
    """Returns what opens a client of the prediction API at an address.

    Args:
        address: `http://HOST:PORT`.
        token: A bearer token; empty where the API asks for none.
    """

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[httpx.AsyncClient]:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=20) as client:
            yield client

    return opened
