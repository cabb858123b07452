"""Health and metrics of a service over HTTP: `/healthz`, `/readyz`, `/metrics`, on one port, in one thread.

Alive (`/healthz`) means that the work moves: each check says what is wrong, and the platform restarts a process that
fails. Ready (`/readyz`) means that the service does what others rely on. Both answer JSON with the reasons.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pricecast_core.errors import SettingsError

Check = Callable[[], str | None]
"""Returns what is wrong, or None."""

_STARTING: dict[str, Check] = {"service": lambda: "starting"}


class Health:
    """The checks of one service and the server that answers them.

    A check is called on each request, from the server's thread: it must be quick and only read.
    """

    def __init__(self) -> None:
        self._alive: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}
        self._info: dict[str, Callable[[], Any]] = {}
        self._server: ThreadingHTTPServer | None = None

    def alive(self, name: str, check: Check) -> None:
        """Adds a check of liveness: a failure asks for a restart."""
        self._alive[name] = check

    def ready(self, name: str, check: Check) -> None:
        """Adds a check of readiness: a failure means not yet, or not now. Until there is one, nothing is ready."""
        self._ready[name] = check

    def info(self, name: str, value: Callable[[], Any]) -> None:
        """Adds a fact to the answer of `/readyz`, for people and for the local runtime's view."""
        self._info[name] = value

    def start(self, host: str, port: int) -> int:
        """Starts to answer and returns the port.

        Raises:
            SettingsError: If the address can't be listened on.
        """
        try:
            self._server = ThreadingHTTPServer((host, port), self._handler())
        except OSError as error:
            raise SettingsError(
                f"http_host, http_port: can't listen on {host}:{port} ({error.strerror or error}); free the port, or name "
                "another one; 0 takes any"
            ) from None
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stops answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def report(self, checks: dict[str, Check]) -> tuple[int, dict[str, Any]]:
        """Returns the HTTP status and the body for some checks."""
        problems: dict[str, str] = {}
        for name, check in checks.items():
            try:
                problem = check()
            except Exception as error:  # a check that fails is an answer, not a crash
                problem = f"{type(error).__name__}: {error}"
            if problem is not None:
                problems[name] = problem
        info = {name: value() for name, value in self._info.items()}
        return (503 if problems else 200), {"ok": not problems, "problems": problems, "info": info}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        health = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._send(200, CONTENT_TYPE_LATEST, generate_latest())
                elif path in ("/healthz", "/readyz"):
                    status, body = health.report(health._alive if path == "/healthz" else health._ready or _STARTING)
                    self._send(status, "application/json", json.dumps(body).encode())
                else:
                    self._send(404, "text/plain", b"try /healthz, /readyz or /metrics\n")

            def _send(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                """Requests to health are not news."""

        return Handler
