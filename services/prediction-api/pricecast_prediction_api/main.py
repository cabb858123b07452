"""The prediction API's process: one event loop with the gRPC server, the HTTP server and the latest predictions that they share."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import grpc
import uvicorn
import uvloop

from pricecast_core import logs, service
from pricecast_core.errors import SettingsError, StoreError
from pricecast_core.health import Health
from pricecast_core.messages import Prediction
from pricecast_core.settings import PredictionApiSettings
from pricecast_core.stores.open import open_prediction_store
from pricecast_core.stores.predictions import PredictionStore
from pricecast_prediction_api.app import App
from pricecast_prediction_api.grpc_server import GrpcServer
from pricecast_prediction_api.latest import LatestPredictions
from pricecast_prediction_api.methods import PredictionMethods

GRACE_SECONDS = 5.0
"""How long requests under way may take once the process is asked to stop."""
_HEARTBEAT_SECONDS = 1.0
_STALLED_SECONDS = 30.0

log = logs.get(__name__)


class _HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers: the service has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
        loop.call_soon_threadsafe(stopping.set)

    stop.call(on_stop)
    if stop.is_set():
        return

    store = open_prediction_store(settings)
    states: asyncio.Queue[bool] = asyncio.Queue()
    latest = LatestPredictions(
        _LatestReader(store, settings.pipeline),
        max_staleness_seconds=settings.max_staleness_seconds,
        refresh_seconds=min(settings.refresh_seconds, settings.max_staleness_seconds / 2),
        on_change=states.put_nowait,
    )
    methods = PredictionMethods(latest, store, settings.pipeline)
    grpc_server = GrpcServer(methods)
    http_server, http_socket = _http_server(settings, App(methods, latest))
    grpc_port = await grpc_server.start(settings.grpc_host, settings.grpc_port, _credentials(settings))
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
    http = asyncio.create_task(http_server.serve([http_socket]))
    log.info("listening", grpc=f"{settings.grpc_host}:{grpc_port}", http=f"{settings.api_host}:{http_port}")

    await asyncio.wait({asyncio.create_task(stopping.wait()), http, *background}, return_when=asyncio.FIRST_COMPLETED)
    latest.close()
    http_server.should_exit = True
    await asyncio.gather(grpc_server.stop(GRACE_SECONDS), http)
    for task in background:
        task.cancel()
    results = await asyncio.gather(*background, return_exceptions=True)
    methods.close()
    store.close()
    for result in results:
        if isinstance(result, Exception):
            raise result


def _credentials(settings: PredictionApiSettings) -> grpc.ServerCredentials | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        return grpc.ssl_server_credentials([(settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())])
    except OSError as error:
        raise SettingsError(f"TLS_CERTIFICATE, TLS_KEY: can't be used: {error}") from error


def _http_server(settings: PredictionApiSettings, app: App) -> tuple[_HttpServer, socket.socket]:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=int(GRACE_SECONDS),
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    try:
        config.load()
    except OSError as error:  # a key that doesn't fit its certificate is one too
        raise SettingsError(f"TLS_CERTIFICATE, TLS_KEY: can't be used: {error}") from error
    try:
        family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
        listener = socket.create_server((settings.api_host, settings.api_port), family=family, backlog=2048)
    except OSError as error:
        address = f"{settings.api_host}:{settings.api_port}"
        raise SettingsError(f"API_PORT: can't listen on {address}; is it in use? ({error})") from error
    return _HttpServer(config), listener


def work(settings: PredictionApiSettings, health: Health, stop: service.Stop) -> None:
    """Runs the service; called by `pricecast_core.service`."""
    uvloop.run(serve(settings, health, stop))


def main() -> None:
    """Entry point of `pricecast-prediction-api`."""
    service.run("prediction-api", PredictionApiSettings, work)
