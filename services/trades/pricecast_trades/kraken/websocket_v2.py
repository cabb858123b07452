"""Kraken's WebSocket v2, whose trades carry their ids; a subscription begins with the last fifty."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator

import msgspec
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from pricecast_core import logs, metrics
from pricecast_core.errors import BadMessageError, PricecastError, SettingsError
from pricecast_core.messages import Trade
from pricecast_trades.kraken import wire
from pricecast_trades.kraken.feed import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    OPEN_SECONDS,
    PING_SECONDS,
    Event,
    Failed,
    Inbox,
    Update,
)
from pricecast_trades.source import Refused

URL = "wss://ws.kraken.com/v2"
_CLOSE_SECONDS = 3.0
_FULL_SECONDS = 0.2
log = logs.get(__name__)


class FeedV2:
    """One connection in one thread.

    Args:
        url: Where to connect.
        names: The pairs.
        silence_seconds: A connection without any message for so long is given up.
        stuck_seconds: The thread is stuck if it hasn't turned for so long.
    """

    def __init__(self, url: str, names: list[str], silence_seconds: float, stuck_seconds: float) -> None:
        self._url = url
        self._names = names
        self._known = frozenset(names)
        self._silence_seconds = silence_seconds
        self._stuck_seconds = stuck_seconds
        self._closing = threading.Event()
        self._inbox = Inbox()
        self._thread: threading.Thread | None = None
        self._connection: ClientConnection | None = None
        self._problem: str | None = "not connected yet"
        self._turned = time.monotonic()

    def open(self) -> None:
        """Starts to connect."""
        self._closing = threading.Event()
        self._inbox = Inbox()
        self._turned = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, args=(self._closing, self._inbox), name="kraken-v2", daemon=True
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
        self._thread = None
        self._problem = "closed"

    def take(self, timeout_seconds: float) -> Event | None:
        """Returns the next event, or None if none comes within the time."""
        return self._inbox.take(timeout_seconds)

    def problem(self) -> str | None:
        """Returns why trades don't come in now, or None."""
        return self._problem

    def stuck(self) -> str | None:
        """Returns why the feed doesn't even try any more, or None."""
        thread = self._thread
        if thread is None:
            return None
        if not thread.is_alive():
            return "kraken_websocket_url: the client's thread has ended"
        silent = time.monotonic() - self._turned
        return f"kraken_websocket_url: nothing was read for {silent:.0f} s" if silent > self._stuck_seconds else None

    def _run(self, closing: threading.Event, inbox: Inbox) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not closing.is_set():
            try:
                for event in self._events(closing):
                    pause = FIRST_PAUSE_SECONDS
                    while not closing.is_set() and not inbox.put(event, _FULL_SECONDS):
                        self._turned = time.monotonic()  # waiting for the service is not being stuck
                if closing.is_set():
                    return
                reason = "closed by Kraken"
            except TimeoutError as error:
                reason = str(error) or "no message from Kraken: connection given up"
            except (OSError, WebSocketException) as error:
                reason = f"{type(error).__name__}: {error}"
            except PricecastError as error:
                self._problem = str(error)
                while not closing.is_set() and not inbox.put(Failed(error), _FULL_SECONDS):
                    self._turned = time.monotonic()
                return
            if closing.is_set():
                return
            self._problem = f"kraken_websocket_url: {self._url}: {reason}"
            self._turned = time.monotonic()
            log.warning("connecting again", error=reason, url=self._url)
            metrics.TRADES_RECONNECTS.labels("kraken-v2").inc()
            closing.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads load
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _events(self, closing: threading.Event) -> Iterator[Event]:
        """Connects, subscribes and yields what comes, until the connection ends."""
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
            parameters = {"channel": "trade", "symbol": self._names, "snapshot": True}
            connection.send(json.dumps({"method": "subscribe", "params": parameters, "req_id": 1}))
            waiting = set(self._names)
            while True:
                data = connection.recv(timeout=self._silence_seconds, decode=False)
                self._turned = time.monotonic()
                try:
                    message = wire.v2_message.decode(data)
                except msgspec.MsgspecError as error:
                    yield Update("", [Refused(BadMessageError(f"not a message of v2: {error}"), self._url, -1, data)])
                    continue
                if message.channel == "trade":
                    yield from self._updates(message)
                elif message.method == "subscribe":
                    self._check(message)
                    waiting.discard(message.result.symbol if message.result is not None else "")
                    if not waiting:
                        self._problem = None
                elif message.channel == "status":
                    log.info("exchange status", data=[bytes(raw).decode("utf-8", "replace") for raw in message.data])

    def _updates(self, message: wire.V2Message) -> Iterator[Update]:
        by_pair: dict[str, list[Trade | Refused]] = {}
        for raw in message.data:
            pair, item = wire.v2_trade(raw, self._known, self._url)
            by_pair.setdefault(pair, []).append(item)
        for pair, items in by_pair.items():
            if message.type == "snapshot":
                items.sort(key=lambda item: (item.trade_id or 0) if isinstance(item, Trade) else 0)
            yield Update(pair, items)

    def _check(self, message: wire.V2Message) -> None:
        if message.success:
            return
        if "rate" in message.error.lower():
            raise TimeoutError(f"subscription refused: {message.error}")
        raise SettingsError(
            f"pairs: Kraken refuses to subscribe to {message.symbol or ', '.join(self._names)}: {message.error}"
        )
