"""The contract of `FeatureStore`. A subclass gives the fixture `open_store`: each call opens one more client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pricecast_core.errors import StoreError
from pricecast_core.stores.features import (
    FeatureGroup,
    FeatureStore,
    news_signals_group,
    technical_indicators_group,
)

START_MS = 1_767_225_600_000
MINUTE_MS = 60_000
GROUP = technical_indicators_group("btc-live", ["rsi_14", "obv"])
OpenStore = Callable[[], FeatureStore]


def a_row(minute: int = 0, pair: str = "BTC/USD", **changes: Any) -> dict[str, Any]:
    """Returns the row of the candle that ends at the given minute."""
    row: dict[str, Any] = {
        "pair": pair,
        "candle_seconds": 60,
        "window_start_ms": START_MS + (minute - 1) * MINUTE_MS,
        "window_end_ms": START_MS + minute * MINUTE_MS,
        "open": 50_000.1 + minute,
        "high": 50_010.2 + minute,
        "low": 49_990.3 + minute,
        "close": 50_001.4 + minute,
        "volume": 0.1 + 0.2,
        "trade_count": minute,
        "rsi_14": 1 / 3,
        "obv": -1e-9,
    }
    return {**row, **changes}


class FeatureStoreContract:
    @pytest.fixture
    def store(self, open_store: OpenStore) -> FeatureStore:
        store = open_store()
        store.ensure(GROUP)
        return store

    def test_rows_come_back_bit_for_bit_by_pair_and_time(self, store: FeatureStore) -> None:
        rows = [a_row(minute, pair) for pair in ("ETH/USD", "BTC/USD") for minute in (3, 1, 2)]
        store.write(GROUP, rows)
        expected = sorted(rows, key=lambda row: (row["pair"], row["window_end_ms"]))
        assert store.read(GROUP.name).rows(named=True) == expected

    def test_writing_again_changes_nothing_and_a_newer_value_replaces(self, store: FeatureStore) -> None:
        store.write(GROUP, [a_row(1), a_row(2)])
        store.write(GROUP, [a_row(2), a_row(1, rsi_14=70.0)])
        assert store.count(GROUP.name, "BTC/USD") == 2
        assert store.read(GROUP.name)["rsi_14"].to_list() == [70.0, 1 / 3]

    def test_a_key_twice_in_one_batch_keeps_the_later_row(self, store: FeatureStore) -> None:
        store.write(GROUP, [a_row(1, rsi_14=1.0), a_row(1, rsi_14=2.0)])
        assert store.read(GROUP.name)["rsi_14"].to_list() == [2.0]

    def test_reads_are_bounded_by_pairs_and_inclusive_times(self, store: FeatureStore) -> None:
        store.write(GROUP, [a_row(minute, pair) for pair in ("A0/USD", "B0/USD", "C0/USD") for minute in range(10)])
        frame = store.read(
            GROUP.name,
            entities=["C0/USD", "A0/USD"],
            start_ms=START_MS + 2 * MINUTE_MS,
            end_ms=START_MS + 4 * MINUTE_MS,
        )
        assert frame.select("pair", "trade_count").rows() == [
            (pair, minute) for pair in ("A0/USD", "C0/USD") for minute in (2, 3, 4)
        ]
        assert store.read(GROUP.name, entities=[]).is_empty()

    @pytest.mark.parametrize("entities", [None, ["A0/USD", "B0/USD", "B0/USD", "NONE/USD"]])
    def test_last_gives_the_newest_rows_of_each_pair_in_order_of_time(
        self, store: FeatureStore, entities: list[str] | None
    ) -> None:
        store.write(GROUP, [a_row(minute, pair) for pair in ("A0/USD", "B0/USD") for minute in range(10)])
        frame = store.read(GROUP.name, entities=entities, end_ms=START_MS + 7 * MINUTE_MS, last=2)
        assert frame.columns == list(GROUP.columns)
        assert frame.select("pair", "trade_count").rows() == [
            (pair, minute) for pair in ("A0/USD", "B0/USD") for minute in (6, 7)
        ]

    def test_an_unknown_group_is_empty(self, store: FeatureStore) -> None:
        assert store.read("nothing").is_empty()
        assert store.columns("nothing") == []
        assert store.count("nothing", "BTC/USD") == 0

    def test_an_empty_group_has_its_columns_and_types(self, store: FeatureStore) -> None:
        empty, one = store.read(GROUP.name), None
        store.write(GROUP, [a_row()])
        one = store.read(GROUP.name)
        assert empty.schema == one.schema
        assert store.columns(GROUP.name) == list(GROUP.columns)

    def test_a_grown_group_gains_columns_and_older_rows_have_nulls_there(
        self, store: FeatureStore, open_store: OpenStore
    ) -> None:
        store.write(GROUP, [a_row(1)])
        assert store.read(GROUP.name).height == 1
        grown = technical_indicators_group("btc-live", ["rsi_14", "obv", "sma_50"])
        other = open_store()
        other.ensure(grown)
        other.write(grown, [a_row(2, sma_50=5.0)])
        assert store.read(GROUP.name)["sma_50"].to_list() == [None, 5.0]
        store.ensure(GROUP)  # an older writer takes nothing away
        assert store.columns(GROUP.name)[-1] == "sma_50"

    def test_a_column_that_the_group_lacks_is_refused_whole(self, store: FeatureStore) -> None:
        with pytest.raises(StoreError, match="cci_20"):
            store.write(GROUP, [a_row(1), a_row(2, cci_20=1.0)])
        assert store.count(GROUP.name, "BTC/USD") == 0

    def test_news_signals_are_kept_by_headline_coin_and_model(self, store: FeatureStore) -> None:
        group = news_signals_group("btc-live")
        store.ensure(group)
        row = {"coin": "BTC", "model_name": "m", "timestamp_ms": START_MS, "signal": -1, "reasoning": "Ärger; drop'"}
        rows = [{**row, "news_id": "1"}, {**row, "news_id": "2"}, {**row, "news_id": "2", "model_name": "n"}]
        store.write(group, rows)
        store.write(group, rows)
        assert store.count(group.name, "BTC") == 3
        assert set(store.read(group.name, entities=["BTC"], last=5)["reasoning"]) == {"Ärger; drop'"}

    def test_many_clients_may_ensure_and_write_at_once(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(4)]
        errors: list[Exception] = []

        def work(number: int) -> None:
            try:
                stores[number].ensure(GROUP)
                for start in range(0, 100, 10):
                    stores[number].write(GROUP, [a_row(start + i, f"P{number}/USD") for i in range(10)])
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert stores[0].read(GROUP.name).height == 400

    def test_a_group_is_found_by_its_name_by_a_client_that_knows_no_more(
        self, store: FeatureStore, open_store: OpenStore
    ) -> None:
        store.write(GROUP, [a_row(1)])
        assert open_store().read(GROUP.name).rows(named=True) == [a_row(1)]


__all__ = ["GROUP", "FeatureGroup", "FeatureStoreContract", "OpenStore", "a_row"]
