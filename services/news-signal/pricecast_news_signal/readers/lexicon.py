"""The word list: needs nothing and never fails."""

from __future__ import annotations

from collections.abc import Sequence

from pricecast_core.news import lexicon
from pricecast_core.news.prompt import Answer, CoinSignal
from pricecast_core.settings import NewsSignalSettings


def open_extractor(settings: NewsSignalSettings) -> Lexicon:
    """Returns the lexicon for the settings' coins."""
    return Lexicon(settings.coins)


class Lexicon:
    """The keyword baseline.

    Args:
        coins: The coins that signals may be about.
    """

    cacheable = False

    def __init__(self, coins: Sequence[str]) -> None:
        self._coins = tuple(coins)

    async def extract(self, headline: str, attempt: int) -> Answer:
        """Returns the signals; never fails."""
        del attempt
        return Answer([CoinSignal(coin, signal) for coin, signal in lexicon.read(headline, self._coins).items()])

    async def close(self) -> None:
        """Has nothing to give back."""
