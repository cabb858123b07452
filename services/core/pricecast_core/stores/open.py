"""Chooses the adapter of each store from the settings. Client libraries are imported only by the adapter chosen."""

from __future__ import annotations

from pricecast_core.errors import SettingsError
from pricecast_core.settings.prediction_api import PredictionApiSettings
from pricecast_core.settings.price_predictor import PredictionStoreSettings, PricePredictorSettings
from pricecast_core.settings.to_feature_store import FeatureStoreSettings
from pricecast_core.stores.features import FeatureStore
from pricecast_core.stores.hopsworks import HopsworksAccess
from pricecast_core.stores.models import ModelRegistry
from pricecast_core.stores.predictions import PredictionStore


def open_feature_store(settings: FeatureStoreSettings) -> FeatureStore:
    """Opens the store of features. It connects with the first call.

    Raises:
        SettingsError: If the kind or the URL can't be used.
    """
    if settings.feature_store == "sql":
        from pricecast_core.stores.features_sql import SqlFeatureStore

        return SqlFeatureStore(settings.feature_store_url.get_secret_value())
    from pricecast_core.stores.features_hopsworks import HopsworksFeatureStore

    return HopsworksFeatureStore(_hopsworks(settings))


def _hopsworks(settings: FeatureStoreSettings) -> HopsworksAccess:
    for name in ("hopsworks_host", "hopsworks_project", "hopsworks_api_key"):
        if not getattr(settings, name):
            raise SettingsError(f"{name.upper()}: is not set; the feature store hopsworks needs it")
    key, ca = settings.hopsworks_api_key, settings.hopsworks_ca
    return HopsworksAccess(
        host=settings.hopsworks_host,
        port=settings.hopsworks_port,
        project=settings.hopsworks_project,
        api_key=key.get_secret_value() if key else "",
        ca=ca.get_secret_value() if ca else "",
    )


def open_model_registry(settings: PricePredictorSettings) -> ModelRegistry:
    """Opens the registry of trained models.

    Raises:
        SettingsError: If the kind or the URL can't be used.
        StoreError: If the store can't be reached.
    """
    if settings.model_registry == "sql":
        from pricecast_core.stores.models_sql import SqlModelRegistry

        return SqlModelRegistry(settings.model_registry_url.get_secret_value())
    if settings.comet_api_key is None:
        from pricecast_core.stores.models_comet_offline import ArchivingModelRegistry

        return ArchivingModelRegistry(
            settings.model_registry_url.get_secret_value(),
            settings.comet_url,
            settings.comet_project,
            settings.comet_archive_dir,
        )
    from pricecast_core.stores.models_comet import CometAccess, CometModelRegistry

    return CometModelRegistry(
        CometAccess(
            url=settings.comet_url,
            workspace=settings.comet_workspace,
            project=settings.comet_project,
            api_key=settings.comet_api_key.get_secret_value(),
        )
    )


def open_prediction_store(settings: PredictionStoreSettings | PredictionApiSettings) -> PredictionStore:
    """Opens the store of predictions. It connects with the first call.

    Raises:
        SettingsError: If the URL can't be used.
    """
    url = settings.prediction_store_url.get_secret_value()
    if settings.prediction_store == "sql":
        from pricecast_core.stores.predictions_sql import SqlPredictionStore

        return SqlPredictionStore(url)
    from pricecast_core.stores.predictions_elasticsearch import ElasticsearchPredictionStore

    key = settings.elasticsearch_api_key
    return ElasticsearchPredictionStore(url, api_key=key.get_secret_value() if key else None)
