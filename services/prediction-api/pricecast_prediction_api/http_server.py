"""The HTTP server: uvicorn, with limits on what a connection may do and a certificate that is read again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pricecast_core.errors import SettingsError
from pricecast_core.settings import PredictionApiSettings
from pricecast_prediction_api.app import App

HEADER_SECONDS = 10.0
"""A connection on which no request's headers are complete in so long is closed: slow ones would use all there are."""


class _Protocol(HttpToolsProtocol):
    """uvicorn's connection, with a bound on how long a request's headers may take.

    uvicorn itself has one for connections that are silent between two requests, and none before and within them.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_waiting()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def _start_waiting(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEADER_SECONDS, self._close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers: the service has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone."""
        yield


def tls_problem(error: Exception) -> SettingsError:
    """Returns the error for certificates that can't be used."""
    return SettingsError(f"TLS_CERTIFICATE, TLS_KEY, TLS_CLIENT_CA: can't be used: {error}")


def http_server(settings: PredictionApiSettings, app: App, grace_seconds: float) -> tuple[HttpServer, socket.socket]:
    """Returns the server and the socket that it is to listen on.

    Raises:
        SettingsError: If the address can't be listened on, or the certificates can't be used.
    """
    options: dict[str, Any] = {}
    if settings.tls_client_ca is not None:
        options = {"ssl_ca_certs": str(settings.tls_client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=int(grace_seconds),
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        **options,
    )
    try:
        config.load()
    except OSError as error:  # a key that doesn't fit its certificate is one too
        raise tls_problem(error) from error
    try:
        family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
        listener = socket.create_server((settings.api_host, settings.api_port), family=family, backlog=2048)
    except OSError as error:
        address = f"{settings.api_host}:{settings.api_port}"
        raise SettingsError(f"API_PORT: can't listen on {address}; is it in use? ({error})") from error
    return HttpServer(config), listener
