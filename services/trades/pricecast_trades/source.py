"""What a source of trades promises: an exchange (`sources.exchange`), files, a simulated market."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pricecast_core.errors import BadMessageError
from pricecast_core.messages import Candle, Clock, Trade
from pricecast_trades.covered import Covered

BATCH = 10_000
"""Most items in a batch: large enough to make the cost of a transaction small, small enough to fit into one."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something the source gave that can't be used.

    Attributes:
        error: Why.
        origin: File or address that it came from.
        position: Its line or id there, or -1.
        value: What came, whole.
    """

    error: BadMessageError
    origin: str
    position: int
    value: bytes


RefusedLine = tuple[str, int, bytes]
"""Origin, position and value of something refused."""
Item = Trade | Clock | Candle | Refused


class Written(Protocol):
    """What the topics already hold: where to resume."""

    def last_trades(self) -> dict[str, list[Trade]]:
        """Returns the newest trade of each pair, after the others of the same millisecond, by pair."""

    def last_candles(self) -> dict[str, Candle]:
        """Returns the newest closed candle, by pair."""

    def covered(self) -> dict[str, Covered]:
        """Returns which times the closed candles hold trades of, by pair. Reads all of them."""

    def refused(self) -> frozenset[RefusedLine]:
        """Returns what was refused last, more than one batch can hold."""


class Source(Protocol):
    """Gives a market's trades in the order in which the exchange made them, from where the topics end.

    `ready` and `alive` are called from the health server's thread at any time, `batches` by the service's thread.
    """

    def batches(self, written: Written) -> Iterator[Sequence[Item]]:
        """Yields what comes after `written`, in batches of at most `BATCH` items.

        A batch is durable when the next one is asked for: a source that is ahead waits. Within a pair the items are
        in exchange order, none missing and none twice. It ends when a finite source ends or the process is to stop.
        It may be closed at any time and asked again with what is written by then.

        Raises:
            SettingsError: If the settings name something that can't be read.
            SourceError: If the source can't be used any more; a restart may help.
        """

    def ready(self) -> str | None:
        """Returns why trades don't flow now, or None."""

    def alive(self) -> str | None:
        """Returns why the process should be restarted, or None."""
