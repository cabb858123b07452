"""What Kraken's errors mean, on REST and on both versions of the WebSocket.

Kraken answers with texts: `EQuery:Unknown asset pair` on REST, `Currency pair not supported XBT/FOO` on WebSockets,
`EService:Unavailable`, `EGeneral:Internal error`, `EAPI:Rate limit exceeded`. Only one kind can't pass by itself: a
pair that Kraken doesn't have. But Kraken says the same now and then of pairs that it does have. So a pair that has
answered once is known for good, and of one that never has Kraken's list of pairs decides.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from pricecast_core import logs
from pricecast_core.errors import SettingsError
from pricecast_trades.errors import PassingError

_NO_SUCH_PAIR = re.compile(
    r"(unknown|invalid) asset pair|(currency pair|symbol)\b.{0,40}\bnot (supported|found|in ISO)|"
    r"(unknown|unsupported|invalid) (symbol|currency pair)",
    re.IGNORECASE,
)
_TOO_FAST = re.compile(r"rate limit|too many|throttl|exceeded", re.IGNORECASE)
_LONGEST_TEXT = 500
_MOST_DOUBTS = 6
"""So many times in a row, over half a minute, a pair may be called unknown while the list of pairs can't be read."""
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
        self._known = set(known)
        self._listed = listed
        self._doubts: Counter[str] = Counter()
        self._warned: set[str] = set()

    def knows(self, pair: str) -> None:
        """Says that the pair has answered."""
        self._known.add(pair)
        self._doubts.pop(pair, None)

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
        if pair not in self._known and _NO_SUCH_PAIR.search(text):
            return self._unknown(pair, text)
        return PassingError("rate_limit" if _TOO_FAST.search(text) else "unavailable", f"Kraken answers {text}")

    def _unknown(self, pair: str, text: str) -> PassingError | SettingsError:
        """Judges that a pair is called unknown which has never answered."""
        listed = self._listed(pair)
        if listed is None:
            self._doubts[pair] += 1
            if self._doubts[pair] < _MOST_DOUBTS:
                return PassingError("unavailable", f"Kraken answers {text}, and its list of pairs can't be read now")
            return SettingsError(
                f"pairs: Kraken doesn't know {pair} ({text}, {_MOST_DOUBTS} times in a row); see its list of pairs"
            )
        if pair in listed:
            self.knows(pair)
            return PassingError("unavailable", f"Kraken answers {text}, but lists {pair}")
        near = difflib.get_close_matches(pair, listed, n=3, cutoff=0.7)
        hint = f"did you mean {' or '.join(near)}?" if near else "see its list of pairs"
        return SettingsError(f"pairs: Kraken doesn't know {pair} ({text}) and doesn't list it; {hint}")
