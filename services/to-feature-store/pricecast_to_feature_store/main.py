"""`pricecast-to-feature-store`: one stream of features into the store, each row announced once it is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pricecast_core import service
from pricecast_core.health import Health
from pricecast_core.services import NEWS_FEATURES, TO_FEATURE_STORE, Service
from pricecast_core.settings import ToFeatureStoreSettings
from pricecast_core.stores.open import open_feature_store
from pricecast_core.streaming import Stream, StreamTask
from pricecast_to_feature_store.task import SERVICE, IndicatorRowsTask, NewsSignalsTask

_ROLES: dict[str, tuple[Service, Callable[..., StreamTask[Any]]]] = {
    "technical_indicators": (TO_FEATURE_STORE, IndicatorRowsTask),
    "news_signals": (NEWS_FEATURES, NewsSignalsTask),
}
"""By feature group: what the service is in a pipeline, and its work."""


def work(settings: ToFeatureStoreSettings, health: Health, stop: service.Stop) -> None:
    """Runs the stream until asked to stop."""
    store = open_feature_store(settings)
    role, kind = _ROLES[settings.group]
    task: StreamTask[Any] = kind(settings.pipeline, store, settings.batch_rows)
    try:
        Stream(role, settings, task, health, stop, exactly_once=False, commit_every=settings.batch_rows).run()
    finally:
        store.close()


def main() -> None:
    """Entry point of the console script."""
    service.run(SERVICE, ToFeatureStoreSettings, work)
