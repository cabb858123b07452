"""Messages that can't be used: kept whole, with the reason, so that a person can mend and replay them.

A dead letter is written to the `dead-letters` topic by the same producer, and in a stream within the same
transaction, as the service's other output: it is there exactly when the message counts as handled.
"""

from __future__ import annotations

from pricecast_core import metrics
from pricecast_core.errors import BadMessageError
from pricecast_core.messages import DeadLetter

MAX_BYTES = 500_000
"""A longer value is cut, so that the dead letter itself fits into a message (Kafka's default limit is 1 MB)."""

_CUT = "value cut from "


def is_cut(letter: DeadLetter) -> bool:
    """Returns whether a letter holds less than the whole message."""
    return _CUT in letter.error and len(letter.value) == MAX_BYTES


def dead_letter(
    service: str,
    error: BadMessageError,
    *,
    topic: str,
    partition: int = -1,
    offset: int = -1,
    key: bytes = b"",
    value: bytes = b"",
) -> DeadLetter:
    """Returns the dead letter of a message and counts it.

    Args:
        service: Who refuses the message.
        error: Why; its `reason` is the word that is counted.
        topic: The topic, file or address that the message came from.
        partition: Its partition, or -1.
        offset: Its offset or line number, or -1.
        key: The message's key.
        value: The message's bytes.
    """
    metrics.DEAD_LETTERS.labels(service, error.reason).inc()
    cut = f" ({_CUT}{len(value)} bytes)" if len(value) > MAX_BYTES else ""
    return DeadLetter(
        service=service,
        topic=topic,
        partition=partition,
        offset=offset,
        reason=error.reason,
        error=f"{error}{cut}",
        key=key[:MAX_BYTES],
        value=value[:MAX_BYTES],
    )
