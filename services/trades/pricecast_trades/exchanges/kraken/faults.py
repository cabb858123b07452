"""What Kraken's errors mean, on REST and on both versions of the WebSocket.

Kraken answers with texts: `EQuery:Unknown asset pair` on REST, `Currency pair not supported XBT/FOO` on WebSockets,
`EService:Unavailable`, `EGeneral:Internal error`, `EAPI:Rate limit exceeded`. Only one kind can't pass by itself: a
pair that Kraken doesn't have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from pricecast_core import logs
from pricecast_core.errors import SettingsError
from pricecast_trades.errors import PassingError
from pricecast_trades.known_pairs import KnownPairs

_NO_SUCH_PAIR = re.compile(
    r"(unknown|invalid) asset pair|(currency pair|symbol)\b.{0,40}\bnot (supported|found|in ISO)|"
    r"(unknown|unsupported|invalid) (symbol|currency pair)",
    re.IGNORECASE,
)
_TOO_FAST = re.compile(r"rate limit|too many|throttl|exceeded", re.IGNORECASE)
_LONGEST_TEXT = 500
log = logs.get(__name__)


class Faults:
    """Judges what Kraken says, remembering which pairs have answered.

    Args:
        known: Pairs that have.
        listed: Returns the pairs that Kraken lists, of the kind that a pair is of; None where that can't be told now.
    """

    def __init__(
        self, known: Iterable[str] = (), listed: Callable[[str], Collection[str] | None] = lambda _pair: None
    ) -> None:
        self._known = KnownPairs("Kraken", listed, known)
        self._warned: set[str] = set()

    def knows(self, pair: str) -> None:
        """Says that the pair has answered."""
        self._known.add(pair)

    def judge(self, pair: str, errors: Iterable[str]) -> PassingError | SettingsError | None:
        """Returns what the errors of an answer mean; None if they are mere warnings, which are logged.

        Args:
            pair: What was asked for.
            errors: Kraken's texts: `E...` is an error, `W...` a warning.
        """
        real = [error for error in errors if not error.startswith("W")]
        for warning in set(errors) - set(real) - self._warned:
            self._warned.add(warning)
            log.warning("Kraken warns", warning=warning[:_LONGEST_TEXT], pair=pair)
        if not real:
            return None
        text = ", ".join(real)[:_LONGEST_TEXT]
        if _NO_SUCH_PAIR.search(text):
            return self._known.unknown(pair, text)
        return PassingError("rate_limit" if _TOO_FAST.search(text) else "unavailable", f"Kraken answers {text}")
