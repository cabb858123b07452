"""Serving from memory against asking Elasticsearch on every request: requests a second and latency, 50 callers.

Both servers run in a process of their own beside one real Elasticsearch, with the same gRPC and HTTP stacks: the only
difference is where an answer comes from. The one that asks is written as well as we can: an async client, one
realtime `GET` by id a request. Load comes from another process, over real sockets; runs of the two alternate, and the
ratio is that of two neighbouring runs.

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


@dataclass(frozen=True)
class Load:
    """What one run of callers saw."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float


def predictions() -> list[Prediction]:
    return [
        Prediction(
            pipeline="bench",
            pair=pair,
            horizon_seconds=300,
            issued_at_ms=START_MS,
            target_time_ms=START_MS + 300_000,
            feature_time_ms=START_MS,
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
        for pair in PAIRS
    ]


# --- the server that asks Elasticsearch on every request


async def serve_direct(url: str) -> None:
    client = AsyncElasticsearch(url, connections_per_node=64)

    async def read(pair: str) -> Prediction:
        answer = await client.get(index=f"{PREFIX}-latest", id=f"bench:{pair}:300")
        return msgspec.convert(answer["_source"], Prediction)

    async def predict(request: Any, _context: Any) -> bytes:
        return pb.PredictResponse(prediction=to_proto(await read(request.pair))).SerializeToString()

    async def get(request: Request) -> Response:
        pair = f"{request.path_params['base']}/{request.path_params['quote']}"
        return Response(to_json(to_proto(await read(pair))), media_type="application/json")

    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(predict, request_deserializer=pb.PredictRequest.FromString)
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
    call: Callable[[int], Awaitable[None]], deadline: float, seconds: list[float], caller: int
) -> None:
    number = caller
    while True:
        started = time.perf_counter()
        if started >= deadline:
            return
        await call(number)
        seconds.append(time.perf_counter() - started)
        number += 1


async def measure(calls: list[Callable[[int], Awaitable[None]]], seconds: float) -> Load:
    latencies: list[float] = []
    for duration in (WARM_UP_SECONDS, seconds):
        latencies.clear()
        deadline = time.perf_counter() + duration
        await asyncio.gather(*(call_in_turn(call, deadline, latencies, i) for i, call in enumerate(calls)))
    cuts = statistics.quantiles(latencies, n=100)
    return Load(len(latencies) / seconds, cuts[49] * 1000, cuts[98] * 1000)


async def load_grpc(target: str, callers: int, seconds: float) -> Load:
    requests = [pb.PredictRequest(pair=pair) for pair in PAIRS]
    async with grpc.aio.insecure_channel(target) as channel:
        stub = PredictionServiceStub(channel)

        async def call(number: int) -> None:
            answer = await stub.Predict(requests[number % len(requests)])
            assert answer.prediction.horizon_seconds == 300

        return await measure([call] * callers, seconds)


async def load_http(target: str, callers: int, seconds: float) -> Load:
    """Keeps one connection a caller, and reads answers as little as it can: it shares two cores with the server."""
    host, _, port = target.partition(":")
    requests = [f"GET /v1/pairs/{pair}/prediction HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for pair in PAIRS]

    async def connect() -> Callable[[int], Awaitable[None]]:
        reader, writer = await asyncio.open_connection(host, int(port))

        async def call(number: int) -> None:
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))

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
    """Starts both servers and gives their addresses by name and protocol."""
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
        process(["-m", "benchmarks.bench_api", "direct", url]) as direct,
    ):
        assert direct.stdout is not None
        addresses = {"direct": json.loads(direct.stdout.readline())}
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
                for name in ("memory", "direct"):
                    load = run_load(protocol, addresses[name][protocol], callers, seconds)
                    runs.setdefault((protocol, name), []).append(load)
    rows = []
    for (protocol, name), loads in runs.items():
        pairs = zip(runs[protocol, "memory"], runs[protocol, "direct"], strict=True)
        rows.append(
            {
                "protocol": protocol,
                "answers from": "memory" if name == "memory" else "Elasticsearch",
                **{
                    field: round(statistics.median(getattr(load, field) for load in loads), 2)
                    for field in asdict(loads[0])
                },
                "times": round(statistics.median(m.requests_per_second / d.requests_per_second for m, d in pairs), 1)
                if name == "memory"
                else 1.0,
            }
        )
    return rows


def main() -> None:
    if sys.argv[1:2] == ["direct"]:
        asyncio.run(serve_direct(sys.argv[2]))
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
    print(f"{'protocol':9} {'answers from':14} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'times':>6}")
    for row in rows:
        print(
            f"{row['protocol']:9} {row['answers from']:14} {row['requests_per_second']:11,.0f} "
            f"{row['p50_ms']:8.2f} {row['p99_ms']:8.2f} {row['times']:6.1f}"
        )


if __name__ == "__main__":
    main()
