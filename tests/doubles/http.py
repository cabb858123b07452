"""The life of a double's HTTP server: it listens on a free port of loopback and serves while its `with` block runs."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class HttpDouble:
    """A double that speaks HTTP.

    Args:
        handler: Answers requests.
        port: Port to listen on; 0 takes a free one.
        path: What its address ends in.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler], *, port: int = 0, path: str = "") -> None:
        self._path = path
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
