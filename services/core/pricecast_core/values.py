"""The values that everything agrees on: pairs, coins, lengths of time, names. Each bound and pattern is stated here, once.

The types serve pydantic (resources, CRDs, settings) and msgspec (messages) alike: each library reads its own part of
the annotation. Patterns are kept without anchors and in the syntax that Python, Rust and Go share, since pydantic and
the API server have engines of their own.

A pair is written `BASE/QUOTE` in the names people use ("BTC/USD"). Kraken calls some coins by names of its own
("XBT", "XDG"). Text that a service, a command or a request is given is translated on reading (`read_pair`); a
resource, which others read too, is refused and told the right name (`common_names`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import Meta
from pydantic import AfterValidator, BeforeValidator, Field

from pricecast_core.errors import SettingsError

COIN = "[A-Z0-9]{1,16}x?"
"""A coin. The small x ends the name of a tokenised share: AAPLx is not AAPLX."""
COIN_LENGTH = 17
PAIR = f"{COIN}/{COIN}"
PAIR_LENGTH = 2 * COIN_LENGTH + 1

PIPELINE_NAME = "[a-z]([-a-z0-9]{0,38}[a-z0-9])?"
"""Objects, topics and Services are named after a pipeline; a Service's name starts with a letter."""
PIPELINE_NAME_RULE = "write at most 40 of a-z, 0-9 and -, from a letter to a letter or digit"
NAMESPACE = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
PIPELINE_ID = rf"({NAMESPACE}\.)?{PIPELINE_NAME}"
"""What tells one pipeline from all others: NAMESPACE.NAME on a cluster, NAME on a laptop, where there is no namespace.
Topics, consumer groups, tables, models and predictions bear it."""
PIPELINE_ID_LENGTH = 99
"""Kafka's topics are of 249 characters at most, and that of a state's changelog bears the id twice."""
JOB_NAME = "[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?"
"""A Job and its pods are named after a FinetuneJob, and so are its logs and metrics."""
JOB_NAME_RULE = "write at most 52 of a-z, 0-9 and -, from a letter or digit to a letter or digit"

_HOST = r"([^\s/?#@:,\[\]]+|\[[0-9A-Fa-f:.]+\])"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HOST_NAME = r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?"
_HTTP_URL = rf"https?://([^\s/?#@]+@)?{_HOST}(:{_PORT})?([/?#]\S*)?"
_WEBSOCKET_URL = _HTTP_URL.replace("https?", "wss?", 1)
BROKERS = f"{_HOST}:{_PORT}(,{_HOST}:{_PORT})*"
"""Kafka's bootstrap servers. `pricecast_core.addresses` takes apart what these allow."""
URL_LENGTH = 2048

LONGEST_CANDLE_SECONDS = 86_400
LONGEST_HORIZON_SECONDS = 604_800
MOST_HORIZONS = 8
MOST_KINDS = 8
ModelKind = Literal["Ensemble", "Trees", "HarSeasonal", "Ewma", "Garch", "Quantiles", "Naive"]
"""The model kinds; the predictor has a module for each."""
MODEL_KINDS: tuple[ModelKind, ...] = ("Ensemble", "HarSeasonal", "Ewma")
"""Model kinds of a training that names no others: the one that is wanted, and rivals that are cheap and hard to beat."""
QUANTILES = (0.1, 0.5, 0.9)
"""Levels that every forecast has: the ends of the 80% interval and the median. Skill is measured on them."""
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Levels that are forecast where no others are wished for."""
DRIFT_SHARE = 0.25
"""Share of a model's features that drift from which the market as a whole is said to have moved."""
LOWEST_LEVEL, HIGHEST_LEVEL, MOST_LEVELS = 0.01, 0.99, 25
MOST_PAIRS = 512
MOST_COMPANIONS = 16
MOST_COINS = 64

KRAKEN_TO_COMMON = {"XBT": "BTC", "XDG": "DOGE"}
COMMON_TO_KRAKEN = {common: kraken for kraken, common in KRAKEN_TO_COMMON.items()}


def whole(pattern: str) -> str:
    """Returns the pattern of a whole text, as pydantic and the API server read it."""
    return f"^{pattern}$"


def _python(pattern: str) -> str:
    """Returns the same for Python's `re`, where `$` also matches before a last newline."""
    return rf"^{pattern}\Z"


_PAIR = re.compile(_python(PAIR))
_COIN = re.compile(_python(COIN))


def read_coin(text: str) -> str:
    """Returns the coin that a person or a program wrote: `btc`, `XBT` and `BTC` are `BTC`.

    Raises:
        SettingsError: If the text is no coin.
    """
    stripped = text.strip()
    coin = stripped if _COIN.match(stripped) else stripped.upper()  # only as it is written does AAPLx keep its x
    if _COIN.match(coin) is None:
        raise SettingsError(f"coin: {text!r} is not a coin; write letters and digits, for example BTC")
    return KRAKEN_TO_COMMON.get(coin, coin)


def read_pair(text: str) -> str:
    """Returns the pair that a person or a program wrote.

    Args:
        text: `BTC/USD`, `btc/usd`, `XBT/USD` or `BTC-USD`.

    Raises:
        SettingsError: If the text is no pair of two coins.
    """
    try:
        base, quote = text.strip().replace("-", "/").split("/")
        return f"{read_coin(base)}/{read_coin(quote)}"
    except (ValueError, SettingsError):
        raise SettingsError(f"pair: {text!r} is not a trading pair; write BASE/QUOTE, for example BTC/USD") from None


def common_names(text: str) -> str:
    """Returns a pair or coin as it is, unless a coin goes by Kraken's own name.

    Raises:
        ValueError: If one does; it says what to write.
    """
    common = "/".join(KRAKEN_TO_COMMON.get(coin, coin) for coin in text.split("/"))
    if common != text:
        raise ValueError(f"{text}: is Kraken's name; write {common}")
    return text


def kraken_v1_name(pair: str) -> str:
    """Returns the pair as Kraken's REST and WebSocket v1 spell it (`XBT/USD`)."""
    return "/".join(COMMON_TO_KRAKEN.get(coin, coin) for coin in read_pair(pair).split("/"))


def base_coin(pair: str) -> str:
    """Returns the coin whose price the pair gives: `BTC` of `BTC/USD`."""
    return pair.split("/", 1)[0]


def slug(pair: str) -> str:
    """Returns the pair as a name for columns, models and metrics: `btc-usd`; of a tokenised share `aapl.x-usd`."""
    return pair.replace("x", ".x").lower().replace("/", "-")


def pipeline_id(namespace: str, name: str) -> str:
    """Returns the id of a pipeline; without a namespace, as on a laptop, it is the name."""
    return f"{namespace}.{name}" if namespace else name


def namespace_and_name(pipeline: str) -> tuple[str, str]:
    """Returns the namespace, which may be empty, and the name that a pipeline's id is made of."""
    namespace, _, name = pipeline.rpartition(".")
    return namespace, name


def _reading(read: Callable[[str], str]) -> BeforeValidator:
    """Returns a validator that reads text as a person writes it."""

    def validate(value: Any) -> Any:
        try:
            return read(value) if isinstance(value, str) else value
        except SettingsError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(validate)


def _distinct(values: list[Any]) -> list[Any]:
    twice = next((value for number, value in enumerate(values) if value in values[:number]), None)
    if twice is not None:
        raise ValueError(f"{twice} is listed twice; list it once")
    return values


DISTINCT = AfterValidator(_distinct)
"""Of a list that holds nothing twice."""

Pair = Annotated[
    str,
    Meta(pattern=_python(PAIR), description="Trading pair, BASE/QUOTE"),
    Field(pattern=whole(PAIR), max_length=PAIR_LENGTH, examples=["BTC/USD"]),
]
Coin = Annotated[
    str,
    Meta(pattern=_python(COIN), description="Coin, as people write it: BTC, ETH"),
    Field(pattern=whole(COIN), max_length=COIN_LENGTH, examples=["BTC"]),
]
CandleSeconds = Annotated[
    int,
    Meta(ge=1, le=LONGEST_CANDLE_SECONDS, description="Length of a candle, in seconds"),
    Field(ge=1, le=LONGEST_CANDLE_SECONDS),
]
Horizon = Annotated[
    int,
    Meta(ge=1, le=LONGEST_HORIZON_SECONDS, description="How far ahead the forecast looks, in seconds"),
    Field(ge=1, le=LONGEST_HORIZON_SECONDS),
]


def _with_the_interval(levels: list[float]) -> list[float]:
    missing = [f"{level:g}" for level in QUANTILES if level not in levels]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be among them: the 80% interval's ends and the median; add it")
    return sorted(levels)


Level = Annotated[float, Field(ge=LOWEST_LEVEL, le=HIGHEST_LEVEL)]
LevelList = Annotated[list[Level], DISTINCT, AfterValidator(_with_the_interval)]
"""Quantile levels of a forecast, ascending once read."""

HttpUrl = Annotated[
    str, Field(pattern=whole(_HTTP_URL), max_length=URL_LENGTH, examples=["http://HOST:PORT", "https://HOST/PATH"])
]
OptionalHttpUrl = Annotated[
    str, Field(pattern=whole(f"({_HTTP_URL})?"), max_length=URL_LENGTH, examples=["http://HOST:PORT"])
]
OptionalWebsocketUrl = Annotated[
    str, Field(pattern=whole(f"({_WEBSOCKET_URL})?"), max_length=URL_LENGTH, examples=["wss://HOST/PATH"])
]
PipelineId = Annotated[
    str,
    Meta(
        pattern=_python(PIPELINE_ID),
        max_length=PIPELINE_ID_LENGTH,
        description="A PricePipeline: NAMESPACE.NAME, or NAME on a laptop",
    ),
    Field(pattern=whole(PIPELINE_ID), max_length=PIPELINE_ID_LENGTH),
]
JobName = Annotated[str, Field(pattern=whole(JOB_NAME))]

ReadPair = Annotated[Pair, _reading(read_pair)]
"""A pair as a service is told it: any spelling, read into the common one."""
ReadCoin = Annotated[Coin, _reading(read_coin)]
