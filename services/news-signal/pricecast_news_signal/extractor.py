"""What reads a headline: the protocol, and the two ways it can fail.

A failure is either the headline's (the answer is outside the schema, again and again: a dead letter) or the
provider's (it is down, overloaded, has no such model: the news waits). Mixing the two would lose news in an outage or
stop the stream for one bad headline.
"""

from __future__ import annotations

from typing import Protocol

from pricecast_core.errors import PricecastError
from pricecast_core.news.prompt import Answer


class UnavailableError(PricecastError):
    """The provider can't answer now. The headline is not at fault: wait and ask again.

    Attributes:
        retry_after: Seconds the provider asks to wait, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Extractor(Protocol):
    """Reads one headline at a time; safe to ask for several at once."""

    cacheable: bool
    """Whether an answer costs enough to be kept."""

    async def extract(self, headline: str, attempt: int) -> Answer:
        """Returns the signals in a headline.

        Args:
            headline: Any text.
            attempt: 0 at first; a later attempt may be asked in another way.

        Raises:
            BadMessageError: If the answer is outside the schema.
            UnavailableError: If there is no answer for now.
            SettingsError: If there never will be one: the key is refused.
        """
        ...

    async def close(self) -> None:
        """Gives back connections."""
        ...
