"""Pairs and coins: one spelling inside, other people's at the edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import SettingsError
from pricecast_core.values import (
    COIN,
    KRAKEN_TO_COMMON,
    base_coin,
    common_names,
    kraken_v1_name,
    read_coin,
    read_pair,
    slug,
)

coins = st.from_regex(rf"\A{COIN}\Z").filter(lambda coin: coin not in KRAKEN_TO_COMMON)


@pytest.mark.parametrize("spelling", ["BTC/USD", "btc/usd", "XBT/USD", "xbt-usd", " BTC-USD "])
def test_all_spellings_are_one_pair(spelling: str) -> None:
    assert read_pair(spelling) == "BTC/USD"


@pytest.mark.parametrize(
    ("spelling", "pair"),
    [
        ("AAPLx/USD", "AAPLx/USD"),
        ("AAPLx-usd", "AAPLx/USD"),
        ("AAPLX/USD", "AAPLX/USD"),
        ("avax/usd", "AVAX/USD"),
        ("x/eur", "X/EUR"),
    ],
)
def test_a_small_x_ends_a_tokenised_share_only_where_the_rest_is_in_capitals(spelling: str, pair: str) -> None:
    assert read_pair(spelling) == pair


@pytest.mark.parametrize("text", ["", "BTC", "BTC/", "/USD", "BTC/USD/EUR", "B!C/USD", "A" * 17 + "/USD", "Éx/USD"])
def test_what_is_no_pair_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="BASE/QUOTE"):
        read_pair(text)


@given(coins, coins)
def test_every_pair_is_read_as_it_is_written_and_krakens_spelling_translates_back(base: str, quote: str) -> None:
    pair = f"{base}/{quote}"
    assert read_pair(pair) == read_pair(kraken_v1_name(pair)) == common_names(pair) == pair
    assert read_coin(base) == base_coin(pair) == base


@given(st.sets(st.tuples(coins, coins), min_size=2, max_size=20))
def test_slugs_of_different_pairs_differ(pairs: set[tuple[str, str]]) -> None:
    assert len({slug(f"{base}/{quote}") for base, quote in pairs}) == len(pairs)


def test_slugs_tell_a_tokenised_share_from_a_coin() -> None:
    assert [slug(pair) for pair in ("BTC/USD", "AAPLX/USD", "AAPLx/USD")] == ["btc-usd", "aaplx-usd", "aapl.x-usd"]


def test_bitcoin_is_xbt_on_krakens_old_api() -> None:
    assert kraken_v1_name("BTC/USD") == "XBT/USD"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [("XBT/USD", "BTC/USD"), ("ETH/XBT", "ETH/BTC"), ("XDG/XBT", "DOGE/BTC"), ("XDG", "DOGE")],
)
def test_krakens_names_are_told_from_the_common_ones(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=rf"^{text}: is Kraken's name; write {remedy}$"):
        common_names(text)
