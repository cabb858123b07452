"""Errors of services' own client libraries, told as ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pricecast_core.errors import SettingsError, StoreError

_LONGEST = 500


@contextmanager
def told(operation: str, service: object, secret: str, remedies: Mapping[int | str, str]) -> Iterator[None]:
    """Turns whatever a client raises into a `StoreError` with a remedy.

    Args:
        operation: What was asked for.
        service: What was asked, for the remedy of what has none of its own.
        secret: What no message may hold.
        remedies: What to do, by the status of an HTTP answer or by words of the error.
    """
    try:
        yield
    except (StoreError, SettingsError):
        raise
    except Exception as error:
        raise StoreError(f"{operation} failed: {without(secret, error)}; {_remedy(error, service, remedies)}") from None


def without(secret: str, error: Exception) -> str:
    """Returns an error's words on one line, without a secret that they may hold."""
    words = " ".join(str(error).split()).replace(secret, "***")  # before it is cut: half a secret is one, too
    return words[:_LONGEST] or type(error).__name__


def _remedy(error: Exception, service: object, remedies: Mapping[int | str, str]) -> str:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    told_by_words = (remedy for key, remedy in remedies.items() if isinstance(key, str) and key in str(error))
    return next(told_by_words, None) or remedies.get(status, f"check that {service} can be reached and is well")
