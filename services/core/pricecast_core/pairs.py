"""Trading pairs and coins, spelt one way.

A pair is written `BASE/QUOTE` in the names people use ("BTC/USD"). Kraken calls some coins by names of its own
("XBT", "XDG"); they are translated at the edge, so that topics, stores and the API never see them.
"""

from __future__ import annotations

import re

from pricecast_core.errors import SettingsError

KRAKEN_TO_COMMON = {"XBT": "BTC", "XDG": "DOGE"}
COMMON_TO_KRAKEN = {common: kraken for kraken, common in KRAKEN_TO_COMMON.items()}

_PAIR = re.compile(r"^([A-Z0-9]{2,10})/([A-Z0-9]{2,10})$")


def normalise(pair: str) -> str:
    """Returns the pair in the common spelling.

    Args:
        pair: `BTC/USD`, `btc/usd`, `XBT/USD` or `BTC-USD`.

    Raises:
        SettingsError: If the text is no pair of two coins.
    """
    text = pair.strip().upper().replace("-", "/")
    match = _PAIR.match(text)
    if match is None:
        raise SettingsError(f"pair: {pair!r} is not a trading pair; write BASE/QUOTE, for example BTC/USD")
    base, quote = (KRAKEN_TO_COMMON.get(coin, coin) for coin in match.groups())
    return f"{base}/{quote}"


def kraken_v1_name(pair: str) -> str:
    """Returns the pair as Kraken's REST and WebSocket v1 spell it (`XBT/USD`)."""
    base, quote = normalise(pair).split("/")
    return f"{COMMON_TO_KRAKEN.get(base, base)}/{COMMON_TO_KRAKEN.get(quote, quote)}"


def base_coin(pair: str) -> str:
    """Returns the coin whose price the pair gives: `BTC` of `BTC/USD`."""
    return pair.split("/", 1)[0]


def slug(pair: str) -> str:
    """Returns the pair as a name for columns, metrics and Kubernetes objects: `btc-usd`."""
    return pair.lower().replace("/", "-")
