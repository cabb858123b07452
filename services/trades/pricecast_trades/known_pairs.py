"""Which pairs an exchange has, where it says that it doesn't know one.

Exchanges, and proxies before them, say so now and then of pairs that they do have. So a pair that has answered once is
known for good, and of one that never has the exchange's list of pairs decides.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from pricecast_core.errors import SettingsError
from pricecast_trades.errors import PassingError

_MOST_DOUBTS = 6
"""So many times in a row, over half a minute, a pair may be called unknown while the list of pairs can't be read."""


class KnownPairs:
    """The pairs that have answered, and how those that haven't are judged.

    Args:
        exchange: The exchange's name, for messages.
        listed: Returns the pairs that the exchange lists, of the kind that a pair is of; None where that can't be told
            now.
        known: Pairs that have answered.
    """

    def __init__(
        self, exchange: str, listed: Callable[[str], Collection[str] | None], known: Iterable[str] = ()
    ) -> None:
        self._exchange = exchange
        self._listed = listed
        self._known = set(known)
        self._doubts: Counter[str] = Counter()

    def __contains__(self, pair: str) -> bool:
        return pair in self._known

    def add(self, pair: str) -> None:
        """Says that the pair has answered."""
        self._known.add(pair)
        self._doubts.pop(pair, None)

    def unknown(self, pair: str, text: str) -> PassingError | SettingsError:
        """Returns what it means that the exchange calls a pair unknown.

        Args:
            pair: The pair.
            text: What the exchange says.
        """
        if pair in self._known:
            return PassingError("unavailable", f"{self._exchange} answers {text}")
        listed = self._listed(pair)
        if listed is None:
            self._doubts[pair] += 1
            if self._doubts[pair] < _MOST_DOUBTS:
                return PassingError(
                    "unavailable", f"{self._exchange} answers {text}, and its list of pairs can't be read now"
                )
            return SettingsError(
                f"pairs: {self._exchange} doesn't know {pair} ({text}, {_MOST_DOUBTS} times in a row); "
                "see its list of pairs"
            )
        if pair in listed:
            self.add(pair)
            return PassingError("unavailable", f"{self._exchange} answers {text}, but lists {pair}")
        near = difflib.get_close_matches(pair, listed, n=3, cutoff=0.7)
        hint = f"did you mean {' or '.join(near)}?" if near else "see its list of pairs"
        return SettingsError(f"pairs: {self._exchange} doesn't know {pair} ({text}) and doesn't list it; {hint}")
