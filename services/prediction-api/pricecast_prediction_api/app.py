"""The HTTP application: the gateway under /v1, its OpenAPI document, a web page, and two paths of the original API."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from pricecast_prediction_api.gateway import Gateway
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.grpc_server import SERVICE
from pricecast_prediction_api.http_rules import rules_of
from pricecast_prediction_api.latest import LatestPredictions
from pricecast_prediction_api.methods import PredictionMethods
from pricecast_prediction_api.openapi import openapi
from pricecast_prediction_api.problems import ApiError
from pricecast_prediction_api.snapshot import to_dict

_PAGE = Path(__file__).parent / "page"
_PAGE_POLICY = "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class App:
    """The ASGI application.

    Args:
        methods: What it serves.
        latest: Whose freshness `/health` tells.
    """

    def __init__(self, methods: PredictionMethods, latest: LatestPredictions) -> None:
        rules = rules_of(SERVICE)
        self._gateway = Gateway(methods, rules)
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
            ],
            exception_handlers={ApiError: _problem},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; what is under /v1 goes straight to the gateway."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            await self._gateway(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _get_page(self, _: Request) -> Response:
        return FileResponse(_PAGE / "index.html", headers={"content-security-policy": _PAGE_POLICY})

    async def _get_openapi(self, _: Request) -> Response:
        return Response(self._openapi, media_type="application/json")

    async def _get_health(self, _: Request) -> Response:
        fresh = self._latest.is_fresh()
        return JSONResponse({"status": "ok" if fresh else "unavailable"}, 200 if fresh else 503)

    async def _get_predict(self, request: Request) -> Response:
        """Answers as the original API did, with the fields of the proto under their own names."""
        asked = {name: request.query_params.get(name, "") for name in ("pair", "pipeline", "namespace")}
        reply = await self._methods.predict(pb.PredictRequest(**asked))
        message: Any = reply.message
        return JSONResponse(to_dict(message.prediction))


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.problem(), error.http_status, error.http_headers, "application/problem+json")
