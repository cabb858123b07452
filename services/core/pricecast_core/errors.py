"""The one hierarchy of errors.

Every error that a person can act on says which field, which value and what to do about it; a service turns the
classes into exit codes (`pricecast_core.service`), the runtimes turn the exit codes into restarts or reports.
"""

from __future__ import annotations


class PricecastError(Exception):
    """Base of all errors that pricecast raises on purpose."""


class SettingsError(PricecastError):
    """A setting or a manifest is wrong: the process can't start, and restarting doesn't help."""


class BadMessageError(PricecastError):
    """A message breaks its schema or its rules: it belongs in the dead-letter topic.

    Attributes:
        field: The field at fault, or `""` where the message can't be read at all.
        reason: A stable word for counting: malformed, late, unknown_pair.
    """

    def __init__(self, error: str, field: str = "", reason: str = "malformed") -> None:
        super().__init__(error)
        self.field = field
        self.reason = reason


class SourceError(PricecastError):
    """An outside source (exchange, news site, file) gave something that can't be used, or nothing at all."""


class StoreError(PricecastError):
    """A store (features, models, predictions) can't be reached or refused an operation. Trying again may help."""


class NotEnoughHistoryError(PricecastError):
    """There are too few feature rows to train on: try again later."""


class UnfinishedError(PricecastError):
    """A job was asked to stop before its end. What it had done is saved: started again, it goes on from there."""


class BelowBarError(PricecastError):
    """A result is there and misses the bar that was set for it: to do the same again gives the same."""


class StoppedWaitingError(PricecastError):
    """A service was asked to stop while it waited for something outside: no failure, its next start goes on from there."""
