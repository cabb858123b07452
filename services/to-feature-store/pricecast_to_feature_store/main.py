"""`pricecast-to-feature-store`: one stream of features into the store, each row announced once it is there."""

from __future__ import annotations

from typing import Any

from pricecast_core import service
from pricecast_core.health import Health
from pricecast_core.settings import ToFeatureStoreSettings
from pricecast_core.stores.open import open_feature_store
from pricecast_core.streaming import Stream, StreamTask
from pricecast_core.topics import FEATURES, NEWS_SIGNALS, TECHNICAL_INDICATORS
from pricecast_to_feature_store.task import SERVICE, IndicatorRowsTask, NewsSignalsTask


def work(settings: ToFeatureStoreSettings, health: Health, stop: service.Stop) -> None:
    """Runs the stream until asked to stop."""
    store = open_feature_store(settings)
    indicators = settings.group == "technical_indicators"
    kind = IndicatorRowsTask if indicators else NewsSignalsTask
    task: StreamTask[Any] = kind(settings.pipeline, store, settings.batch_rows)
    try:
        Stream(
            f"{SERVICE}-{settings.group.replace('_', '-')}",
            settings,
            source=TECHNICAL_INDICATORS if indicators else NEWS_SIGNALS,
            outputs=[FEATURES],
            task=task,
            health=health,
            stop=stop,
            exactly_once=False,
            commit_every=settings.batch_rows,
        ).run()
    finally:
        store.close()


def main() -> None:
    """Entry point of the console script."""
    service.run(SERVICE, ToFeatureStoreSettings, work)
