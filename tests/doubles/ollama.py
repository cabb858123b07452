"""A stand-in for Ollama's chat API with models that the real one can't be given here: those that think.

`POST /api/chat` answers as the real one does. A model that thinks spends its tokens on `thinking` unless it is told
`think: false`; one that can't be told refuses the field with 400.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.doubles.http import HttpDouble, JsonHandler

Say = Callable[[dict[str, Any]], dict[str, Any]]
"""From a request to fields of its answer; the message's are under `message`."""


def says(content: str, done_reason: str = "stop") -> Say:
    """Returns a model that always says the same."""
    return lambda _request: {"message": {"role": "assistant", "content": content}, "done_reason": done_reason}


def thinks(content: str) -> Say:
    """Returns a model that thinks until its tokens are spent, unless it is told not to."""

    def say(request: dict[str, Any]) -> dict[str, Any]:
        if request.get("think") is False:
            return says(content)(request)
        message = {"role": "assistant", "content": "", "thinking": "The user wants to know. " * 50}
        return {"message": message, "done_reason": "length"}

    return say


class OllamaDouble(HttpDouble):
    """The API on a loopback port.

    Args:
        say: The model.

    Attributes:
        requests: Bodies that came, in order.
        raw: Answers to give first: (status, body).
        takes_think: Whether the model knows the field `think`.
    """

    def __init__(self, say: Say) -> None:
        self.say = say
        self.requests: list[dict[str, Any]] = []
        self.raw: list[tuple[int, bytes]] = []
        self.takes_think = True
        super().__init__(self._handler())

    def answer(self, request: dict[str, Any]) -> tuple[int, bytes]:
        self.requests.append(request)
        if self.raw:
            return self.raw.pop(0)
        if "think" in request and not self.takes_think:
            return 400, json.dumps({"error": f'"{request["model"]}" does not support thinking'}).encode()
        head = {"model": request["model"], "created_at": "2026-06-04T10:00:00Z", "done": True}
        return 200, json.dumps(head | self.say(request)).encode()

    def _handler(self) -> type[JsonHandler]:
        double = self

        class Handler(JsonHandler):
            def do_POST(self) -> None:
                self.reply(*double.answer(self.body()))

        return Handler
