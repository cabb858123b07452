"""Keeps a WebSocket to an exchange, in a thread of its own; what is said over it is the exchange's `Session`."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from websockets.exceptions import InvalidURI, WebSocketException
from websockets.sync.client import ClientConnection, connect

from pricecast_core import logs, metrics
from pricecast_core.errors import PricecastError
from pricecast_trades.errors import PassingError
from pricecast_trades.feed import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    OPEN_SECONDS,
    PING_SECONDS,
    Beat,
    Event,
    Failed,
    Inbox,
    ThreadFeed,
)

_CLOSE_SECONDS = 3.0
_FULL_SECONDS = 0.2
_TICK_SECONDS = 0.5
_BEAT_SECONDS = 0.25
_WAITED_SECONDS = 0.0005
log = logs.get(__name__)


class Session(Protocol):
    """What is said over one connection. Pure: it neither reads a clock nor a socket.

    `receive` and `send` raise `PassingError` where the connection should be made anew, after a pause, and
    `SettingsError` where that is of no use.
    """

    def send(self, now: float) -> Iterable[str]:
        """Returns what to send now; called when the connection is open and then about twice a second.

        Args:
            now: Seconds of a clock that only moves forward.
        """

    def receive(self, data: bytes, now: float, now_ms: int) -> Iterable[Event]:
        """Returns what a message says. One that can't be read is an `Update` with what was refused.

        Args:
            data: The message.
            now: Seconds of a clock that only moves forward.
            now_ms: This machine's time of the day.
        """

    def beat(self, now: float, now_ms: int) -> Beat:
        """Returns what is known if all that the exchange has sent has been received."""

    def problem(self) -> str | None:
        """Returns why not all trades come in over this connection, or None."""


class WebSocketFeed(ThreadFeed[Session]):
    """One connection at a time, made anew for as long as it takes.

    Args:
        url: Where to connect.
        session: Makes a new session.
        setting: The setting of the URL, for messages.
        source: What metrics call it.
        silence_seconds: A connection without any message for so long is given up.
        stuck_seconds: The thread is stuck if it hasn't turned for so long.
    """

    def __init__(
        self,
        url: str,
        session: Callable[[], Session],
        *,
        setting: str,
        source: str,
        silence_seconds: float,
        stuck_seconds: float,
    ) -> None:
        super().__init__(setting, url, stuck_seconds)
        self._new_session = session
        self._silence_seconds = silence_seconds
        self._source = source
        self._closing = threading.Event()
        self._connection: ClientConnection | None = None

    def open(self) -> None:
        """Starts to connect."""
        self._closing = threading.Event()
        self._inbox = Inbox()
        self._turned = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, args=(self._closing, self._inbox), name=self._source, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Ends the connection."""
        self._closing.set()
        connection, thread = self._connection, self._thread
        if connection is not None:
            connection.close()
        if thread is not None:
            thread.join(_CLOSE_SECONDS)
        self._thread = self._session = None
        self._problem = "closed"

    def _run(self, closing: threading.Event, inbox: Inbox) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not closing.is_set():
            opened = time.monotonic()
            try:
                for event in self._events(closing):
                    while not closing.is_set() and not inbox.put(event, _FULL_SECONDS):
                        self._turned = time.monotonic()  # waiting for the service is not being stuck
                reason, wait = "closed by the exchange", 0.0
            except TimeoutError as error:
                reason, wait = str(error) or "no message from the exchange: connection given up", 0.0
            except PassingError as error:
                reason, wait = str(error), error.after_seconds
            except InvalidURI as error:  # a setting's pattern holds most of these off
                reason, wait = f"{error}; write ws://host or wss://host", 0.0
            except (OSError, WebSocketException) as error:
                reason, wait = f"{type(error).__name__}: {error}", 0.0
            except PricecastError as error:
                self._problem, self._session = str(error), None
                while not closing.is_set() and not inbox.put(Failed(error), _FULL_SECONDS):
                    self._turned = time.monotonic()
                return
            if closing.is_set():
                return
            self._problem, self._session = f"{self._setting}: {self._url}: {reason}", None
            self._turned = time.monotonic()
            if self._turned - opened > LONGEST_PAUSE_SECONDS:  # it had worked
                pause = FIRST_PAUSE_SECONDS
            log.warning("connecting again", error=reason, url=self._url)
            metrics.TRADES_RECONNECTS.labels(self._source).inc()
            self._pause(closing, max(wait, pause * random.uniform(0.5, 1.0)))  # noqa: S311 - only spreads load
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _pause(self, closing: threading.Event, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not closing.is_set() and (left := end - time.monotonic()) > 0:
            self._turned = time.monotonic()
            closing.wait(min(left, 1.0))

    def _events(self, closing: threading.Event) -> Iterator[Event]:
        """Connects, and yields what comes until the connection ends."""
        with connect(
            self._url,
            open_timeout=OPEN_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            close_timeout=1.0,
        ) as connection:
            self._connection = connection
            if closing.is_set():
                return
            session = self._session = self._new_session()
            ticked = beaten = 0.0
            heard = time.monotonic()
            while not closing.is_set():
                now = time.monotonic()
                if now - ticked >= _TICK_SECONDS:
                    ticked = now
                    for message in session.send(now):
                        connection.send(message)
                try:
                    data = connection.recv(timeout=min(_TICK_SECONDS, self._silence_seconds), decode=False)
                except TimeoutError:
                    self._turned = time.monotonic()
                    if self._turned - heard > self._silence_seconds:
                        raise TimeoutError(f"no message for {self._silence_seconds:.0f} s: given up") from None
                    continue
                self._turned = heard = time.monotonic()
                now_ms = time.time_ns() // 1_000_000
                yield from session.receive(data, heard, now_ms)
                # What had to be waited for is fresh, and nothing older is on its way to us.
                if heard - now > _WAITED_SECONDS and heard - beaten >= _BEAT_SECONDS:
                    beaten = heard
                    yield session.beat(heard, now_ms)
