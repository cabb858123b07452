"""The methods over HTTP, at the URLs that the protos' annotations give.

The gateway is an ASGI application beside the gRPC server in the same event loop: it calls the same methods and sends
the same serialised predictions, as JSON. A stream becomes server-sent events. Errors are RFC 9457 problems.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import grpc
from google.protobuf.message import Message
from starlette.types import Message as AsgiMessage
from starlette.types import Receive, Scope, Send

from pricecast_core import logs
from pricecast_core.metrics import API_REQUESTS, API_SECONDS
from pricecast_prediction_api.access.caller import ANYONE, Caller
from pricecast_prediction_api.access.gate import ADMITTED, Gate, authorization_of
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.http_rules import Rule, build_request
from pricecast_prediction_api.methods import PredictionMethods, Streaming
from pricecast_prediction_api.problems import ApiError, invalid
from pricecast_prediction_api.snapshot import Reply

MAX_BODY_BYTES = 1 << 20
CALL_SECONDS = 10.0
"""Longest time that a call may take: HTTP callers give no deadline."""
KEEP_ALIVE_SECONDS = 15.0
"""A silent event stream sends a comment so often, so that proxies keep it open."""
FIRST_EVENT_SECONDS = 1.0
"""An event stream without an event is opened after so long."""
_MAX_CACHED_URL = 512

Headers = list[tuple[bytes, bytes]]

log = logs.get(__name__)


@dataclass(frozen=True)
class Call:
    """A request that a rule understood."""

    rule: Rule
    request: Message


class Gateway:
    """An ASGI application that serves the bindings of a service.

    Args:
        methods: What it calls.
        rules: The bindings.
        gate: Who may call.
    """

    def __init__(self, methods: PredictionMethods, rules: Sequence[Rule], gate: Gate) -> None:
        self._gate = gate
        self._methods = methods.by_name
        self._rules = rules
        self._metrics = {
            name: (API_REQUESTS.labels("http", name, "OK").inc, API_SECONDS.labels("http", name).observe)
            for name in methods.by_name
        }
        # The request of a URL is always the same, and methods never change it.
        self._parse_cached = lru_cache(maxsize=1024)(self._parse)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        name = "none"
        started = time.perf_counter()
        try:
            caller = ANYONE if self._gate.is_free else await enter(self._gate, scope)
            call = await self._call(scope, receive)
            name = call.rule.method.name
            method = self._methods[name]
            if isinstance(method, Streaming):
                await _send_events(method.call(call.request, caller), call.rule.response_body, receive, send)
            else:
                async with asyncio.timeout(CALL_SECONDS):
                    reply = await method.call(call.request, caller)
                field = call.rule.response_body
                body = await asyncio.to_thread(reply.json, field) if reply.is_large else reply.json(field)
                await _send(send, 200, b"application/json", body)
        except ApiError as error:
            await self._send_error(send, name, error)
        except TimeoutError:
            late = ApiError(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {CALL_SECONDS:g} s; try again later")
            await self._send_error(send, name, late)
        except Exception:
            log.exception("crashed", method=name)
            failed = ApiError(grpc.StatusCode.INTERNAL, "the server failed; its log says why")
            await self._send_error(send, name, failed)
        else:
            succeeded, observe = self._metrics[name]
            succeeded()
            if not isinstance(method, Streaming):
                observe(time.perf_counter() - started)

    async def _call(self, scope: Scope, receive: Receive) -> Call:
        verb: str = scope["method"]
        path = scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        query = scope["query_string"].decode("ascii", "replace")
        if verb in ("GET", "HEAD"):
            parse = self._parse_cached if len(path) + len(query) <= _MAX_CACHED_URL else self._parse
            return parse("GET", path, query)
        return self._parse(verb, path, query, await _read_body(receive))

    def _parse(self, verb: str, path: str, query: str, body: bytes = b"") -> Call:
        allowed = set()
        for rule in self._rules:
            match = rule.pattern.fullmatch(path)
            if match is None:
                continue
            if rule.verb != verb:
                allowed.add(rule.verb)
                continue
            request = getattr(pb, rule.method.input_type.name)()
            parameters = parse_qsl(query, keep_blank_values=True)
            build_request(rule, request, match.groups(), parameters, _decode(body) if rule.body else None)
            return Call(rule, request)
        if allowed:
            verbs = sorted(allowed)
            raise ApiError(
                grpc.StatusCode.UNIMPLEMENTED, f"{verb} is not allowed here; use {', '.join(verbs)}", allow=verbs
            )
        raise ApiError(grpc.StatusCode.NOT_FOUND, f"there is nothing at {path}; /openapi.json lists what is served")

    async def _send_error(self, send: Send, name: str, error: ApiError) -> None:
        API_REQUESTS.labels("http", name, error.code.name).inc()
        await send_problem(send, error)


async def enter(gate: Gate, scope: Scope) -> Caller:
    """Returns who calls.

    Raises:
        ApiError: If it may not.
    """
    admitted: Caller | None = scope.get(ADMITTED)
    if admitted is not None:
        return admitted
    header = cookie = ""
    for name, value in scope["headers"]:
        if name == b"authorization":
            header = value.decode("latin-1")
        elif name == b"cookie":
            cookie = value.decode("latin-1")
    peer = scope.get("client")
    return await gate.enter(
        authorization_of(header, cookie), peer[0] if peer else "", f"{scope['method']} {scope['path']}"
    )


async def send_problem(send: Send, error: ApiError) -> None:
    """Sends an error as a problem."""
    headers = [(name.encode(), value.encode()) for name, value in error.http_headers.items()]
    await _send(send, error.http_status, b"application/problem+json", json.dumps(error.problem()).encode(), headers)


async def _send(
    send: Send, status: int, content_type: bytes, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    all_headers: Headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-cache"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise invalid("body", f"is longer than {MAX_BODY_BYTES} bytes")
        if not message.get("more_body", False):
            return body


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise invalid("body", f"is not JSON: {error}") from error


async def _send_events(replies: AsyncIterator[Reply], field: str, receive: Receive, send: Send) -> None:
    """Sends each reply as a server-sent event, until the stream ends or the caller is gone."""
    gone = asyncio.ensure_future(_wait_until_gone(receive))
    upcoming: asyncio.Future[Reply] | None = None
    started = False
    try:
        while not gone.done():
            upcoming = upcoming or asyncio.ensure_future(_next(replies))
            patience = KEEP_ALIVE_SECONDS if started else FIRST_EVENT_SECONDS
            waits: set[asyncio.Future[Any]] = {upcoming, gone}
            await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if upcoming.done():
                data = b"event: prediction\ndata: " + upcoming.result().json(field) + b"\n\n"
                upcoming = None
            else:
                data = b": keep-alive\n\n"
            if not started:  # only now: an error of the request still gets a status of its own
                started = True
                await send(_event_stream_start())
            await send({"type": "http.response.body", "body": data, "more_body": True})
    except StopAsyncIteration:
        pass
    except ApiError as error:
        if not started:
            raise
        data = b"event: error\ndata: " + json.dumps(error.problem()).encode() + b"\n\n"
        await send({"type": "http.response.body", "body": data, "more_body": True})
    finally:
        gone.cancel()
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
        await replies.aclose()  # type: ignore[attr-defined]
    await send({"type": "http.response.body", "body": b""})


def _event_stream_start() -> AsgiMessage:
    headers: Headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def _next(replies: AsyncIterator[Reply]) -> Reply:
    return await anext(replies)


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
