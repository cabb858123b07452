"""Forecasts for agents, by the protocol's own client: over HTTP behind the API's gate, and over standard streams."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from pricecast_agents.quotes import quote, track_record
from pricecast_core.access_tokens import TokenFile, create, encode
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from tests.contracts.predictions import a_prediction, scored
from tests.unit.prediction_api.conftest import ApiProcess

SECRET, ENTRY = create("agent", ["*"], 0, None)
DEMO_SECRET, DEMO_ENTRY = create("demo-agent", ["demo"], 0, None)
SLOW_SECRET, SLOW_ENTRY = create("slow-agent", ["*"], 0.01, None)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    folder = tmp_path_factory.mktemp("mcp")
    url = f"sqlite:///{folder}/predictions.db"
    store = SqlPredictionStore(url)
    store.ensure()
    store.write([scored(a_prediction(minute)) for minute in range(40)] + [a_prediction(40)])
    store.write([a_prediction(40, pair="ETH/USD", simulated=True, pipeline="demo")])
    store.close()
    (folder / "tokens.json").write_bytes(encode(TokenFile([ENTRY, DEMO_ENTRY, SLOW_ENTRY])))
    process = ApiProcess(
        folder / "log", PREDICTION_STORE_URL=url, MCP="true", API_TOKENS_FILE=str(folder / "tokens.json")
    )
    try:
        process.wait_ready()
        yield process
    finally:
        process.close()


@asynccontextmanager
async def over_http(api: ApiProcess, token: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=60) as http,
        Client(streamable_http_client(f"{api.http}/mcp", http_client=http)) as client,
    ):
        yield client


@asynccontextmanager
async def over_stdio(api: ApiProcess, token: str) -> AsyncIterator[Client]:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "pricecast_cli", "mcp", "--address", api.http],
        env={**os.environ, "PRICECAST_TOKEN": token},
    )
    async with Client(stdio_client(command)) as client:
        yield client


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


@pytest.mark.parametrize("transport", [over_http, over_stdio])
async def test_every_number_comes_with_what_must_be_said_of_it(api: ApiProcess, transport: Any) -> None:
    async with transport(api, SECRET) as client:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == {
            "list_pairs",
            "latest_forecast",
            "forecast_history",
            "forecast_track_record",
        }
        assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools)
        found = await called(client, "latest_forecast", pair="ETH/USD")
        assert {"skill", "lower", "upper", "simulated", "age_seconds", "beats_naive", "is_over"} <= set(found)
        assert found["simulated"]
        assert "SIMULATION" in found["caveat"]
        assert found["is_over"]
        assert "has passed" in found["caveat"]
        history = (await called(client, "forecast_history", pair="BTC/USD", count=5))["result"]
        assert len(history) == 5
        assert history[-1]["actual_price"]
        record = await called(client, "forecast_track_record", pair="btc-usd")
        assert record["scored"] == 40
        assert "too few to tell skill from luck" in record["caveat"]


async def test_what_the_api_refuses_is_told_with_its_remedy(api: ApiProcess) -> None:
    async with over_http(api, SECRET) as client:
        result = await client.call_tool("latest_forecast", {"pair": "DOGE/USD"})
        assert result.is_error
        assert "predicted are: BTC/USD, ETH/USD" in str(result.content)


@pytest.mark.parametrize("transport", [over_http, over_stdio])
async def test_an_agent_sees_what_its_token_may_see(api: ApiProcess, transport: Any) -> None:
    async with transport(api, DEMO_SECRET) as client:
        pairs = (await called(client, "list_pairs"))["result"]
        assert [each["pair"] for each in pairs] == ["ETH/USD"]
        assert (await client.call_tool("latest_forecast", {"pair": "BTC/USD"})).is_error


def test_a_call_counts_once_against_the_rate_whatever_its_tool_asks(api: ApiProcess) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_pairs", "arguments": {}}}
    headers = {"authorization": f"Bearer {SLOW_SECRET}", "accept": "application/json, text/event-stream"}
    answer, refused = (httpx2.post(f"{api.http}/mcp", json=call, headers=headers, timeout=60) for _ in range(2))
    result = answer.json()["result"]
    assert not result.get("isError"), result
    assert [each["pair"] for each in result["structuredContent"]["result"]] == ["BTC/USD", "ETH/USD"]
    assert refused.status_code == 429


def test_without_a_token_no_agent_is_served(api: ApiProcess) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert httpx2.request(method, f"{api.http}/mcp", json={}).status_code == 401


def test_agents_are_not_served_unless_told(tmp_path: Path) -> None:
    process = ApiProcess(tmp_path / "log", PREDICTION_STORE_URL=f"sqlite:///{tmp_path}/p.db")
    try:
        assert httpx2.post(f"{process.http}/mcp", json={}).status_code == 404
    finally:
        process.close()


def prediction(**changes: Any) -> dict[str, Any]:
    whole = {
        "pair": "BTC/USD", "pipeline": "btc", "namespace": "team", "modelName": "btc-usd", "modelVersion": 3,
        "issuedAt": "2026-01-01T00:00:00Z", "targetTime": "2026-01-01T00:05:00Z", "predictedPrice": 2.0, "lower": 1.0,
        "upper": 3.0, "lastPrice": 2.0, "isOver": False, "simulated": False, "beatsNaive": True, "pointIsNaive": False,
        "skill": {"distribution": 0.03},
    }  # fmt: skip
    return whole | changes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"modelName": "naive", "modelVersion": 0, "beatsNaive": False, "skill": None}, "No model has beaten"),
        ({"beatsNaive": False}, "did NOT beat"),
        ({"caution": "the model abstains"}, "With care: the model abstains."),
        ({"pointIsNaive": True}, "the point is the last price"),
        ({"isOver": True}, "don't use it"),
    ],
)
def test_the_caveat_names_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    assert said in quote(prediction(**changes)).caveat
    assert "Not financial advice" in quote(prediction()).caveat
    assert quote(prediction()).pipeline == "team.btc"


def test_where_the_model_abstains_the_caveat_claims_nothing_of_its_skill_or_width() -> None:
    caveat = quote(prediction(abstained=True, beatsNaive=False, pointIsNaive=True, caution="far off")).caveat
    assert "The model abstains: this is the naive forecast" in caveat
    assert "out of sample" not in caveat
    assert "Only the width" not in caveat


def test_a_record_that_is_no_better_than_naive_says_so() -> None:
    outcome = {"absoluteError": 1, "naiveAbsoluteError": 1, "insideInterval": True, "pinballLoss": 2.0}
    worse = [prediction(outcome={**outcome, "naivePinballLoss": 1.0})] * 200
    found = track_record("BTC/USD", worse)
    assert (found.scored, found.coverage, found.skill) == (200, 1.0, -1.0)
    assert "no better than naive" in found.caveat
    assert "No outcome is known" in track_record("BTC/USD", [prediction()]).caveat
    assert json.loads(found.model_dump_json())["caveat"]
