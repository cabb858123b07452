"""The sources of headlines, by the name that settings and metrics know them by: one module and one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pricecast_core.settings import NewsSettings
from pricecast_news import archive, cryptopanic, gdelt, rss
from pricecast_news.source import Source, Surroundings

Opener = Callable[[NewsSettings, Surroundings], Source]

SOURCES: Mapping[str, Opener] = {
    "rss": rss.open_source,
    "cryptopanic": cryptopanic.open_source,
    "gdelt": gdelt.open_source,
    "archive": archive.open_source,
}


def open_sources(settings: NewsSettings, surroundings: Surroundings) -> list[Source]:
    """Returns the sources that the settings name.

    Raises:
        SettingsError: If what one of them needs is not set.
    """
    return [SOURCES[name](settings, surroundings) for name in settings.source]
