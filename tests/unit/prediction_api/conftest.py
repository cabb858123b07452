"""A real `pricecast-prediction-api` process over a SQLite store, and clients of it over real sockets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_prediction_api.gen.pricecast.v1.prediction_service_pb2_grpc import PredictionServiceStub
from tests.contracts.predictions import a_prediction, scored
from tests.waiting import eventually

START_SECONDS = 120.0


class ApiProcess:
    """The service, started with some settings."""

    def __init__(self, log: Path, **settings: str) -> None:
        self.log = log
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PRICECAST")}
        environment |= {"GRPC_PORT": "0", "API_PORT": "0", "HTTP_PORT": "0", **settings}
        script = "from pricecast_prediction_api.main import main; main()"
        with log.open("wb") as output:
            self.process = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=output)
        self.health = self._logged("started")["health"]
        listening = self._logged("listening")
        self.grpc, self.http = listening["grpc"], f"http://{listening['http']}"

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def _logged(self, event: str) -> dict[str, Any]:
        def find() -> dict[str, Any] | None:
            assert self.process.poll() is None, self.log.read_text()
            return next((line for line in self.lines() if line["event"] == event), None)

        found: dict[str, Any] = eventually(find, START_SECONDS)
        return found

    def wait_ready(self) -> None:
        eventually(lambda: httpx.get(f"{self.health}/readyz").status_code == 200)

    def stop(self, seconds: float = 20.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/predictions.db"


@pytest.fixture(scope="module")
def store(store_url: str) -> Iterator[SqlPredictionStore]:
    """BTC/USD for 300 and 900 s (50 minutes of it, 40 scored), ETH/USD for 300 s in a simulated market."""
    store = SqlPredictionStore(store_url)
    store.ensure()
    store.write([a_prediction(minute, horizon_seconds=horizon) for minute in range(50) for horizon in (300, 900)])
    store.write([scored(a_prediction(minute)) for minute in range(40)])
    store.write([a_prediction(49, pair="ETH/USD", simulated=True, pipeline="demo")])
    yield store
    store.close()


@pytest.fixture(scope="module")
def api(store: SqlPredictionStore, store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    process = ApiProcess(tmp_path_factory.mktemp("api") / "log", PREDICTION_STORE_URL=store_url)
    try:
        process.wait_ready()
        yield process
    finally:
        process.close()


@pytest.fixture(scope="module")
def channel(api: ApiProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(api.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> PredictionServiceStub:
    return PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def http(api: ApiProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.http) as client:
        yield client
