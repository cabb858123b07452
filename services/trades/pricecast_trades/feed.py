"""A live stream of trades: the events that it gives, through a queue that can't grow for ever."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from pricecast_core.errors import PricecastError
from pricecast_core.messages import Trade
from pricecast_trades.source import Refused

OPEN_SECONDS = 15.0
PING_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
_INBOX_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class Joined:
    """A subscription begins, without saying what came before it: what is missing has to be read elsewhere."""

    pair: str


@dataclass(frozen=True, slots=True)
class Update:
    """Trades of a pair (empty where it couldn't be told), in exchange order.

    Attributes:
        received_ms: When they came in, by this machine's clock; None for trades that were old by then.
    """

    pair: str
    items: list[Trade | Refused]
    received_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """The exchange has been heard, and all trades that it had told by then have been given on.

    Attributes:
        received_ms: When, by this machine's clock.
        sent_ms: When, by the exchange's clock, where it says.
        pairs: The pairs whose streams are whole up to here.
        last_ids: Number of the newest trade by pair, where the exchange says.
    """

    received_ms: int
    sent_ms: int | None = None
    pairs: frozenset[str] = frozenset()
    last_ids: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The feed can't go on."""

    error: PricecastError


Event = Joined | Update | Beat | Failed


class Feed(Protocol):
    """A live stream of trades that connects again by itself for as long as it takes."""

    def open(self) -> None:
        """Starts to connect. May be called again after `close`."""

    def close(self) -> None:
        """Ends the connection; events not taken are dropped."""

    def take(self, timeout_seconds: float) -> Event | None:
        """Returns the next event, or None if none comes within the time."""

    def problem(self) -> str | None:
        """Returns why trades don't come in now, or None."""

    def stuck(self) -> str | None:
        """Returns why the feed doesn't even try any more, or None."""


class Inbox:
    """A bounded queue of events between a feed's thread and the service's."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Event] = queue.Queue(_INBOX_EVENTS)

    def put(self, event: Event, timeout_seconds: float = 0.0) -> bool:
        """Adds an event and returns True, or returns False if the queue stays full for so long."""
        try:
            self._queue.put(event, timeout_seconds > 0, timeout_seconds)
        except queue.Full:
            return False
        return True

    def take(self, timeout_seconds: float) -> Event | None:
        """Returns the next event, or None if none comes within the time."""
        try:
            return self._queue.get(timeout=timeout_seconds) if timeout_seconds > 0 else self._queue.get_nowait()
        except queue.Empty:
            return None


class Spoken(Protocol):
    """What is said over one connection, as far as health asks."""

    def problem(self) -> str | None:
        """Returns why not all trades come in over this connection, or None."""


S = TypeVar("S", bound=Spoken)


class ThreadFeed(Generic[S]):
    """What feeds have in common whose client has a thread of its own: events wait in an inbox, and it says how it is.

    Args:
        setting: The setting of the URL, for messages.
        url: Where to connect.
        stuck_seconds: The thread is stuck if it hasn't turned for so long.
    """

    def __init__(self, setting: str, url: str, stuck_seconds: float) -> None:
        self._setting = setting
        self._url = url
        self._stuck_seconds = stuck_seconds
        self._inbox = Inbox()
        self._thread: threading.Thread | None = None
        self._session: S | None = None
        self._problem: str | None = "not connected yet"
        self._turned = time.monotonic()

    def take(self, timeout_seconds: float) -> Event | None:
        """Returns the next event, or None if none comes within the time."""
        return self._inbox.take(timeout_seconds)

    def problem(self) -> str | None:
        """Returns why trades don't come in now, or None."""
        session = self._session
        if session is None:
            return self._problem
        problem = session.problem()
        return None if problem is None else f"{self._setting}: {self._url}: {problem}"

    def stuck(self) -> str | None:
        """Returns why the feed doesn't even try any more, or None."""
        thread = self._thread
        if thread is None:
            return None
        if not thread.is_alive():
            return f"{self._setting}: the client's thread has ended"
        silent = time.monotonic() - self._turned
        return f"{self._setting}: the client is stuck for {silent:.0f} s" if silent > self._stuck_seconds else None
