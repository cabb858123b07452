"""Every message on every topic, described once.

A message is an immutable msgspec struct in JSON: decoding validates it in about a microsecond. Field descriptions
and bounds live in the annotations, and the documentation is generated from them. Times are milliseconds since the
Unix epoch, UTC, and come from the exchange or the publisher (event time), never from the machine's clock.

Schema versions: a reader ignores fields that it doesn't know, so adding a field with a default is compatible. A
change that isn't raises `schema_version`, which is left out of the JSON while it is 1.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from pricecast_core.errors import BadMessageError
from pricecast_core.values import CandleSeconds, Coin, Horizon, Pair, PipelineId

FIRST_TIMESTAMP_MS = 1_230_768_000_000
"""2009-01-01, before the first trade of any coin: an earlier time is a mistake of units or a clock."""
CLOCK_TOLERANCE_MS = 60_000
"""How far ahead of this machine's clock an event may lie before it is refused."""

Price = Annotated[float, Meta(gt=0, le=1e12, description="Price of one base coin, in quote coins")]
Volume = Annotated[float, Meta(ge=0, le=1e18, description="Amount traded within a window, in base coins")]
TimestampMs = Annotated[int, Meta(ge=FIRST_TIMESTAMP_MS, description="Milliseconds since the Unix epoch, UTC")]


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all messages."""

    schema_version: Annotated[int, Meta(ge=1, description="Version of the message's schema")] = 1


class Trade(Message, frozen=True, kw_only=True):
    """One trade on the exchange. Topic `trades`, keyed by pair."""

    pair: Pair
    price: Price
    volume: Annotated[float, Meta(gt=0, le=1e15, description="Amount traded, in base coins")]
    side: Annotated[Literal["buy", "sell"] | None, Meta(description="The taker's side; none where unknown")] = None
    trade_id: Annotated[
        int | None, Meta(description="The exchange's number of the trade within its pair; none where it gives none")
    ] = None
    timestamp_ms: TimestampMs


class Clock(Message, frozen=True, kw_only=True):
    """Says that the exchange's time has come so far, with no trade that isn't on the topic yet. Topic `trades`, keyed by pair.

    Written where a pair is quiet, so that its candles close on time and not with the next trade.
    """

    kind: Annotated[Literal["clock"], Meta(description="Tells it from a trade")]
    pair: Pair
    timestamp_ms: TimestampMs


class Candle(Message, frozen=True, kw_only=True):
    """Prices over one window of event time. Topic `candles`, keyed by pair."""

    pair: Pair
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Volume
    trade_count: Annotated[int, Meta(ge=0, description="Trades in the window; 0 in a candle that fills a quiet one")]
    window_start_ms: TimestampMs
    window_end_ms: Annotated[TimestampMs, Meta(description="End of the window, exclusive: the candle's event time")]
    candle_seconds: CandleSeconds
    closed: Annotated[bool, Meta(description="False while the window is still open")] = True

    def flat_after(self) -> Candle:
        """Returns the candle of the next window if nobody trades in it: this one's close, no volume."""
        return Candle(
            pair=self.pair,
            open=self.close,
            high=self.close,
            low=self.close,
            close=self.close,
            volume=0.0,
            trade_count=0,
            window_start_ms=self.window_end_ms,
            window_end_ms=self.window_end_ms + self.candle_seconds * 1000,
            candle_seconds=self.candle_seconds,
        )


class IndicatorRow(Message, frozen=True, kw_only=True):
    """A closed candle and its technical indicators. Topic `technical-indicators`, keyed by pair."""

    pair: Pair
    coin: Coin
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Volume
    trade_count: Annotated[int, Meta(ge=0, description="Trades in the window")]
    window_start_ms: TimestampMs
    window_end_ms: TimestampMs
    candle_seconds: CandleSeconds
    indicators: Annotated[dict[str, float], Meta(description="Indicator values by name, such as rsi_14")]


class News(Message, frozen=True, kw_only=True):
    """One headline. Topic `news`, keyed by id."""

    id: Annotated[str, Meta(min_length=1, max_length=200, description="The source's id, unique within the source")]
    title: Annotated[str, Meta(min_length=1, max_length=20_000, description="The headline")]
    source: Annotated[str, Meta(min_length=1, max_length=200, description="Who published it")]
    url: Annotated[str, Meta(max_length=4_000, description="Where to read it")] = ""
    published_at: Annotated[str, Meta(description="Publication time, ISO 8601, UTC")]
    timestamp_ms: TimestampMs


class NewsSignal(Message, frozen=True, kw_only=True):
    """What one headline means for one coin. Topic `news-signals`, keyed by coin."""

    coin: Coin
    signal: Annotated[Literal[-1, 0, 1], Meta(description="Expected effect on the price: down, none, up")]
    model_name: Annotated[str, Meta(min_length=1, description="The model that read the headline")]
    news_id: Annotated[str, Meta(min_length=1, description="The headline's id")]
    timestamp_ms: Annotated[TimestampMs, Meta(description="Publication time of the headline")]
    reasoning: Annotated[str, Meta(max_length=4_000, description="The model's words, where it gives any")] = ""
    title: Annotated[str, Meta(max_length=20_000, description="The headline")] = ""
    url: Annotated[str, Meta(max_length=4_000, description="Where to read it")] = ""


class FeatureRowStored(Message, frozen=True, kw_only=True):
    """Says that a feature row is durably stored and may be read. Topic `features`, keyed by pair or coin."""

    group: Annotated[str, Meta(description="Feature group the row is in: technical_indicators or news_signals")]
    key: Annotated[str, Meta(description="Pair or coin of the row")]
    event_time_ms: Annotated[TimestampMs, Meta(description="Event time of the row")]


class Prediction(Message, frozen=True, kw_only=True):
    """A forecast of a price, and later what came of it. Topic `predictions`, keyed by pair."""

    pipeline: PipelineId
    pair: Pair
    horizon_seconds: Horizon
    issued_at_ms: Annotated[TimestampMs, Meta(description="When it was made, in the market's time")]
    target_time_ms: Annotated[TimestampMs, Meta(description="The time whose price is predicted")]
    feature_time_ms: Annotated[TimestampMs, Meta(description="Event time of the newest feature row used")]
    last_price: Price
    predicted_price: Annotated[
        Price, Meta(description="Point forecast: the median, or the last price where it says so")
    ]
    lower: Annotated[Price, Meta(description="10% quantile")]
    upper: Annotated[Price, Meta(description="90% quantile")]
    levels: Annotated[tuple[float, ...], Meta(description="Levels of `quantiles`, ascending: 0.05 is 5%")] = ()
    quantiles: Annotated[tuple[float, ...], Meta(description="The price at each level; they never cross")] = ()
    model_name: Annotated[str, Meta(description="Registered model, or `naive` until one is promoted")]
    model_version: Annotated[int, Meta(ge=0, description="Version in the registry; 0 for the naive forecast")]
    model_trained_through_ms: Annotated[int, Meta(ge=0, description="Event time of the newest row trained on")] = 0
    distribution_skill: Annotated[
        float | None, Meta(description="1 - pinball loss / naive pinball loss, out of sample, at promotion")
    ] = None
    point_skill: Annotated[float | None, Meta(description="1 - MAE / MAE of the last price, out of sample")] = None
    point_is_naive: Annotated[bool, Meta(description="True if the point forecast is the last price")] = False
    beats_naive: Annotated[bool, Meta(description="True if the distribution beat the naive one out of sample")] = False
    simulated: Annotated[bool, Meta(description="True if the market is a simulation")] = False
    live_skill: Annotated[
        float | None,
        Meta(description="1 - pinball loss / naive pinball loss over its newest 1,000 scores at most; none below 200"),
    ] = None
    distance: Annotated[
        float | None,
        Meta(description="How far the row is from the training: above 1 for one in a thousand of its rows"),
    ] = None
    volatility: Annotated[
        float | None, Meta(description="Local volatility, in units of what one in a thousand rows of the training had")
    ] = None
    drift: Annotated[float | None, Meta(description="Share of the features whose distribution has moved")] = None
    caution: Annotated[str, Meta(description="Why it is to be taken with care; empty if it isn't")] = ""
    abstained: Annotated[
        bool, Meta(description="True if the model abstained: the naive forecast stands in, and `caution` says why")
    ] = False
    actual_price: Annotated[float | None, Meta(description="The price at the target time, once known")] = None
    absolute_error: Annotated[float | None, Meta(description="|predicted_price - actual_price|")] = None
    naive_absolute_error: Annotated[float | None, Meta(description="|last_price - actual_price|")] = None
    inside_interval: Annotated[bool | None, Meta(description="lower <= actual_price <= upper")] = None
    pinball_loss: Annotated[float | None, Meta(description="Mean pinball loss of the three quantiles, log-return")] = (
        None
    )
    naive_pinball_loss: Annotated[float | None, Meta(description="The same of the naive distribution")] = None

    @property
    def id(self) -> str:
        """Deterministic id: the same forecast made twice is stored once."""
        return f"{self.pipeline}:{self.pair}:{self.horizon_seconds}:{self.feature_time_ms}"

    @property
    def is_scored(self) -> bool:
        """Whether the price at the target time is known."""
        return self.actual_price is not None


class DeadLetter(Message, frozen=True, kw_only=True):
    """A message that could not be used, whole, with the reason. Topic `dead-letters`."""

    service: Annotated[str, Meta(description="Who refused it")]
    topic: Annotated[str, Meta(description="The topic it was on; for a source, the file or address it came from")]
    partition: Annotated[int, Meta(description="Partition, or -1")] = -1
    offset: Annotated[int, Meta(description="Offset, line number, or -1")] = -1
    reason: Annotated[str, Meta(description="Error class, a stable word for counting: malformed, late, unknown_pair")]
    error: Annotated[str, Meta(description="What is wrong, with field and value")]
    key: Annotated[bytes, Meta(description="The message's key, base64")] = b""
    value: Annotated[bytes, Meta(description="The message's bytes, base64")] = b""


M = TypeVar("M", bound=Message)
_FIELD = re.compile(r"(?:at `\$\.|required field `)(\w+)")

_encoder = msgspec.json.Encoder()
_decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}


def encode(message: Message) -> bytes:
    """Returns the message as JSON. Equal messages give equal bytes."""
    return _encoder.encode(message)


def decode(kind: type[M], data: bytes, *, now_ms: int | None = None) -> M:
    """Returns the message in `data`.

    Args:
        kind: The message class.
        data: UTF-8 JSON.
        now_ms: The clock against which a time in the future is judged; the machine's by default.

    Raises:
        BadMessageError: If it is no JSON, a field is missing or out of bounds, or its time lies in the future.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        message: M = decoder.decode(data)
    except msgspec.ValidationError as error:
        match = _FIELD.search(str(error))
        raise BadMessageError(str(error), field=match.group(1) if match else "") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessageError(f"not JSON: {error}") from None
    timestamp = getattr(message, "timestamp_ms", None)
    if timestamp is not None:
        limit = (int(time.time() * 1000) if now_ms is None else now_ms) + CLOCK_TOLERANCE_MS
        if timestamp > limit:
            raise BadMessageError(
                f"timestamp_ms: {timestamp} lies in the future; send milliseconds since the epoch, UTC", "timestamp_ms"
            )
    return message


def decoder(kind: type[M], *others: type[M]) -> Callable[[bytes], M]:
    """Returns `decode` of one message class, for hot paths; what isn't of it may be of one of the other classes."""
    if not others:
        return functools.partial(decode, kind)

    def decode_any(data: bytes) -> M:
        try:
            return decode(kind, data)
        except BadMessageError:
            for other in others:
                with contextlib.suppress(BadMessageError):
                    return decode(other, data)
            raise

    return decode_any


def is_finite(*values: float) -> bool:
    """Returns whether all the values are real numbers."""
    return all(map(math.isfinite, values))
