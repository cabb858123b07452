"""The double: REST over HTTPS, the online store's MySQL, the query service's Arrow Flight, and OnlineFS on Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import sqlglot
from mysql_mimic import MysqlServer, Session
from mysql_mimic.auth import IdentityProvider, NativePasswordAuthPlugin, User
from pyarrow import flight

from tests.doubles.hopsworks.certificates import Authority
from tests.doubles.hopsworks.rest import handler_of
from tests.doubles.hopsworks.storage import Storage
from tests.doubles.http import HttpDouble


class HopsworksDouble:
    """A project called `pricecast`. It answers on an address of its own, since the query service's port is fixed.

    Args:
        brokers: A real broker, for the project's topics.

    Attributes:
        api_key: The key that it takes.
        requests: What the REST API was asked.
        unknown: What it was asked and has no answer for.
        refusals: Answers that it gives to the next requests, whatever they are.
        schedules: Schedules of jobs, by the job's name.
    """

    version = "5.2.0"

    def __init__(self, brokers: str, *, api_key: str = "key.0123456789") -> None:
        self.api_key = api_key
        self.host = "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))  # tests seed `random`
        self.requests: list[str] = []
        self.unknown: list[str] = []
        self.refusals: list[tuple[int, Any]] = []
        self.schedules: dict[str, Any] = {}
        self.authority = Authority()
        self.client = self.authority.sign("meb10000")
        self.storage = Storage(brokers)
        self._secret = os.urandom(16)
        self._closing = contextlib.ExitStack()
        folder = Path(self._closing.enter_context(tempfile.TemporaryDirectory()))
        own = self.authority.sign("hopsworks", hosts=("flyingduck.service.hopsworks.test",), addresses=(self.host,))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*own.written(folder, "server"))
        self._http = HttpDouble(handler_of(self), host=self.host, tls=context)
        self.port = self._http.port
        self._flight = _QueryService(self, f"grpc+tls://{self.host}:5005", own.certificate, own.key)
        self._mysql = _OnlineStore(self.host, self.storage)
        self.mysql_port = self._mysql.port

    def __enter__(self) -> Self:
        self._closing.enter_context(self._http)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()
        self._flight.shutdown()
        self._mysql.close()
        self.storage.close()

    def materialise(self) -> None:
        """Runs every materialization job."""
        for group in list(self.storage.groups.values()):
            self.storage.materialise(group)

    def signature(self, payload: str) -> str:
        """Returns what the backend signs a query with, for the query service."""
        return hashlib.sha256(self._secret + payload.encode()).hexdigest()


class _Received(flight.ServerMiddleware):  # type: ignore[misc]
    def __init__(self, signature: str) -> None:
        self.signature = signature


class _Headers(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    def start_call(self, info: Any, headers: dict[str, list[str]]) -> Any:
        return _Received(headers.get("hopsworks-signature", [""])[0])


class _QueryService(flight.FlightServerBase):  # type: ignore[misc]
    def __init__(self, double: HopsworksDouble, location: str, certificate: str, key: str) -> None:
        self._double = double
        super().__init__(
            location,
            tls_certificates=[(certificate, key)],
            verify_client=True,
            root_certificates=double.authority.pem,
            middleware={"headers": _Headers()},
        )

    def list_actions(self, context: Any) -> list[Any]:
        return [("healthcheck", ""), ("get-version", "")]

    def do_action(self, context: Any, action: Any) -> list[Any]:
        return [flight.Result(self._double.version.encode())] if action.type == "get-version" else []

    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        ticket = flight.FlightEndpoint(descriptor.command, [])
        return flight.FlightInfo(pa.schema([]), descriptor, [ticket], -1, -1)

    def do_get(self, context: Any, ticket: Any) -> Any:
        payload = ticket.ticket.decode()
        if context.get_middleware("headers").signature != self._double.signature(payload):
            raise flight.FlightUnauthenticatedError("the query is not signed")
        query = json.loads(payload)
        group = self._double.storage.groups[query["group"]]
        if group.offline is None:
            raise flight.FlightServerError(f"No hudi properties found for {group.table}.")
        return flight.RecordBatchStream(self._double.storage.arrow(group, query["columns"], query["where"]))


class _Users(IdentityProvider):
    def get_plugins(self) -> list[Any]:
        return [NativePasswordAuthPlugin()]

    async def get_user(self, username: str) -> User | None:
        if username != "pricecast_meb10000":
            return None
        return User(
            name=username,
            auth_string=NativePasswordAuthPlugin.create_auth_string("pa55"),
            auth_plugin=NativePasswordAuthPlugin.name,
        )


class _OnlineStore:
    """RonDB's MySQL server."""

    def __init__(self, host: str, storage: Storage) -> None:
        class Queries(Session):
            async def query(self, expression: Any, sql: str, attrs: dict[str, str]) -> Any:
                return storage.query(sqlglot.transpile(sql, read="mysql", write="sqlite")[0])

        self._loop = asyncio.new_event_loop()
        self._server = MysqlServer(session_factory=Queries, identity_provider=_Users())
        threading.Thread(target=self._loop.run_forever, name="online-store", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._server.start_server(host=host, port=0), self._loop).result(10)
        listening: Any = self._server._server
        self.port = int(listening.sockets[0].getsockname()[1])

    def close(self) -> None:
        self._server.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
