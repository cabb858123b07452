"""How a call to an exchange can end without an answer, beside a wrong setting."""

from __future__ import annotations

from pricecast_core.errors import PricecastError


class PassingError(PricecastError):
    """The exchange refuses, or answers nonsense, in a way that passes: the same is asked again later.

    Attributes:
        reason: A stable word for counting: rate_limit, unavailable, malformed, timeout, connection, server_error.
        after_seconds: How long the exchange asks to wait; 0 if it doesn't say.
    """

    def __init__(self, reason: str, error: str, after_seconds: float = 0.0) -> None:
        super().__init__(error)
        self.reason = reason
        self.after_seconds = after_seconds


class StoppedError(PricecastError):
    """The process is to stop."""
