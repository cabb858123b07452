"""A stand-in for Anthropic's Messages API: `POST /v1/messages` with tools.

Fields, headers and errors are those of recorded conversations with the real one (2026): a client must send its version
and a limit of tokens, tools carry a JSON schema, answers say what they cost, errors carry the id of the request. What
the real one refuses is refused here, so that a client which works here works there.
"""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message
from typing import Any

from tests.doubles.http import HttpDouble, JsonHandler

Answer = Callable[[str], Any]


def nothing(headline: str) -> Any:
    return {"news_signals": []}


class AnthropicDouble(HttpDouble):
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
        super().__init__(self._handler(), port=port)

    def reply(self, path: str, headers: Message, body: dict[str, Any]) -> tuple[int, Any]:
        self.requests.append(body)
        if path.partition("?")[0] != "/v1/messages":
            return 404, error("not_found_error", "Not found")
        if self.failures:
            status = self.failures.pop(0)
            return status, error(*FAILURES.get(status, ("api_error", "Internal server error")))
        if self.key not in (headers["x-api-key"], (headers["Authorization"] or "").removeprefix("Bearer ")):
            return 401, error("authentication_error", "invalid x-api-key")
        if fault := fault_of(headers, body):
            return 400, error("invalid_request_error", fault)
        if not body["model"].startswith("claude-"):
            return 404, error("not_found_error", f"model: {body['model']}")
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
            "usage": {
                "input_tokens": 711,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 23,
                "service_tier": "standard",
            },
        }

    def _handler(self) -> type[JsonHandler]:
        double = self

        class Handler(JsonHandler):
            def do_POST(self) -> None:
                self.reply(*double.reply(self.path, self.headers, self.body()))

        return Handler


FAILURES = {
    429: ("rate_limit_error", "This request would exceed your organization's rate limit"),
    500: ("api_error", "Internal server error"),
    529: ("overloaded_error", "Overloaded"),
}


def error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CTestTestTestTest"}


def fault_of(headers: Message, body: dict[str, Any]) -> str:
    """Returns what the real one would refuse a request for; empty if nothing."""
    if not headers["anthropic-version"]:
        return "anthropic-version: header is required"
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            return f"{name}: Field required"
    for number, message in enumerate(body["messages"]):
        if not text_of(message["content"]).strip():
            return f"messages.{number}: user messages must have non-empty content"
    for number, tool in enumerate(body.get("tools", [])):
        if tool.get("input_schema", {}).get("type") != "object":
            return f"tools.{number}.input_schema.type: Field required"
    return ""


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
