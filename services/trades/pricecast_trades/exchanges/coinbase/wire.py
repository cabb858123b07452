"""Coinbase Exchange's messages, as documented at https://docs.cdp.coinbase.com/exchange/, and the trades they carry.

The side that Coinbase gives is the maker's; a `Trade` has the taker's, the other one. Times are cut to whole
milliseconds, never rounded: a trade may not slip into the next candle.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import msgspec

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.messages import Trade, decode, encode
from pricecast_core.values import read_pair
from pricecast_trades import times
from pricecast_trades.errors import PassingError
from pricecast_trades.source import Refused

_TAKER: dict[str, Literal["buy", "sell"]] = {"buy": "sell", "sell": "buy"}


class Match(msgspec.Struct):
    """A trade: a row of REST's `trades`, or a message `match` or `last_match`."""

    trade_id: int
    side: Literal["buy", "sell"]
    size: str
    price: str
    time: str


class Channel(msgspec.Struct):
    """A channel that is subscribed to."""

    name: str = ""
    product_ids: list[str] = []


class Message(msgspec.Struct):
    """Any message of the WebSocket."""

    type: str = ""
    product_id: str = ""
    time: str = ""
    last_trade_id: int | None = None
    channels: list[Channel] = []
    message: str = ""
    reason: str = ""


class Product(msgspec.Struct):
    """One product of REST's `products`."""

    id: str


class Problem(msgspec.Struct):
    """What REST says instead of an answer."""

    message: str


message = msgspec.json.Decoder(Message)
problem = msgspec.json.Decoder(Problem)
rows = msgspec.json.Decoder(list[msgspec.Raw])
_products = msgspec.json.Decoder(list[Product])
_match = msgspec.json.Decoder(Match)


def product(pair: str) -> str:
    """Returns the pair as Coinbase spells it: `BTC-USD`."""
    return pair.replace("/", "-")


def listed(content: bytes) -> frozenset[str]:
    """Returns the pairs of an answer of `products`, in the common spelling.

    Raises:
        PassingError: If it is no list, or an empty one.
    """
    try:
        found = _products.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PassingError("malformed", f"answer is no list of products: {error}") from None
    names = set()
    for each in found:
        with suppress(SettingsError):  # names that can't be pairs of ours
            names.add(read_pair(each.id.replace("-", "/")))
    if not names:
        raise PassingError("unavailable", "answer lists no products")
    return frozenset(names)


def trade(pair: str, data: bytes, origin: str) -> Trade | Refused:
    """Returns the trade that a row or a message describes, or why it can't be used."""
    try:
        found = _match.decode(data)
        moment = times.exact_ms(found.time)
        if moment is None:
            raise BadMessageError(f"time: {found.time!r} is no ISO 8601 time with a zone", "time")
        made = Trade(
            pair=pair,
            price=float(found.price),
            volume=float(found.size),
            side=_TAKER[found.side],
            trade_id=found.trade_id,
            timestamp_ms=moment,
        )
        return decode(Trade, encode(made))  # decoding checks every bound
    except BadMessageError as error:
        return Refused(error, origin, -1, data)
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError) as error:
        return Refused(BadMessageError(str(error)), origin, -1, data)
