"""The readers of headlines, by the name that settings know them by: one module and one line each.

A module is imported when it is used, for some clients take seconds to load. It has `open_extractor(settings)`, which
raises `SettingsError` where what it needs is not set.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from pricecast_core.settings import NewsSignalSettings
from pricecast_news_signal.extractor import Extractor

READERS: Mapping[str, str] = {
    "lexicon": "pricecast_news_signal.readers.lexicon",
    "encoder": "pricecast_news_signal.readers.encoder",
    "ollama": "pricecast_news_signal.readers.ollama",
    "anthropic": "pricecast_news_signal.readers.anthropic",
    "openai": "pricecast_news_signal.readers.openai",
}


def open_extractor(settings: NewsSignalSettings) -> Extractor:
    """Returns the extractor that the settings name.

    Raises:
        SettingsError: If what the provider needs is not set.
    """
    extractor: Extractor = import_module(READERS[settings.provider]).open_extractor(settings)
    return extractor
