"""Pairs: one spelling inside, the exchange's at the edge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core import pairs
from pricecast_core.errors import SettingsError

coins = st.from_regex(r"\A[A-Z]{3,5}\Z").filter(lambda coin: coin not in pairs.KRAKEN_TO_COMMON)


@pytest.mark.parametrize("spelling", ["BTC/USD", "btc/usd", "XBT/USD", "xbt-usd", " BTC-USD "])
def test_all_spellings_are_one_pair(spelling: str) -> None:
    assert pairs.normalise(spelling) == "BTC/USD"


@pytest.mark.parametrize("text", ["", "BTC", "BTC/", "/USD", "BTC/USD/EUR", "B!C/USD"])
def test_what_is_no_pair_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="BASE/QUOTE"):
        pairs.normalise(text)


@given(coins, coins)
def test_krakens_spelling_translates_back(base: str, quote: str) -> None:
    pair = f"{base}/{quote}"
    assert pairs.normalise(pairs.kraken_v1_name(pair)) == pair


def test_bitcoin_is_xbt_on_krakens_old_api() -> None:
    assert pairs.kraken_v1_name("BTC/USD") == "XBT/USD"
    assert pairs.slug("BTC/USD") == "btc-usd"
    assert pairs.base_coin("BTC/USD") == "BTC"
