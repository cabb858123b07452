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

from pricecast_core.stores.features import Value, news_signals_group, technical_indicators_group
from pricecast_core.stores.features_sql import SqlFeatureStore
from pricecast_core.stores.models import TrainingRun, model_name
from pricecast_core.stores.models_sql import SqlModelRegistry
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_prediction_api.gen.pricecast.v1.prediction_service_pb2_grpc import PredictionServiceStub
from tests.contracts.predictions import MINUTE_MS, START_MS, a_prediction, scored
from tests.waiting import eventually

START_SECONDS = 120.0


class ApiProcess:
    """The service, started with some settings."""

    def __init__(self, log: Path, **settings: str) -> None:
        self.log = log
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PRICECAST")}
        # A store that a busy machine reads slowly is no store that is away.
        environment |= {"GRPC_PORT": "0", "API_PORT": "0", "HTTP_PORT": "0", "MAX_STALENESS_SECONDS": "10", **settings}
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
def sources(store: SqlPredictionStore, store_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the API reads: predictions, 50 candles and three headlines of `btc`, three versions of its model, and its processes."""
    folder = tmp_path_factory.mktemp("sources")
    features, models, state = f"sqlite:///{folder}/features.db", f"sqlite:///{folder}/models.db", folder / "state.json"
    store = SqlFeatureStore(features)
    for group, rows in (
        (technical_indicators_group("btc", ()), [a_candle(minute) for minute in range(50)]),
        (news_signals_group("btc"), [a_signal(minute) for minute in (1, 2, 3)]),
    ):
        store.ensure(group)
        store.write(group, rows)
    store.close()
    registry = SqlModelRegistry(models)
    for number in (1, 2, 3):
        name = model_name("btc", "btc-usd", 300)
        metrics = {"distribution_skill": number / 100, "HarSeasonal.lead": 0.02}
        version = registry.register(TrainingRun(name, {"kind": "Ensemble"}, metrics, START_MS + number, b"model"))
        if number < 3:
            registry.promote(name, version.version, f"better than version {number - 1}")
    registry.close()
    programs = {
        "price-predictor": {"state": "ready", "since": 1_767_225_600.5, "restarts": 2, "message": ""},
        "trades": {
            "state": "restarting",
            "since": 1_767_225_700.0,
            "restarts": 7,
            "message": "Kraken can't be reached",
        },
    }
    state.write_text(json.dumps({"programs": programs}))
    return {
        "PREDICTION_STORE_URL": store_url,
        "FEATURE_STORE_URL": features,
        "MODEL_REGISTRY_URL": models,
        "STATE_FILE": str(state),
    }


def a_candle(minute: int) -> dict[str, Value]:
    price = 50_000.0 + minute
    values = {"open": price, "high": price + 2, "low": price - 2, "close": price + 1, "volume": 0.5, "trade_count": 9}
    start_ms = START_MS + minute * MINUTE_MS
    window = {"window_start_ms": start_ms, "window_end_ms": start_ms + MINUTE_MS}
    return {"pair": "BTC/USD", "candle_seconds": 60, **window, **values}


def a_signal(minute: int) -> dict[str, Value]:
    return {
        "coin": "BTC" if minute < 3 else "ETH",
        "model_name": "lexicon",
        "news_id": f"news-{minute}",
        "timestamp_ms": START_MS + minute * MINUTE_MS,
        "signal": 1,
        "reasoning": "",
        "title": f"Headline {minute}",
        "url": "https://news.example/1" if minute == 1 else "javascript:alert(1)",
    }


@pytest.fixture(scope="module")
def api(sources: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    process = ApiProcess(tmp_path_factory.mktemp("api") / "log", **sources)
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
