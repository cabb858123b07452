"""Where a pipeline's streams, features, models and predictions live: part of the `PricePipeline` resource."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from pricecast_core.settings.price_predictor import PricePredictorSettings
from pricecast_core.settings.to_feature_store import FeatureStoreSettings
from pricecast_core.values import BROKERS, HOST_NAME, URL_LENGTH, HttpUrl, whole
from pricecast_resources.base import Model, SecretKeyRef, of_setting, rule, rules


class KafkaStorage(Model):
    """Kafka or Redpanda."""

    brokers: str = Field(
        "redpanda.redpanda.svc:9093",
        pattern=whole(BROKERS),
        max_length=URL_LENGTH,
        examples=["HOST:PORT", "HOST:PORT,HOST:PORT"],
        description="Bootstrap servers, host:port, comma separated.",
    )


class HopsworksStorage(Model):
    """A project of Hopsworks."""

    host: str = Field(
        pattern=whole(HOST_NAME),
        max_length=253,
        examples=["eu-west.cloud.hopsworks.ai"],
        description="Host of Hopsworks, without https://.",
    )
    port: int = of_setting(FeatureStoreSettings, "hopsworks_port", "Port of Hopsworks.")
    project: str = Field(
        pattern=r"^[A-Za-z0-9_]{1,63}$", max_length=63, description="Project whose feature store is used."
    )
    api_key_secret_ref: SecretKeyRef = Field(
        description="Where its API key is, with the scopes project, featurestore, kafka and job."
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        None, description="Where the PEM of the authority that signed its certificate is, if no public one did."
    )


class FeatureStorage(Model):
    """Feature store in SQL, or in Hopsworks."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.kind == 'Hopsworks') == has(self.hopsworks)",
                "must be given if, and only if, kind is Hopsworks",
                "hopsworks",
            )
        )
    )

    kind: Literal["SQL", "Hopsworks"] = Field("SQL", description="Kind of feature store.")
    url_secret_ref: SecretKeyRef = Field(
        default_factory=lambda: SecretKeyRef(name="pricecast-storage", key="sql-url"),
        description="Where the SQLAlchemy URL is.",
    )
    hopsworks: HopsworksStorage | None = Field(None, description="The project, if kind is Hopsworks.")

    @model_validator(mode="after")
    def _hopsworks_is_described(self) -> FeatureStorage:
        if (self.kind == "Hopsworks") != (self.hopsworks is not None):
            raise ValueError("hopsworks: must be given if, and only if, kind is Hopsworks")
        return self


class CometStorage(Model):
    """A project of Comet."""

    url: HttpUrl = of_setting(PricePredictorSettings, "comet_url", "Address of Comet.")
    workspace: str = Field("", max_length=253, description="Workspace; empty means the account's default.")
    project: str = Field(
        "pricecast", min_length=1, max_length=253, description="Project that trainings are experiments of."
    )
    api_key_secret_ref: SecretKeyRef = Field(description="Where its API key is.")


class ModelStorage(Model):
    """Model registry in SQL, or in Comet."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("(self.kind == 'Comet') == has(self.comet)", "must be given if, and only if, kind is Comet", "comet")
        )
    )

    kind: Literal["SQL", "Comet"] = Field("SQL", description="Kind of model registry.")
    url_secret_ref: SecretKeyRef = Field(
        default_factory=lambda: SecretKeyRef(name="pricecast-storage", key="sql-url"),
        description="Where the SQLAlchemy URL is.",
    )
    comet: CometStorage | None = Field(None, description="The project, if kind is Comet.")

    @model_validator(mode="after")
    def _comet_is_described(self) -> ModelStorage:
        if (self.kind == "Comet") != (self.comet is not None):
            raise ValueError("comet: must be given if, and only if, kind is Comet")
        return self


class PredictionStorage(Model):
    """Elasticsearch."""

    url: HttpUrl = Field("http://elasticsearch-master.elasticsearch.svc:9200", description="Address of Elasticsearch.")
    api_key_secret_ref: SecretKeyRef | None = Field(None, description="Where its API key is.")


class Storage(Model):
    """Servers that the pipeline uses. `pricecast up` ignores them: it runs on embedded stores."""

    kafka: KafkaStorage = Field(default_factory=KafkaStorage, description="Streams.")
    features: FeatureStorage = Field(default_factory=FeatureStorage, description="Features.")
    models: ModelStorage = Field(default_factory=ModelStorage, description="Models.")
    predictions: PredictionStorage = Field(default_factory=PredictionStorage, description="Predictions.")


class Topics(Model):
    """The pipeline's topics."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(oldSelf.partitions) || has(self.partitions) && self.partitions == oldSelf.partitions",
                "is immutable: keys would move to other partitions, away from their state; make another pipeline",
                "partitions",
            ),
            rule("self.replicationFactor == oldSelf.replicationFactor", "is immutable", "replicationFactor"),
        )
    )

    partitions: int | None = Field(
        None,
        ge=1,
        le=1_000,
        description="Partitions of each topic: the most replicas that share work. Without it, one for each pair up to 12, and "
        "no fewer than the replicas and the autoscaling of the spec that the pipeline begins with.",
    )
    replication_factor: int = Field(1, ge=1, le=9, description="Copies of each partition.")
    deletion_policy: Literal["Retain", "Delete"] = Field(
        "Retain", description="What becomes of the topics when the pipeline is deleted."
    )
