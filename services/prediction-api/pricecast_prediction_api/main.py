"""The prediction API's process: one event loop with the gRPC server, the HTTP server and the latest predictions that they share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import cache, partial

import uvloop

from pricecast_core import logs, service
from pricecast_core.errors import StoreError
from pricecast_core.health import Health
from pricecast_core.messages import Prediction
from pricecast_core.settings import PredictionApiSettings
from pricecast_core.stores.market_sql import SqlMarket
from pricecast_core.stores.models_sql import SqlModelRegistry
from pricecast_core.stores.open import open_prediction_store
from pricecast_core.stores.predictions import PredictionStore
from pricecast_prediction_api.access.gate import Gate
from pricecast_prediction_api.app import App
from pricecast_prediction_api.certificates import Certificates
from pricecast_prediction_api.grpc_server import GrpcServer
from pricecast_prediction_api.http_server import http_server
from pricecast_prediction_api.latest import LatestPredictions
from pricecast_prediction_api.methods import PredictionMethods
from pricecast_prediction_api.records import Sources

GRACE_SECONDS = 5.0
"""How long requests under way may take once the process is asked to stop."""
_HEARTBEAT_SECONDS = 1.0
_STALLED_SECONDS = 30.0

log = logs.get(__name__)


class _LatestReader:
    """Reads the latest predictions; creates what the store needs where nobody has yet."""

    def __init__(self, store: PredictionStore, pipeline: str) -> None:
        self._store = store
        self._pipeline = pipeline or None
        self._was_ready = False

    def __call__(self) -> list[Prediction]:
        try:
            predictions = self._store.latest(self._pipeline)
        except StoreError:
            if self._was_ready:
                raise
            self._store.ensure()
            predictions = self._store.latest(self._pipeline)
        self._was_ready = True
        return predictions


class _Heartbeat:
    """Notices an event loop that no longer runs."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    async def run(self) -> None:
        while True:
            self._last = time.monotonic()
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def problem(self) -> str | None:
        silence = time.monotonic() - self._last
        return f"the event loop has not run for {silence:.0f} s" if silence > _STALLED_SECONDS else None


async def serve(settings: PredictionApiSettings, health: Health, stop: service.Stop) -> None:
    """Serves until asked to stop.

    Raises:
        SettingsError: If an address can't be listened on, or the store's URL can't be used.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def on_stop() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended by itself
            loop.call_soon_threadsafe(stopping.set)

    stop.call(on_stop)
    store = open_prediction_store(settings)
    states: asyncio.Queue[bool] = asyncio.Queue()
    latest = LatestPredictions(
        _LatestReader(store, settings.pipeline),
        max_staleness_seconds=settings.max_staleness_seconds,
        refresh_seconds=min(settings.refresh_seconds, settings.max_staleness_seconds / 2),
        on_change=states.put_nowait,
    )
    certificates = Certificates(settings) if settings.tls_certificate is not None else None
    sources = _sources(settings)
    methods = PredictionMethods(latest, store, settings.pipeline, sources)
    gate = Gate(settings)
    grpc_server = GrpcServer(methods, gate)
    app = App(methods, latest, gate, settings.cors_origins, mcp=settings.mcp)
    http, http_socket = http_server(settings, app, GRACE_SECONDS)
    grpc_port = await grpc_server.start(
        settings.grpc_host, settings.grpc_port, certificates.credentials() if certificates else None
    )
    http_port = http_socket.getsockname()[1]

    async def tell_health() -> None:
        while True:
            await grpc_server.set_serving(await states.get())

    heartbeat = _Heartbeat()
    health.alive("event loop", heartbeat.problem)
    health.ready("predictions", latest.problem)
    health.info("grpc", lambda: f"{settings.grpc_host}:{grpc_port}")
    health.info("http", lambda: f"{settings.api_host}:{http_port}")
    background = [asyncio.create_task(work) for work in (latest.run(), tell_health(), heartbeat.run())]
    if app.agents is not None:
        background.append(asyncio.create_task(app.agents.run()))
    if certificates is not None and http.config.ssl is not None:
        background.append(asyncio.create_task(certificates.watch(http.config.ssl)))
    serving = asyncio.create_task(http.serve([http_socket]))
    log.info("listening", grpc=f"{settings.grpc_host}:{grpc_port}", http=f"{settings.api_host}:{http_port}")

    await asyncio.wait(
        {asyncio.create_task(stopping.wait()), serving, *background}, return_when=asyncio.FIRST_COMPLETED
    )
    latest.close()
    http.should_exit = True
    await asyncio.gather(grpc_server.stop(GRACE_SECONDS), serving)
    for task in background:
        task.cancel()
    results = await asyncio.gather(*background, return_exceptions=True)
    methods.close()
    sources.close()
    store.close()
    for result in results:
        if isinstance(result, Exception):
            raise result


def _sources(settings: PredictionApiSettings) -> Sources:
    features, models = settings.feature_store_url, settings.model_registry_url
    return Sources(
        market=SqlMarket(features.get_secret_value()) if features is not None else None,
        # opened when first asked for: it makes its tables, and what is served mustn't wait for that
        registry=cache(partial(SqlModelRegistry, models.get_secret_value())) if models is not None else None,
        state_file=settings.state_file,
    )


def work(settings: PredictionApiSettings, health: Health, stop: service.Stop) -> None:
    """Runs the service; called by `pricecast_core.service`."""
    uvloop.run(serve(settings, health, stop))


def main() -> None:
    """Entry point of `pricecast-prediction-api`."""
    service.run("prediction-api", PredictionApiSettings, work)
