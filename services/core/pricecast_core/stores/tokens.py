"""Page tokens: where a page of history starts, as opaque text that only fits the query it came from."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Any

import msgspec

from pricecast_core.errors import PricecastError

Position = tuple[int, str]
"""Target time and id of the last prediction of a page: the order of history."""


_TimeMs = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""What every store can compare: within a signed 64-bit integer, and exact as a JSON number."""


class PageTokenError(PricecastError):
    """A page token that this query didn't give."""


def encode_token(position: Position, query: tuple[Any, ...]) -> str:
    """Returns the token of the page after `position` of a query (its filters, as plain values)."""
    content = *position, _digest(query)
    return base64.urlsafe_b64encode(msgspec.json.encode((*content, _digest(content)))).decode().rstrip("=")


def decode_token(token: str, query: tuple[Any, ...]) -> Position:
    """Returns the position in the token.

    Raises:
        PageTokenError: If it is no token, was changed, or is that of a query with other filters.
    """
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        target_time_ms, last_id, of_query, check = msgspec.json.decode(data, type=tuple[_TimeMs, str, str, str])
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise PageTokenError(
            f"page_token: {token[:40]!r} is not a token of this API; pass next_page_token unchanged, or leave it empty"
        ) from None
    if check != _digest((target_time_ms, last_id, of_query)) or not last_id.isprintable():
        raise PageTokenError(
            f"page_token: {token[:40]!r} was changed; pass next_page_token unchanged, or leave it empty"
        )
    if of_query != _digest(query):
        raise PageTokenError("page_token: belongs to a query with other filters; repeat its filters, or leave it empty")
    return target_time_ms, last_id


def _digest(values: tuple[Any, ...]) -> str:
    return hashlib.blake2s(msgspec.json.encode(values), digest_size=6).hexdigest()
