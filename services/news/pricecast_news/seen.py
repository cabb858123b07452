"""What was published already: by id, and by title within a day, across sources and restarts.

The same title on another day is news again ("Bitcoin sets a new all-time high"), while a story that several sources
carry is one: equal titles count as the same story on one day (UTC), or within `SYNDICATION` around midnight.

The `news` topic itself is the memory. It is kept for ever, so that a new model can read it again; a service that
starts reads it once and knows what it wrote before it was stopped, killed or moved to another node.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from pricecast_core.messages import News
from pricecast_core.news import titles

LIMIT = 1_000_000
"""Headlines remembered: some 250 MB at the very end, decades of one source."""
SYNDICATION_MS = 6 * 3_600_000
"""How far apart two sources may date one story: a quarter of a day, so that the quarters make the day."""
_QUARTERS = 4


class Seen:
    """Headlines by id and by normalised title, the oldest forgotten first. Safe to use from several threads.

    Args:
        limit: How many to remember.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = 2 * limit
        self._keys: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._keys) // 2

    def is_new(self, news: News) -> bool:
        """Returns whether neither the id was seen nor the title, about that time."""
        with self._lock:
            return self._is_new(news)

    def _is_new(self, news: News) -> bool:
        if _id_key(news) in self._keys:
            return False
        quarter = news.timestamp_ms // SYNDICATION_MS
        first = quarter - quarter % _QUARTERS
        title = titles.normalise(news.title)
        if any(_title_key(title, each) in self._keys for each in range(first, first + _QUARTERS)):
            return False
        beside = (self._keys.get(_title_key(title, each)) for each in (quarter - 1, quarter + 1))
        return not any(when is not None and abs(when - news.timestamp_ms) <= SYNDICATION_MS for when in beside)

    def add(self, news: News) -> bool:
        """Remembers a headline; returns whether it was new."""
        with self._lock:
            new = self._is_new(news)
            self._keys[_id_key(news)] = news.timestamp_ms
            if new:  # a repetition doesn't make its own day one on which the story was news
                title = titles.normalise(news.title)
                self._keys[_title_key(title, news.timestamp_ms // SYNDICATION_MS)] = news.timestamp_ms
            while len(self._keys) > self._limit:
                self._keys.popitem(last=False)
            return new

    def update(self, news: Iterable[News]) -> None:
        """Remembers headlines."""
        for item in news:
            self.add(item)


def _id_key(news: News) -> int:
    return hash(("id", news.id))


def _title_key(title: str, quarter: int) -> int:
    return hash(("title", title, quarter))
