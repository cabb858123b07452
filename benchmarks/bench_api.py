"""Serving from memory against asking Elasticsearch on every request: requests a second and latency, 50 callers.

The servers run in processes of their own beside one real Elasticsearch, with the same gRPC and HTTP stacks: the only
difference is where an answer comes from. One that asks does so by a search for the newest prediction, as one would
without a document for the latest; another by a realtime `GET` of that document, the cheapest question there is. Both
use an async client. Load comes from another process, over real sockets; runs of the servers alternate, and a ratio is
that of two neighbouring runs. The callers are Python too, and share the machine's cores with the servers.

    python -m benchmarks.bench_api [--rounds 5] [--seconds 3] [--callers 50] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import msgspec
import uvicorn
from elasticsearch import AsyncElasticsearch
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pricecast_core.messages import Prediction
from pricecast_core.stores.predictions_elasticsearch import ElasticsearchPredictionStore
from pricecast_prediction_api.convert import to_proto
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1.prediction_service_pb2_grpc import PredictionServiceStub
from pricecast_prediction_api.snapshot import to_json
from pricecast_testbed import Elasticsearch
from pricecast_testbed.server import free_port

PREFIX = "bench-api"
PAIRS = [f"C{number:02}/USD" for number in range(10)]
WARM_UP_SECONDS = 1.0
START_MS = 1_767_225_600_000
NAMES = {"memory": "memory (ours)", "get": "Elasticsearch, GET", "search": "Elasticsearch, search"}


@dataclass(frozen=True)
class Load:
    """What one run of callers saw."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failed: float


def predictions() -> list[Prediction]:
    """Returns a day of predictions for each pair."""
    return [
        Prediction(
            pipeline="bench",
            pair=pair,
            horizon_seconds=300,
            issued_at_ms=START_MS + minute * 60_000,
            target_time_ms=START_MS + minute * 60_000 + 300_000,
            feature_time_ms=START_MS + minute * 60_000,
            last_price=50_000.0,
            predicted_price=50_010.5,
            lower=49_900.25,
            upper=50_100.75,
            model_name="bench",
            model_version=1,
            distribution_skill=0.03,
            point_skill=0.0,
            beats_naive=True,
            simulated=True,
        )
        for minute in range(1440)
        for pair in PAIRS
    ]


# --- the servers that ask Elasticsearch on every request


async def serve_direct(url: str, question: str) -> None:
    client = AsyncElasticsearch(url, connections_per_node=64)

    async def get_latest(pair: str) -> Any:
        return (await client.get(index=f"{PREFIX}-latest", id=f"bench:{pair}:300"))["_source"]

    async def search_newest(pair: str) -> Any:
        answer = await client.search(
            index=f"{PREFIX}-predictions",
            query={"bool": {"filter": [{"term": {"pair": pair}}, {"term": {"horizon_seconds": 300}}]}},
            sort=[{"target_time_ms": {"order": "desc"}}],
            size=1,
            track_total_hits=False,
        )
        return answer["hits"]["hits"][0]["_source"]

    ask = get_latest if question == "get" else search_newest

    async def read(pair: str) -> Prediction:
        return msgspec.convert(await ask(pair), Prediction)

    async def predict(request: Any, _context: Any) -> bytes:
        return pb.PredictResponse(prediction=to_proto(await read(request.pair))).SerializeToString()

    async def get(request: Request) -> Response:
        pair = f"{request.path_params['base']}/{request.path_params['quote']}"
        return Response(to_json(to_proto(await read(pair))), media_type="application/json")

    server = grpc.aio.server()
    method: grpc.RpcMethodHandler[Any, bytes] = grpc.unary_unary_rpc_method_handler(
        predict, request_deserializer=pb.PredictRequest.FromString
    )
    handler = grpc.method_handlers_generic_handler("pricecast.v1.PredictionService", {"Predict": method})
    server.add_generic_rpc_handlers((handler,))
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    app = Starlette(routes=[Route("/v1/pairs/{base}/{quote}/prediction", get)])
    config = uvicorn.Config(app, port=0, http="httptools", ws="none", lifespan="off", access_log=False)
    listener = config.bind_socket()
    print(json.dumps({"grpc": f"127.0.0.1:{grpc_port}", "http": f"127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    await uvicorn.Server(config).serve([listener])


# --- the callers


async def call_in_turn(
    call: Callable[[int], Awaitable[bool]], deadline: float, seconds: list[float], failures: list[int], caller: int
) -> None:
    number = caller
    while True:
        started = time.perf_counter()
        if started >= deadline:
            return
        if await call(number):
            seconds.append(time.perf_counter() - started)
        else:
            failures.append(number)
        number += 1


async def measure(calls: list[Callable[[int], Awaitable[bool]]], seconds: float) -> Load:
    for duration in (WARM_UP_SECONDS, seconds):
        latencies: list[float] = []
        failures: list[int] = []
        deadline = time.perf_counter() + duration
        await asyncio.gather(*(call_in_turn(call, deadline, latencies, failures, i) for i, call in enumerate(calls)))
    cuts = statistics.quantiles(latencies, n=100)
    return Load(len(latencies) / seconds, cuts[49] * 1000, cuts[98] * 1000, len(failures))


async def load_grpc(target: str, callers: int, seconds: float) -> Load:
    requests = [pb.PredictRequest(pair=pair) for pair in PAIRS]
    async with grpc.aio.insecure_channel(target) as channel:
        stub = PredictionServiceStub(channel)

        async def call(number: int) -> bool:
            try:
                answer = await stub.Predict(requests[number % len(requests)])
            except grpc.RpcError:
                return False
            return bool(answer.prediction.horizon_seconds == 300)

        return await measure([call] * callers, seconds)


async def load_http(target: str, callers: int, seconds: float) -> Load:
    """Keeps one connection a caller, and reads answers as little as it can: it shares two cores with the server."""
    host, _, port = target.partition(":")
    requests = [f"GET /v1/pairs/{pair}/prediction HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for pair in PAIRS]

    async def connect() -> Callable[[int], Awaitable[bool]]:
        reader, writer = await asyncio.open_connection(host, int(port))

        async def call(number: int) -> bool:
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            return head.startswith(b"HTTP/1.1 200")

        return call

    return await measure([await connect() for _ in range(callers)], seconds)


# --- the benchmark


@contextlib.contextmanager
def process(arguments: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield child
    finally:
        child.terminate()
        child.wait(20)


@contextlib.contextmanager
def elasticsearch() -> Iterator[str]:
    if given := os.environ.get(Elasticsearch.url_variable):
        yield given
        return
    with tempfile.TemporaryDirectory() as home:
        server = Elasticsearch(Path(home) / "elasticsearch")
        server.start()
        try:
            yield server.url
        finally:
            server.wipe()


@contextlib.contextmanager
def servers(url: str) -> Iterator[dict[str, dict[str, str]]]:
    """Starts the servers and gives their addresses by name and protocol."""
    store = ElasticsearchPredictionStore(url, prefix=PREFIX, refresh=True)
    store.ensure()
    store.write(predictions())
    store.close()
    memory = (
        "import pricecast_core.stores.predictions_elasticsearch as m; import functools; "
        f"m.ElasticsearchPredictionStore = functools.partial(m.ElasticsearchPredictionStore, prefix={PREFIX!r}); "
        "from pricecast_prediction_api.main import main; main()"
    )
    health = free_port()
    environment = {
        "PREDICTION_STORE": "elasticsearch",
        "PREDICTION_STORE_URL": url,
        "GRPC_PORT": "0",
        "API_PORT": "0",
        "HTTP_PORT": str(health),
    }
    with (
        process(["-c", memory], **environment),
        process(["-m", "benchmarks.bench_api", "direct", url, "get"]) as get,
        process(["-m", "benchmarks.bench_api", "direct", url, "search"]) as search,
    ):
        assert get.stdout is not None
        assert search.stdout is not None
        addresses = {"get": json.loads(get.stdout.readline()), "search": json.loads(search.stdout.readline())}
        deadline = time.monotonic() + 60
        while "memory" not in addresses:
            assert time.monotonic() < deadline, "the API isn't ready"
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(f"http://127.0.0.1:{health}/readyz")
                if answer.status_code == 200:
                    addresses["memory"] = answer.json()["info"]
            time.sleep(0.1)
        yield addresses


def run_load(protocol: str, target: str, callers: int, seconds: float) -> Load:
    arguments = ["-m", "benchmarks.bench_api", f"load-{protocol}", target, str(callers), str(seconds)]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return Load(**json.loads(done.stdout))


def run(rounds: int, seconds: float, callers: int) -> list[dict[str, Any]]:
    """Returns a row for each protocol and server, and the ratio of the two."""
    runs: dict[tuple[str, str], list[Load]] = {}
    with elasticsearch() as url, servers(url) as addresses:
        for _ in range(rounds):
            for protocol in ("grpc", "http"):
                for name in NAMES:
                    load = run_load(protocol, addresses[name][protocol], callers, seconds)
                    runs.setdefault((protocol, name), []).append(load)
    rows = []
    for (protocol, name), loads in runs.items():
        ratios = [
            memory.requests_per_second / load.requests_per_second
            for memory, load in zip(runs[protocol, "memory"], loads, strict=True)
        ]
        fields = {field: statistics.median(getattr(load, field) for load in loads) for field in asdict(loads[0])}
        rows.append(
            {"protocol": protocol, "answers_from": NAMES[name], **fields, "memory_times": statistics.median(ratios)}
        )
    return rows


def main() -> None:
    if sys.argv[1:2] == ["direct"]:
        asyncio.run(serve_direct(sys.argv[2], sys.argv[3]))
        return
    if sys.argv[1:2] in (["load-grpc"], ["load-http"]):
        load = load_grpc if sys.argv[1] == "load-grpc" else load_http
        print(json.dumps(asdict(asyncio.run(load(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="one JSON array instead of the table")
    options = parser.parse_args()
    rows = run(options.rounds, options.seconds, options.callers)
    if options.json:
        print(json.dumps(rows))
        return
    print(
        f"{'protocol':9} {'answers from':22} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'failed':>7} {'ours is':>8}"
    )
    for row in rows:
        print(
            f"{row['protocol']:9} {row['answers_from']:22} {row['requests_per_second']:11,.0f} "
            f"{row['p50_ms']:8.2f} {row['p99_ms']:8.2f} {row['failed']:7.0f} {row['memory_times']:7.1f}x"
        )


if __name__ == "__main__":
    main()
