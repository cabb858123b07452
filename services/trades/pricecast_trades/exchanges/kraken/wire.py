"""Kraken's messages, as documented at https://docs.kraken.com/api/, and the trades they carry.

Times are cut to whole milliseconds, never rounded: a trade may not slip into the next candle. REST gives them as a
decimal number of seconds, v1 as one in quotes, v2 as ISO 8601.
"""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any, Literal

import msgspec

from pricecast_core.errors import BadMessageError, SettingsError
from pricecast_core.messages import Trade, decode, encode
from pricecast_core.values import base_coin, kraken_v1_name, read_pair
from pricecast_trades import times
from pricecast_trades.errors import PassingError
from pricecast_trades.source import Refused

_SIDES: dict[str, Literal["buy", "sell"]] = {"b": "buy", "s": "sell"}
_LAST_SECOND = 253_402_300_800  # the year 10000: a time beyond it is none


class RestAnswer(msgspec.Struct):
    """Answer of the REST API: errors, or a result."""

    error: list[str] = []
    result: dict[str, msgspec.Raw] | None = None


class ListedPair(msgspec.Struct):
    """One pair of `AssetPairs`."""

    wsname: str = ""


class ListAnswer(msgspec.Struct):
    """Answer of `AssetPairs`."""

    error: list[str] = []
    result: dict[str, ListedPair] | None = None


class RestTrade(msgspec.Struct, array_like=True):
    """One row of `Trades`."""

    price: str
    volume: str
    time: Decimal
    side: Literal["b", "s"]
    order_type: str
    misc: str
    trade_id: int


class V1Trade(msgspec.Struct, array_like=True):
    """One trade of the WebSocket v1's `trade` channel."""

    price: str
    volume: str
    time: Decimal
    side: Literal["b", "s"]


class V2Trade(msgspec.Struct):
    """One trade of the WebSocket v2's `trade` channel."""

    symbol: str
    side: Literal["buy", "sell"]
    price: float
    qty: float
    trade_id: int
    timestamp: str


class V2Result(msgspec.Struct):
    """What a v2 request was answered with."""

    channel: str = ""
    symbol: str = ""
    warnings: list[Any] | None = None


class V2Message(msgspec.Struct):
    """Any message of the WebSocket v2."""

    channel: str = ""
    type: str = ""
    method: str = ""
    success: bool = True
    error: str | None = None
    symbol: str | None = None
    result: V2Result | None = None
    data: list[msgspec.Raw] | None = None
    time_out: str | None = None


TOKENISED = "tokenized_asset"
"""The class of assets that Kraken wants named where a pair's base is a share (AAPLx)."""
rest_answer = msgspec.json.Decoder(RestAnswer)
v2_message = msgspec.json.Decoder(V2Message)
_rows = msgspec.json.Decoder(list[msgspec.Raw])
_rest_trade = msgspec.json.Decoder(RestTrade)
_v2_trade = msgspec.json.Decoder(V2Trade)


def rest_pair(pair: str) -> str:
    """Returns the pair as REST's `pair` parameter spells it: `XBTUSD`."""
    return kraken_v1_name(pair).replace("/", "")


def is_tokenised(pair: str) -> bool:
    """Returns whether a pair's base is a tokenised share, which Kraken spells with a small x at the end."""
    return base_coin(pair).endswith("x")


def listed(content: bytes) -> frozenset[str]:
    """Returns the pairs of an answer of `AssetPairs`, in the common spelling.

    Raises:
        PassingError: If it is no list, or an empty one.
    """
    try:
        found = msgspec.json.decode(content, type=ListAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PassingError("malformed", f"answer is no list of pairs: {error}") from None
    names = set()
    for pair in (found.result or {}).values():
        with suppress(SettingsError):  # names of Kraken's that can't be pairs of ours
            names.add(read_pair(pair.wsname))
    if not names:
        raise PassingError("unavailable", f"answer lists no pairs: {', '.join(found.error) or 'it is empty'}")
    return frozenset(names)


def rest_trades(pair: str, rows: msgspec.Raw, origin: str) -> list[Trade | Refused]:
    """Returns the trades of a result of `Trades`, those that can't be used as `Refused`.

    Raises:
        msgspec.MsgspecError: If it is no list.
    """
    return [_read(_rest, pair, bytes(raw), origin) for raw in _rows.decode(rows)]


def pair_of(symbol: str, names: frozenset[str]) -> str:
    """Returns the pair of `names` that a v2 symbol spells; empty if it is none of them."""
    if symbol in names:
        return symbol
    try:
        pair = read_pair(symbol)
    except SettingsError:
        return ""
    return pair if pair in names else ""


def v2_trade(raw: msgspec.Raw, names: frozenset[str], origin: str) -> tuple[str, Trade | Refused]:
    """Returns a trade of the v2 `trade` channel beside its pair."""
    item = _read(_v2, names, bytes(raw), origin)
    return item.pair if isinstance(item, Trade) else "", item


def v1_trades(pair: str, rows: list[Any], origin: str) -> list[Trade | Refused]:
    """Returns the trades of a v1 `trade` message. Its decoded rows are what kraken-wsclient-py hands out."""
    return [_read(_v1, pair, row, origin) for row in rows]


def _read(parse: Any, context: Any, row: Any, origin: str) -> Trade | Refused:
    try:
        trade: Trade = decode(Trade, encode(parse(context, row)))  # decoding checks every bound
    except (BadMessageError, msgspec.MsgspecError, ValueError, ArithmeticError) as error:
        wrong = error if isinstance(error, BadMessageError) else BadMessageError(str(error))
        return Refused(wrong, origin, -1, row if isinstance(row, bytes) else _as_sent(row))
    return trade


def _as_sent(row: Any) -> bytes:
    return json.dumps(row).encode()  # in ASCII: of half a surrogate, which v1 may send, there is no UTF-8


def _rest(pair: str, row: bytes) -> Trade:
    found = _rest_trade.decode(row)
    return Trade(
        pair=pair,
        price=float(found.price),
        volume=float(found.volume),
        side=_SIDES[found.side],
        trade_id=found.trade_id,
        timestamp_ms=_milliseconds(found.time),
    )


def _v1(pair: str, row: Any) -> Trade:
    found = msgspec.convert(row, V1Trade)
    return Trade(
        pair=pair,
        price=float(found.price),
        volume=float(found.volume),
        side=_SIDES[found.side],
        timestamp_ms=_milliseconds(found.time),
    )


def _milliseconds(seconds: Decimal) -> int:
    if not 0 <= seconds < _LAST_SECOND:  # before it becomes an integer of as many digits as its exponent says
        raise BadMessageError(f"time: {seconds!s:.40} is no time in seconds since the epoch", "time")
    return int(seconds * 1000)


def _v2(names: frozenset[str], row: bytes) -> Trade:
    found = _v2_trade.decode(row)
    pair = pair_of(found.symbol, names)
    if not pair:
        raise BadMessageError(f"symbol: {found.symbol!r} was not subscribed to", "symbol", reason="unknown_pair")
    time_ms = times.exact_ms(found.timestamp)
    if time_ms is None:
        raise BadMessageError(f"timestamp: {found.timestamp!r} is no ISO 8601 time with a zone", "timestamp")
    return Trade(
        pair=pair,
        price=found.price,
        volume=found.qty,
        side=found.side,
        trade_id=found.trade_id,
        timestamp_ms=time_ms,
    )
