"""What an exchange is to the trades service: how its past is read, and how what happens now comes in.

An exchange is a folder of `pricecast_trades.exchanges` with a function `connect`, and an entry in
`pricecast_core.settings.exchanges`, which has its settings and says whom it talks to. What exchanges have in common is
done once: `rest` asks patiently, `websocket` keeps a connection, and `sources.exchange` joins the past and the present
without a gap or a duplicate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pricecast_core.messages import Trade
from pricecast_trades.feed import Feed
from pricecast_trades.rest import RestClient
from pricecast_trades.seam import Seam
from pricecast_trades.source import Refused


@dataclass(frozen=True, slots=True)
class Page:
    """Trades of one answer of the REST API.

    Attributes:
        items: In exchange order; they may repeat what is known.
        cursor: Where the next page begins, in the exchange's own terms; never 0.
        full: True if there may be more.
    """

    items: Sequence[Trade | Refused]
    cursor: int
    full: bool


class Exchange(Protocol):
    """One exchange, for the pairs of a pipeline, which it is told in the common spelling.

    Attributes:
        rest: What its REST API is read with.
        consecutive: True if it numbers the trades of a pair one by one, so that a number that leaps is a gap. If
            False, its numbers only rise; trades without a number are told apart by their time, price and volume.
    """

    rest: RestClient
    consecutive: bool

    def page(self, pair: str, seam: Seam, cursor: int) -> Page:
        """Returns a page of the trades that come after what is known of a pair, oldest first.

        Args:
            pair: The pair.
            seam: The end of what is known.
            cursor: That of the page before; 0 for the first one.

        Raises:
            SettingsError: If the exchange doesn't know the pair and never has.
            StoppedError: If the process is to stop.
        """

    def feed(self) -> Feed:
        """Returns its live stream, not open yet.

        Raises:
            SettingsError: If the settings ask for one that can't be had.
        """

    def knows(self, pair: str) -> None:
        """Says that the exchange has given trades of the pair before: that it doesn't know it now passes."""
