"""What Kraken's errors mean for a pair: whether the same may be asked again."""

from __future__ import annotations

import pytest

from pricecast_core.errors import SettingsError
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_core.settings.exchanges import KrakenSettings
from pricecast_trades.errors import PassingError
from pricecast_trades.exchanges.kraken import wire
from pricecast_trades.exchanges.kraken.exchange import Kraken
from pricecast_trades.exchanges.kraken.faults import Faults
from pricecast_trades.seam import Seam
from tests.doubles.kraken import Deal, KrakenDouble

UNKNOWN = ["EQuery:Unknown asset pair"]
LISTED = frozenset({"BTC/USD", "ETH/USD", "AAPLx/USD"})


def test_a_pair_that_is_listed_is_asked_for_again() -> None:
    assert isinstance(Faults(listed=lambda _: LISTED).judge("BTC/USD", UNKNOWN), PassingError)


@pytest.mark.parametrize(
    ("pair", "words"),
    [("BTD/USD", "did you mean BTC/USD"), ("AAPL/USD", "did you mean AAPLx/USD"), ("ZZZ/JPY", "list of pairs")],
)
def test_a_pair_that_is_not_listed_is_a_wrong_setting_with_the_nearest_names(pair: str, words: str) -> None:
    fault = Faults(listed=lambda _: LISTED).judge(pair, UNKNOWN)
    assert isinstance(fault, SettingsError)
    assert words in str(fault)


def test_without_a_list_a_pair_is_given_up_after_a_bounded_number_of_answers() -> None:
    faults = Faults()
    judged = [faults.judge("BTD/USD", UNKNOWN) for _ in range(6)]
    assert [isinstance(fault, PassingError) for fault in judged] == [True] * 5 + [False]


def test_a_pair_that_answered_is_known_whatever_the_list_says() -> None:
    faults = Faults(listed=lambda _: LISTED)
    faults.knows("OLD/USD")
    assert isinstance(faults.judge("OLD/USD", UNKNOWN), PassingError)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"{}", b'{"error": ["EService:Unavailable"]}', b'{"error": [], "result": {}}']
)
def test_what_is_no_list_of_pairs_decides_nothing(content: bytes) -> None:
    with pytest.raises(PassingError):
        wire.listed(content)


def test_names_are_read_in_the_common_spelling_and_foreign_ones_passed_over() -> None:
    content = b'{"error": [], "result": {"a": {"wsname": "XBT/USD"}, "b": {"wsname": "?"}, "c": {"altname": "X"}}}'
    assert wire.listed(content) == {"BTC/USD"}


def test_a_tokenised_share_is_asked_for_by_its_class() -> None:
    """Kraken answers `EGeneral:Invalid arguments` without it."""
    with KrakenDouble(["AAPLx/USD"]) as exchange:
        exchange.deals["AAPLx/USD"] = [Deal(1, "230.5", "0.1", 1_790_000_000_000_000, "buy")]
        settings = TradesSettings(pipeline="t", pairs=["AAPLx/USD"], kraken_rest_url=exchange.rest_url)  # type: ignore[call-arg]
        assert isinstance(settings.exchange, KrakenSettings)
        page = Kraken(settings, settings.exchange, Stop()).page("AAPLx/USD", Seam(0, ()), 0)
    assert len(page.items) == 1
