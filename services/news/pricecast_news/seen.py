"""What was published already: by id and by title, across sources and restarts.

The `news` topic itself is the memory. It is kept for ever, so that a new model can read it again; a service that
starts reads it once and knows what it wrote before it was stopped, killed or moved to another node.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from pricecast_core.messages import News
from pricecast_core.news import titles

LIMIT = 1_000_000
"""Headlines remembered: some 250 MB at the very end, decades of one source."""


class Seen:
    """Headlines by id and by normalised title, the oldest forgotten first.

    Args:
        limit: How many to remember.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = 2 * limit
        self._keys: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys) // 2

    def is_new(self, news: News) -> bool:
        """Returns whether neither the id nor the title was seen."""
        return not any(key in self._keys for key in _keys(news))

    def add(self, news: News) -> bool:
        """Remembers a headline; returns whether it was new."""
        new = self.is_new(news)
        for key in _keys(news):
            self._keys[key] = None
        while len(self._keys) > self._limit:
            self._keys.popitem(last=False)
        return new

    def update(self, news: Iterable[News]) -> None:
        """Remembers headlines."""
        for item in news:
            self.add(item)


def _keys(news: News) -> tuple[int, int]:
    return hash(("id", news.id)), hash(("title", titles.normalise(news.title)))
