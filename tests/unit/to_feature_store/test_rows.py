"""Rows fit their groups, whatever the message holds."""

from __future__ import annotations

from pricecast_core.messages import IndicatorRow, NewsSignal
from pricecast_core.stores.features import news_signals_group, technical_indicators_group
from pricecast_to_feature_store.rows import indicator_row, news_signal_row

START_MS = 1_767_225_600_000


def test_an_indicator_row_has_exactly_the_groups_columns() -> None:
    message = IndicatorRow(
        pair="BTC/USD",
        coin="BTC",
        open=1.0,
        high=2.0,
        low=0.5,
        close=1.5,
        volume=3.0,
        trade_count=4,
        window_start_ms=START_MS,
        window_end_ms=START_MS + 60_000,
        candle_seconds=60,
        indicators={"rsi_14": 51.5, "obv": -2.0},
    )
    row = indicator_row(message)
    assert list(row) == list(technical_indicators_group("btc", ["rsi_14", "obv"]).columns)
    assert row["rsi_14"] == 51.5
    assert row["window_end_ms"] == START_MS + 60_000


def test_a_news_row_has_the_groups_columns_and_no_character_that_a_store_refuses() -> None:
    message = NewsSignal(
        coin="BTC", signal=-1, model_name="m\0odel", news_id="1\0", timestamp_ms=START_MS, reasoning="a\0b"
    )
    row = news_signal_row(message)
    assert set(row) == set(news_signals_group("btc").columns)
    assert (row["model_name"], row["news_id"], row["reasoning"]) == ("model", "1", "ab")
