"""A stand-in for Anthropic's Messages API: `POST /v1/messages` with tools, in the documented form of the answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Answer = Callable[[str], Any]


def nothing(headline: str) -> Any:
    return {"news_signals": []}


class AnthropicDouble:
    """The API on a loopback port.

    Args:
        answer: Gives the input of the tool call that answers a headline; text instead of an object is said as text.
        port: Port to listen on; 0 takes a free one.

    Attributes:
        requests: Bodies that came, in order.
        failures: Statuses to answer with first.
    """

    key = "secret-key"

    def __init__(self, answer: Answer = nothing, port: int = 0) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.failures: list[int] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, key: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.requests.append(body)
        if self.failures:
            return self.failures.pop(0), error("overloaded_error", "Overloaded")
        if key != self.key:
            return 401, error("authentication_error", "invalid x-api-key")
        answer = self.answer(text_of(body["messages"][-1]["content"]))
        if isinstance(answer, str):
            content = [{"type": "text", "text": answer}]
        else:
            tool = body["tools"][0]["name"]
            content = [{"type": "tool_use", "id": f"toolu_{len(self.requests)}", "name": tool, "input": answer}]
        return 200, {
            "id": f"msg_{len(self.requests)}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": content,
            "stop_reason": "end_turn" if isinstance(answer, str) else "tool_use",
            "stop_sequence": None,
            "usage": {"input_tokens": 100, "output_tokens": 20},
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = double.reply(self._key(), body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _key(self) -> str:  # older clients send the first, newer ones the second
                return self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")

            def log_message(self, *args: Any) -> None:
                """Silent."""

        return Handler


def error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
