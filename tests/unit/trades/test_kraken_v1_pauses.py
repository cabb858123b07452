"""How soon Kraken's v1 is connected to again."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pricecast_trades.exchanges.kraken.websocket_v1 import _Factory
from pricecast_trades.feed import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS


class Connector:
    """Connects at once; the connection ends after some seconds."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.factory: Any = _Factory("ws://127.0.0.1:1")  # type: ignore[no-untyped-call]
        self.factory.clock, self.factory.jitter = self.clock, 0

    def connect(self) -> None:
        self.factory.buildProtocol(None).onConnect(None)

    def pause_after(self, seconds: float) -> float:
        """Returns how long it waits after a connection that has lasted for so long, and connects again."""
        self.clock.advance(seconds)
        ended = self.clock.seconds()
        self.factory.clientConnectionLost(self, Failure(ConnectionDone()))
        [call] = self.clock.getDelayedCalls()
        pause: float = call.getTime() - ended
        self.clock.advance(pause)
        return pause


def test_an_exchange_that_accepts_and_closes_at_once_is_left_alone_for_longer_and_longer() -> None:
    connector = Connector()
    connector.connect()
    pauses = [connector.pause_after(0.05) for _ in range(10)]
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-3:] == [LONGEST_PAUSE_SECONDS] * 3
    assert connector.pause_after(LONGEST_PAUSE_SECONDS + 1) == FIRST_PAUSE_SECONDS
    assert connector.pause_after(0.05) > FIRST_PAUSE_SECONDS
