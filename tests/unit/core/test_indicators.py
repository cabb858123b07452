"""The table of indicators: columns by name, choices read from text, mistakes refused with the remedy."""

from __future__ import annotations

import pytest

from pricecast_core.errors import SettingsError
from pricecast_core.indicators import choose, columns

DEFAULT = (
    "rsi_9 rsi_14 rsi_21 macd macd_signal macd_histogram bbands_lower bbands_middle bbands_upper stochrsi_k stochrsi_d "
    "adx_14 volume_ema_10 ichimoku_conversion ichimoku_base ichimoku_span_a ichimoku_span_b mfi_10 atr_10 roc_6 "
    "sma_7 sma_14 sma_21 ema_7 ema_14 ema_21 obv"
)


def test_the_default_list_has_the_designs_columns() -> None:
    assert list(columns(choose([]))) == DEFAULT.split()


def test_a_choice_survives_being_split_at_commas() -> None:
    whole = choose(["macd(12,26,9)", "rsi(5)", "obv", "bbands"])
    assert whole == choose(["macd(12", "26", "9)", "rsi(5)", "obv", "bbands"])
    assert list(columns(whole)) == [
        "macd_12_26_9",
        "macd_signal_12_26_9",
        "macd_histogram_12_26_9",
        "rsi_5",
        "obv",
        "bbands_lower",
        "bbands_middle",
        "bbands_upper",
    ]


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("rsj(14)", "did you mean rsi"),
        ("rsi(14,3)", r"takes 1 period of.*write rsi\(9\)"),
        ("rsi(0)", "1 to 1500"),
        ("rsi(-1)", "takes 1 period"),
        ("obv(3)", "takes no periods"),
        ("rsi(", "can't be read"),
        ("rsi(14)(14)", "can't be read"),
        ("rsi(14),rsi(14)", "twice"),
    ],
)
def test_a_mistake_is_refused_with_the_remedy(term: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        choose([term])
