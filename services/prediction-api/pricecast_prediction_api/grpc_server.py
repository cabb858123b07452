"""The methods over gRPC, with health and reflection.

Handlers return bytes that the snapshot serialised already, so the server neither builds nor encodes a message for
most calls. Deadlines and cancellations end a handler at its next wait: gRPC cancels its task.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from pricecast_core import logs
from pricecast_core.errors import SettingsError
from pricecast_core.metrics import API_REQUESTS, API_SECONDS
from pricecast_prediction_api.access.caller import ANYONE, Caller
from pricecast_prediction_api.access.gate import Gate
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.methods import PredictionMethods, Streaming, Unary
from pricecast_prediction_api.problems import ApiError

SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]
_OPTIONS = [
    ("grpc.so_reuseport", 0),  # a port in use is an error, not half of the requests lost
    ("grpc.max_receive_message_length", 1 << 20),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", 1000),  # of one connection
    ("grpc.keepalive_time_ms", 60_000),  # finds watchers that are gone
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),
]

log = logs.get(__name__)


class GrpcServer:
    """The gRPC server.

    Health and reflection are open to everyone: they tell what the protos do, and that the server is there.

    Args:
        methods: What it serves.
        gate: Who may call.
    """

    def __init__(self, methods: PredictionMethods, gate: Gate) -> None:
        self._server = grpc.aio.server(options=_OPTIONS)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE.full_name, _handlers(methods, gate)),)
        )
        names = (SERVICE.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self, host: str, port: int, credentials: grpc.ServerCredentials | None = None) -> int:
        """Starts to serve, with TLS where credentials are given, and returns the port.

        Raises:
            SettingsError: If the address can't be listened on.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if credentials is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise SettingsError(f"GRPC_PORT: can't listen on {address}; is it in use? ({error})") from error
        await self.set_serving(False)
        await self._server.start()
        return int(bound)

    async def set_serving(self, serving: bool) -> None:
        """Tells the health service whether requests can be answered."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", SERVICE.full_name):
            await self._health.set(name, status)

    async def stop(self, grace_seconds: float) -> None:
        """Stops taking requests, and waits so long for those under way."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


def _handlers(methods: PredictionMethods, gate: Gate) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for name, method in methods.by_name.items():
        request_class = getattr(pb, SERVICE.methods_by_name[name].input_type.name)
        if isinstance(method, Unary):
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                _unary(name, method, gate), request_deserializer=request_class.FromString
            )
        else:
            handlers[name] = grpc.unary_stream_rpc_method_handler(
                _streaming(name, method, gate), request_deserializer=request_class.FromString
            )
    return handlers


def _unary(name: str, method: Unary, gate: Gate) -> Callable[[Any, Any], Awaitable[bytes]]:
    call = method.call
    succeeded = API_REQUESTS.labels("grpc", name, "OK").inc
    observe = API_SECONDS.labels("grpc", name).observe

    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        started = time.perf_counter()
        try:
            caller = ANYONE if gate.is_free else await _enter(gate, name, context)
            wire = (await call(request, caller)).wire
        except Exception as error:
            await _abort(name, error, context)
            raise
        succeeded()
        observe(time.perf_counter() - started)
        return wire

    return handle


def _streaming(name: str, method: Streaming, gate: Gate) -> Callable[[Any, Any], AsyncIterator[bytes]]:
    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[bytes]:
        try:
            caller = ANYONE if gate.is_free else await _enter(gate, name, context)
            async for reply in method.call(request, caller):
                yield reply.wire
        except asyncio.CancelledError:  # the usual end: the caller has seen enough
            API_REQUESTS.labels("grpc", name, "CANCELLED").inc()
            raise
        except Exception as error:
            await _abort(name, error, context)
            raise

    return handle


async def _enter(gate: Gate, name: str, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
    metadata = context.invocation_metadata() or ()
    authorization = next((str(value) for key, value in metadata if key == "authorization"), "")
    return await gate.enter(authorization, _address(context.peer()), name)


def _address(peer: str) -> str:
    """Returns the address in `ipv4:10.0.0.7:51234` or `ipv6:%5B::1%5D:51234`, without the port."""
    return peer.partition(":")[2].rpartition(":")[0] or peer


async def _abort(name: str, error: Exception, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    if not isinstance(error, ApiError):
        log.error("crashed", method=name, exc_info=error)
        error = ApiError(grpc.StatusCode.INTERNAL, "the server failed; its log says why")
    API_REQUESTS.labels("grpc", name, error.code.name).inc()
    details = ("grpc-status-details-bin", error.status().SerializeToString())
    await context.abort(error.code, error.message, (details,))
