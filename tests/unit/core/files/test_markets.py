"""Which market a file's name spells."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricecast_core.files.markets import is_named_for, is_named_for_another, named_pairs


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("XBTUSD_2.csv", "BTC/USD"),
        ("ETHUSDT-1m.csv", "ETH/USD"),
        ("XRPETH.csv", "XRP/ETH"),
        ("T-USD.csv", "T/USD"),
        ("TUSD.csv", "T/USD"),
        ("AAPLxUSD_1.csv", "AAPLx/USD"),
        ("AAPLx-USD.csv.gz", "AAPLx/USD"),
        ("1000000000SHIBUSDC.csv", "1000000000SHIB/USD"),
    ],
)
def test_a_name_spells_any_pair_that_a_pipeline_can_have(name: str, pair: str) -> None:
    assert named_pairs(Path(name)) == {pair}
    assert is_named_for(Path(name), pair)
    assert is_named_for_another(Path(name), "SOL/EUR")


@pytest.mark.parametrize(
    "name", ["a.csv", "btcusd.csv", "USD.csv", "prices_2021_USD.csv", "part-1-EUR.csv", "1USD.csv"]
)
def test_most_names_spell_none(name: str) -> None:
    assert not named_pairs(Path(name))


@pytest.mark.parametrize(("name", "pair"), [("TUSD.csv", "TUSD/USD"), ("Q2_WBTC_1m.csv", "WBTC/EUR")])
def test_a_word_that_may_be_the_coin_alone_is_no_other_market(name: str, pair: str) -> None:
    assert not is_named_for_another(Path(name), pair)
    assert not is_named_for(Path(name), pair)


@pytest.mark.parametrize(
    ("name", "pair"), [("WBTC-EUR.csv", "WBTC/USD"), ("BTC_ETHEUR.csv", "BTC/USD"), ("BTC-EUR.csv", "BTC/USD")]
)
def test_a_coin_with_another_currency_is_another_market(name: str, pair: str) -> None:
    assert is_named_for_another(Path(name), pair)
