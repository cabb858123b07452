"""The servers that a pipeline's processes use on a cluster: what `spec.storage` names, secrets by reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pricecast_resources.plan import Access
from pricecast_resources.storage import KafkaStorage, Storage


@dataclass(frozen=True, slots=True)
class ClusterBackends:
    """The `Backends` of a pipeline on a cluster.

    Attributes:
        storage: The spec's storage.
    """

    storage: Storage

    @property
    def kafka(self) -> KafkaStorage:
        """Kafka, and where its credentials are."""
        return self.storage.kafka

    @property
    def prediction_store(self) -> Literal["sql", "elasticsearch"]:
        """Kind of the prediction store."""
        return "elasticsearch"

    def features(self) -> Access:
        """Variables that give access to the feature store."""
        store = self.storage.features
        if store.hopsworks is None:
            return {"FEATURE_STORE_URL": store.url_secret_ref}
        ca = store.hopsworks.ca_secret_ref
        return {
            "HOPSWORKS_API_KEY": store.hopsworks.api_key_secret_ref,
            **({"HOPSWORKS_CA": ca} if ca is not None else {}),
        }

    def models(self) -> Access:
        """Variables that give access to the model registry."""
        models = self.storage.models
        if models.comet is None:
            return {"MODEL_REGISTRY_URL": models.url_secret_ref}
        return {"COMET_API_KEY": models.comet.api_key_secret_ref}

    def predictions(self) -> Access:
        """Variables that give access to Elasticsearch."""
        key = self.storage.predictions.api_key_secret_ref
        return {
            "PREDICTION_STORE_URL": self.storage.predictions.url,
            **({"ELASTICSEARCH_API_KEY": key} if key is not None else {}),
        }

    def news_cache(self) -> Access:
        """Variables that give access to the cache of news signals: beside the features in SQL, else the pod's own."""
        store = self.storage.features
        return {"CACHE_URL": store.url_secret_ref} if store.hopsworks is None else {}
