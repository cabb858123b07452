from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.news import lexicon
from pricecast_core.settings.news_signal import DEFAULT_COINS
from tests.unit.news_signal.headlines import HOSTILE


def read(headline: str) -> dict[str, int]:
    return dict(lexicon.read(headline, DEFAULT_COINS))


@pytest.mark.parametrize(
    ("headline", "expected"),
    [
        ("Bitcoin rallies to a record high", {"BTC": 1}),
        ("Ethereum plunges 12% in a day", {"ETH": -1}),
        ("Cardano price unchanged", {"ADA": 1}),  # to be in the news at all is more often good than bad
        ("Hackers fail to steal funds", {}),
        ("Our office moved to Lisbon", {}),
    ],
)
def test_a_coin_gets_the_sign_of_what_is_said_of_it(headline: str, expected: dict[str, int]) -> None:
    assert read(headline) == expected


@pytest.mark.parametrize(
    ("headline", "expected"),
    [
        ("Bitcoin surges while Ethereum slides", {"BTC": 1, "ETH": -1}),
        ("Solana soars, but Dogecoin drops", {"SOL": 1, "DOGE": -1}),
        ("Polkadot overtakes Litecoin by market value", {"DOT": 1, "LTC": -1}),
        ("BTC, ETH and XRP tumble", {"BTC": -1, "ETH": -1, "XRP": -1}),
    ],
)
def test_each_coin_gets_its_own_clause(headline: str, expected: dict[str, int]) -> None:
    assert read(headline) == expected


@pytest.mark.parametrize(
    ("headline", "sign"),
    [
        ("Bitcoin is not bullish", -1),
        ("Upgrade prevents a Litecoin hack", 1),
        ("Monero recovers from losses", 1),
        ("Weak data threatens Dogecoin's bullish momentum", -1),
    ],
)
def test_a_negation_turns_what_follows(headline: str, sign: int) -> None:
    assert list(read(headline).values()) == [sign]


@pytest.mark.parametrize(
    ("headline", "coins"),
    [
        ("Ethereum Classic gains", {"ETC"}),
        ("Bitcoin Cash gains", {"BCH"}),
        ("Bitcoin SV gains", set()),
        ("$SOL and #ada and DOT gain", {"SOL", "ADA", "DOT"}),
        ("He put a dot on the sol, etc", set()),
        ("#SolanaNFTs are gaining", {"SOL"}),
        ("New pair XLM/BTC listed", {"XLM"}),
        ("Uniswap volume gains", {"ETH"}),
        ("Federal Reserve hints at rate cuts", {"BTC"}),
        ("Crypto market gains", {"BTC", "ETH"}),
    ],
)
def test_coins_are_found_by_name_ticker_and_what_stands_for_them(headline: str, coins: set[str]) -> None:
    assert set(read(headline)) == coins


@pytest.mark.parametrize(
    "headline",
    [
        "Our weekly digest is out! #crypto #blockchain",
        "RT @somebody: crypto is a way of life",
        "Filecoin gains as crypto storage grows",
        "Crypto token Foobar (FOO) soars",
        "Cryptocurrency Foobar Down More Than 5% Within 24 hours",
    ],
)
def test_a_label_and_a_coin_that_is_none_of_ours_say_nothing_of_the_market(headline: str) -> None:
    assert read(headline) == {}


@given(st.one_of(st.text(max_size=300), st.sampled_from(HOSTILE)))
def test_the_clues_of_any_text_are_as_many_numbers_between_minus_one_and_one(text: str) -> None:
    clues = lexicon.clues(text, DEFAULT_COINS)
    assert list(clues) == list(DEFAULT_COINS)
    assert all(
        len(values) == len(lexicon.CLUES) and all(-1 <= each <= 1 for each in values) for values in clues.values()
    )
    assert {coin: values[lexicon.CLUES.index("signal")] for coin, values in clues.items() if values[3]} == read(text)


def test_only_coins_of_the_list_are_spoken_of_in_its_order() -> None:
    headline = "Ethereum, Bitcoin and Solana gain"
    assert list(lexicon.read(headline, ["SOL", "BTC"])) == ["SOL", "BTC"]


def test_a_coin_that_the_data_file_does_not_know_is_found_by_its_ticker() -> None:
    assert lexicon.read("AVAX gains as $TIA drops", ["AVAX", "TIA"]) == {"AVAX": 1, "TIA": -1}


def test_advertising_without_a_coin_says_nothing() -> None:
    assert read("Join our AMA on Discord and win NFT prizes!") == {}


@given(st.one_of(st.text(max_size=300), st.sampled_from(HOSTILE)))
def test_any_text_gives_valid_signals_and_always_the_same(text: str) -> None:
    signals = read(text)
    assert set(signals) <= set(DEFAULT_COINS)
    assert set(signals.values()) <= {-1, 1}
    assert signals == read(text)
