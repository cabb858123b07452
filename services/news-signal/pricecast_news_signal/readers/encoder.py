"""The encoder: a sentence encoder in this process and a head that was trained on labelled headlines."""

from __future__ import annotations

import asyncio

from pricecast_core.news.prompt import Answer, CoinSignal
from pricecast_core.settings import NewsSignalSettings
from pricecast_news_signal.encoder import head, weights
from pricecast_news_signal.encoder.sentences import SentenceEncoder


def open_extractor(settings: NewsSignalSettings) -> Encoder:
    """Returns the encoder and the head that the settings name.

    Raises:
        SettingsError: If one of them isn't there, or they don't belong together.
    """
    learnt = head.load(settings.encoder_head)
    files = weights.load(settings.encoder_weights or learnt.weights)
    head.check(learnt, files.digest)
    return Encoder(SentenceEncoder(files), head.Reader(learnt, settings.coins))


class Encoder:
    """Signals by a sentence encoder.

    Args:
        encode: Turns a headline into a vector.
        reader: Knows what vectors mean.
    """

    cacheable = False

    def __init__(self, encode: SentenceEncoder, reader: head.Reader) -> None:
        self._encode = encode
        self._reader = reader

    async def extract(self, headline: str, attempt: int) -> Answer:
        """Returns the signals; never fails. Some milliseconds of work, done aside so that the service stays responsive."""
        del attempt
        return await asyncio.to_thread(self.read, headline)

    def read(self, headline: str) -> Answer:
        """Returns the signals in a headline."""
        signals = self._reader.read(headline, self._encode(headline))
        return Answer([CoinSignal(coin, signal) for coin, signal in signals.items()])

    async def close(self) -> None:
        """Has nothing to give back."""
