"""The feature view: what a pair's model reads, joined in time, the same for training and serving."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.features import FeatureStore, group_name
from pricecast_core.values import base_coin
from pricecast_price_predictor import features, grid
from pricecast_price_predictor.features import FeatureSpec, FeatureTable

NEWS_ROWS = 5_000
"""Newest signals of a coin that are looked at: far more than the day that features reach back."""


@dataclass(frozen=True)
class FeatureView:
    """Rows of a pair and of what helps to predict it.

    Attributes:
        candle_seconds: Step of the rows.
        rows: The pair's rows, by event time.
        companions: Rows of the companion pairs.
        news: Signals of the pair's coin by the model that the settings name; None without news.
    """

    candle_seconds: int
    rows: pl.DataFrame
    companions: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    news: pl.DataFrame | None = None

    @functools.cached_property
    def regular(self) -> pl.DataFrame:
        """The pair's rows on their grid."""
        return grid.regular(self.rows, self.candle_seconds)

    def table(self, spec: FeatureSpec, last: int | None = None) -> FeatureTable:
        """Returns the features of the last rows; by default of all."""
        companions = {
            pair: grid.regular(rows, self.candle_seconds)
            for pair, rows in self.companions.items()
            if pair in spec.companions and not rows.is_empty()
        }
        return features.compute(spec, self.regular, companions, self.news, last=last)


def spec_of(settings: PricePredictorSettings, store: FeatureStore, pair: str) -> FeatureSpec:
    """Returns the features that a pair's model is trained on: all that the store has."""
    return FeatureSpec(
        candle_seconds=settings.candle_seconds,
        indicators=features.indicator_columns(store.columns(indicators_group(settings))),
        companions=companions_of(settings, pair),
        news=bool(settings.news_model),
    )


def companions_of(settings: PricePredictorSettings, pair: str) -> tuple[str, ...]:
    """Returns the companions of a pair: never itself."""
    return tuple(companion for companion in settings.companion_pairs if companion != pair)


def indicators_group(settings: PricePredictorSettings) -> str:
    """Returns the full name of the group of candles and indicators."""
    return group_name(settings.pipeline, "technical_indicators")


def read_rows(
    settings: PricePredictorSettings,
    store: FeatureStore,
    pairs: list[str],
    *,
    start_ms: int | None = None,
    last: int | None = None,
) -> dict[str, pl.DataFrame]:
    """Returns rows of several pairs in one call, by pair; a pair without rows has an empty frame.

    Args:
        settings: Of the pipeline.
        store: Where the rows are.
        pairs: Which pairs.
        start_ms: Earliest event time, inclusive.
        last: Only the newest so many of each pair.
    """
    frame = store.read(indicators_group(settings), entities=pairs, start_ms=start_ms, last=last)
    if frame.is_empty():
        return dict.fromkeys(pairs, pl.DataFrame())
    frame = frame.filter(pl.col("candle_seconds") == settings.candle_seconds)
    return {pair: frame.filter(pl.col("pair") == pair) for pair in pairs}


def read_news(
    settings: PricePredictorSettings, store: FeatureStore, pair: str, *, last: int | None = NEWS_ROWS
) -> pl.DataFrame | None:
    """Returns signals of the pair's coin by the model of the settings; None without news.

    Args:
        settings: Of the pipeline.
        store: Where the signals are.
        pair: The pair.
        last: Only the newest so many; None for all, which rows of long ago need.
    """
    if not settings.news_model:
        return None
    group = group_name(settings.pipeline, "news_signals")
    frame = store.read(group, entities=[base_coin(pair)], last=last)
    if frame.is_empty():
        return frame
    return frame.filter(pl.col("model_name") == settings.news_model).select("timestamp_ms", "signal")


def read(
    settings: PricePredictorSettings, store: FeatureStore, pair: str, *, start_ms: int | None = None
) -> FeatureView:
    """Returns the view of a pair from a time on."""
    companions = companions_of(settings, pair)
    rows = read_rows(settings, store, [pair, *companions], start_ms=start_ms)
    return FeatureView(
        settings.candle_seconds,
        rows[pair],
        {companion: rows[companion] for companion in companions},
        read_news(settings, store, pair, last=None),
    )
