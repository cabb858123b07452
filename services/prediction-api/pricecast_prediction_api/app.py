"""The HTTP application: the gateway under /v1, its OpenAPI document, a web page, and two paths of the original API.

The page, the document and `/health` are open to everyone: they hold no prediction. Where a token is asked for, the
page hands its visitor's to `/session`, which keeps it in a cookie that no script can read.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pricecast_prediction_api.access.gate import COOKIE, Gate
from pricecast_prediction_api.agents import PATH, Agents
from pricecast_prediction_api.gateway import CALL_SECONDS, Gateway, enter, send_problem
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.grpc_server import SERVICE
from pricecast_prediction_api.http_rules import rules_of
from pricecast_prediction_api.latest import LatestPredictions
from pricecast_prediction_api.methods import PredictionMethods
from pricecast_prediction_api.openapi import openapi
from pricecast_prediction_api.problems import ApiError, invalid
from pricecast_prediction_api.snapshot import to_dict

_PAGE = Path(__file__).parent / "page"
_PAGE_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
_HEADERS_OF_TLS = [(b"strict-transport-security", b"max-age=31536000")]
_LONGEST_SESSION_BYTES = 16_384


class App:
    """The ASGI application.

    Args:
        methods: What it serves.
        latest: Whose freshness `/health` tells.
        gate: Who may call.
        cors_origins: Origins whose pages may call.
        mcp: Whether agents may call at /mcp.
    """

    def __init__(
        self,
        methods: PredictionMethods,
        latest: LatestPredictions,
        gate: Gate,
        cors_origins: Sequence[str] = (),
        mcp: bool = False,
    ) -> None:
        rules = rules_of(SERVICE)
        self._gate = gate
        self._gateway = Gateway(methods, rules, gate)
        self._methods = methods
        self._latest = latest
        self._openapi = json.dumps(openapi(rules, metadata.version("pricecast-prediction-api"))).encode()
        self._pages = Starlette(
            routes=[
                Route("/", self._get_page),
                Mount("/page", StaticFiles(directory=_PAGE)),
                Route("/openapi.json", self._get_openapi),
                Route("/health", self._get_health),
                Route("/predict", self._get_predict),
                Route("/session", self._post_session, methods=["POST"]),
                Route("/session", self._delete_session, methods=["DELETE"]),
            ],
            exception_handlers={ApiError: _problem},
        )
        self.agents = Agents(self._route) if mcp else None
        self._answer: ASGIApp = self._route
        if cors_origins:
            self._answer = CORSMiddleware(
                self._route,
                allow_origins=cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type"],
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._pages(scope, receive, send)
            return
        added = _HEADERS + _HEADERS_OF_TLS if scope["scheme"] == "https" else _HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._answer(scope, receive, send_with_headers)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends what is under /v1 straight to the gateway."""
        if scope["path"].startswith("/v1/"):
            await self._gateway(scope, receive, send)
        elif self.agents is not None and scope["path"] == PATH:
            await self._serve_agent(self.agents, scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _serve_agent(self, agents: Agents, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            caller = await enter(self._gate, scope)
        except ApiError as error:
            await send_problem(send, error)
            return
        await agents.serve(caller, scope, receive, send)

    async def _get_page(self, _: Request) -> Response:
        return FileResponse(_PAGE / "index.html", headers={"content-security-policy": _PAGE_POLICY})

    async def _get_openapi(self, _: Request) -> Response:
        return Response(self._openapi, media_type="application/json")

    async def _get_health(self, _: Request) -> Response:
        fresh = self._latest.is_fresh()
        return JSONResponse({"status": "ok" if fresh else "unavailable"}, 200 if fresh else 503)

    async def _get_predict(self, request: Request) -> Response:
        """Answers as the original API did, with the fields of the proto under their own names."""
        caller, get = await enter(self._gate, request.scope), request.query_params.get
        reply = await self._methods.predict(
            pb.PredictRequest(pair=get("pair", ""), pipeline=get("pipeline", ""), namespace=get("namespace", "")),
            caller,
        )
        message: Any = reply.message
        return JSONResponse(to_dict(message.prediction))

    async def _post_session(self, request: Request) -> Response:
        """Keeps a token in a cookie, once it is known to be good."""
        body = bytearray()
        async with asyncio.timeout(CALL_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > _LONGEST_SESSION_BYTES:
                    raise invalid("body", f"is longer than {_LONGEST_SESSION_BYTES} bytes; send the token alone")
        try:
            token = msgspec.json.decode(bytes(body), type=dict[str, str])["token"]
        except (msgspec.DecodeError, KeyError, UnicodeDecodeError):
            raise invalid("body", 'is not {"token": "TOKEN"}') from None
        if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token):
            raise invalid("token", "holds characters that no token has; copy it once more")
        peer = request.client.host if request.client else ""
        await self._gate.enter(f"Bearer {token}", peer, "POST /session")
        answer = Response(status_code=204)
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https")
        return answer

    async def _delete_session(self, _: Request) -> Response:
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.problem(), error.http_status, error.http_headers, "application/problem+json")
