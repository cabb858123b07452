"""One small HTTP question to a service's health port, without a client library or a thread."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a health port said.

    Attributes:
        ok: True for 200.
        problem: What is wrong, in words; empty if nothing is.
        info: Facts that the service tells about itself.
    """

    ok: bool
    problem: str = ""
    info: dict[str, Any] = field(default_factory=dict)


async def ask(port: int, path: str, timeout_seconds: float) -> Answer:
    """Asks `/healthz` or `/readyz` on a loopback port. Never raises: no answer is an answer."""
    try:
        status, body = await asyncio.wait_for(_get(port, path), timeout_seconds)
        report = json.loads(body)
        problems = report.get("problems") or {}
        problem = "; ".join(f"{name}: {text}" for name, text in problems.items())
        return Answer(status == 200, problem, report.get("info") or {})
    except TimeoutError:
        return Answer(False, f"no answer within {timeout_seconds:g} s")
    except (OSError, ValueError, IndexError, AttributeError) as error:
        return Answer(False, f"no answer: {error}")


async def _get(port: int, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        data = bytearray()
        while chunk := await reader.read(65_536):
            data += chunk
            if len(data) > _MOST_BYTES:
                raise ValueError("answer is too long")
    finally:
        writer.close()
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body
