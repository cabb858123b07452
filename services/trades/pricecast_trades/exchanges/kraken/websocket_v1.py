"""Kraken's WebSocket v1 by kraken-wsclient-py: no trade ids, no snapshot, and a Twisted reactor in its own thread.

The library connects again and subscribes again by itself. What it leaves to its user is done here: any address and
not only `wss://ws.kraken.com`, retries without end, pings, a watchdog for silence, a bounded way out of the reactor's
thread (a full queue gives up the connection; the gap is read by REST later). A process has one reactor, which can't
be started twice: it is started with the first feed and runs until the process ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import connectWS
from kraken_wsclient_py.kraken_wsclient_py import KrakenClientFactory, KrakenClientProtocol, WssClient
from twisted.internet import reactor as _reactor
from twisted.internet import ssl, task
from twisted.internet.protocol import connectionDone

from pricecast_core import logs, metrics
from pricecast_core.errors import PricecastError, SourceError
from pricecast_core.values import kraken_v1_name
from pricecast_trades.exchanges.kraken.faults import Faults
from pricecast_trades.exchanges.kraken.session_v1 import SessionV1
from pricecast_trades.feed import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    OPEN_SECONDS,
    PING_SECONDS,
    Event,
    Failed,
    Inbox,
    ThreadFeed,
)

_TICK_SECONDS = 1.0
_BEAT_SECONDS = 0.25
_ENDLESS = 1_000_000_000
reactor: Any = _reactor  # which one it is depends on the platform; its declared type fits none
log = logs.get(__name__)


class _Protocol(KrakenClientProtocol):
    """One connection of the library's, not silent about its end, nor about what it can't read."""

    def onOpen(self) -> None:  # noqa: N802 - autobahn's name
        """Called when the connection is open; the library subscribes just before."""
        super().onOpen()  # type: ignore[no-untyped-call]
        self.factory.opened()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803 - autobahn's names
        """Called with each message; the library would drop one that is no JSON."""
        self.factory.callback(payload)

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted's name
        """Called when the connection ends; unlike the factory, it is told of errors of TLS."""
        super().connectionLost(reason)
        self.factory.failed(reason.getErrorMessage())


class _Factory(KrakenClientFactory):
    """The library's connections, not silent about failing, and with pauses that grow until one has lasted."""

    opened: Callable[[], None]
    failed: Callable[[str], None]
    initialDelay: Any = FIRST_PAUSE_SECONDS  # noqa: N815 - Twisted's name
    delay: Any = FIRST_PAUSE_SECONDS
    maxDelay: Any = LONGEST_PAUSE_SECONDS  # noqa: N815 - Twisted's name
    maxRetries: Any = _ENDLESS  # noqa: N815 - Twisted's name
    noisy = False
    clock: Any = reactor
    _made: float

    def buildProtocol(self, addr: Any) -> _Protocol:  # noqa: N802 - Twisted's name
        """Called when a connection is made."""
        self._made = self.clock.seconds()
        protocol: _Protocol = _Protocol(self, payload=self.payload)  # type: ignore[no-untyped-call]
        return protocol

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:  # noqa: N802 - Twisted's name
        """Called when none is made."""
        self.failed(reason.getErrorMessage())
        super().clientConnectionFailed(connector, reason)  # type: ignore[no-untyped-call]

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:  # noqa: N802 - Twisted's name
        """Called when a connection has ended."""
        if self.clock.seconds() - self._made > LONGEST_PAUSE_SECONDS:  # it had worked
            self.delay, self.retries = self.initialDelay, 0
        super().clientConnectionLost(connector, reason)  # type: ignore[no-untyped-call]

    def resetDelay(self) -> None:  # noqa: N802 - Twisted's name
        """Called by the library as soon as it is connected, which a server that closes at once lets it be for ever."""


class _Client(WssClient):
    """The library's client, able to connect to any address."""

    def __init__(self, url: str, opened: Callable[[], None], failed: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.STREAM_URL = url
        self._opened = opened
        self._failed = failed

    def add_connection(self, id_: str, url: str) -> None:
        """Connects, on the reactor's thread."""
        made: Any = self.factories[id_]
        factory: Any = _Factory(url, payload=made.payload)  # type: ignore[no-untyped-call]
        factory.callback = made.callback
        factory.opened, factory.failed = self._opened, self._failed
        factory.setProtocolOptions(
            autoPingInterval=PING_SECONDS, autoPingTimeout=PING_SECONDS, openHandshakeTimeout=OPEN_SECONDS
        )
        self.factories[id_] = factory
        address = urlsplit(url)
        context = ssl.optionsForClientTLS(hostname=address.hostname or "") if address.scheme == "wss" else None
        self._conns[id_] = connectWS(factory, context)

    def close(self) -> None:
        """Ends the connection for good, on the reactor's thread."""
        for factory in self.factories.values():
            factory.stopTrying()  # a retry that waits would connect after all
        super().close()  # type: ignore[no-untyped-call]
        self.abort()

    def send(self, text: str) -> None:
        """Sends a message, on the reactor's thread."""
        for factory in self.factories.values():
            if factory.protocol_instance is not None:
                factory.protocol_instance.sendMessage(text.encode(), isBinary=False)

    def abort(self) -> None:
        """Gives up the connection, on the reactor's thread; the library then makes a new one."""
        for factory in self.factories.values():
            protocol = factory.protocol_instance
            if protocol is not None and protocol.transport is not None:
                protocol.transport.abortConnection()


class FeedV1(ThreadFeed[SessionV1]):
    """One connection for all pairs.

    Args:
        url: Where to connect.
        names: The pairs.
        faults: Judges refusals.
        silence_seconds: A connection without any message for so long is given up.
        stuck_seconds: The reactor is stuck if it hasn't turned for so long.
    """

    def __init__(
        self, url: str, names: Sequence[str], faults: Faults, silence_seconds: float, stuck_seconds: float
    ) -> None:
        super().__init__("kraken_websocket_url", url, stuck_seconds)
        self._names = names
        self._faults = faults
        self._silence_seconds = silence_seconds
        self._client: _Client | None = None
        self._heard = time.monotonic()
        self._beaten = 0.0
        self._connections = 0

    def open(self) -> None:
        """Starts to connect."""
        self._inbox = Inbox()
        if self._thread is None:
            self._turned = time.monotonic()
            self._thread = threading.Thread(target=self._react, name="kraken-v1", daemon=True)
            self._thread.start()
        reactor.callFromThread(self._connect)

    def close(self) -> None:
        """Ends the connection."""
        reactor.callFromThread(self._disconnect)

    # What follows runs on the reactor's thread.

    def _react(self) -> None:
        task.LoopingCall(self._tick).start(_TICK_SECONDS)
        try:
            reactor.run(installSignalHandlers=False)
        finally:  # a reactor that ended can't be started again: the process has to
            self._inbox.put(Failed(SourceError("kraken_websocket: the v1 client has ended; restart the process")))

    def _connect(self) -> None:
        self._disconnect()
        self._heard = time.monotonic()
        self._connections = 0
        client: Any = _Client(self._url, self._on_open, self._on_failure)
        client.subscribe_public({"name": "trade"}, self._on_message, pair=list(map(kraken_v1_name, self._names)))
        self._client = client

    def _disconnect(self) -> None:
        client, self._client, self._session = self._client, None, None
        if client is not None:
            client.close()
        self._problem = "closed"

    def _tick(self) -> None:
        self._turned = time.monotonic()
        client, session = self._client, self._session
        if client is None:
            return
        if self._turned - self._heard > self._silence_seconds:
            self._heard = self._turned
            self._give_up(client, f"no message from Kraken for {self._silence_seconds:.0f} s")
        elif session is not None:
            for text in session.send(self._turned):
                client.send(text)

    def _give_up(self, client: _Client, reason: str) -> None:
        log.warning("connecting again", error=reason, url=self._url)
        self._on_failure(reason)
        client.abort()

    def _on_open(self) -> None:
        if self._client is None:
            return
        self._connections += 1
        if self._connections > 1:
            metrics.TRADES_RECONNECTS.labels("kraken-v1").inc()
        self._session = SessionV1(self._url, self._names, self._faults)
        for _ in self._session.send(time.monotonic()):
            pass  # the library has just asked for all of them

    def _on_failure(self, reason: str) -> None:
        if self._client is not None:
            self._problem, self._session = f"{self._setting}: {self._url}: {reason}", None

    def _on_message(self, message: Any) -> None:
        client, session = self._client, self._session
        if client is None or session is None or not isinstance(message, bytes):
            return
        now = self._heard = time.monotonic()
        now_ms = time.time_ns() // 1_000_000
        events: list[Event]
        try:
            events = list(session.receive(message, now, now_ms))
        except PricecastError as error:
            self._problem, self._session = str(error), None
            events = [Failed(error)]
        if now - self._beaten >= _BEAT_SECONDS:
            self._beaten = now
            events.append(session.beat(now, now_ms))
        for event in events:
            if not self._inbox.put(event):
                self._give_up(client, "trades come in faster than they can be written")
                return
