"""Where a pipeline's streams, features, models and predictions live: part of the `PricePipeline` resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from pricecast_core.kafka import VARIABLES, Kafka, Mechanism, Protocol, needs, secured
from pricecast_core.settings.base import StreamSettings
from pricecast_core.settings.price_predictor import PricePredictorSettings
from pricecast_core.settings.to_feature_store import FeatureStoreSettings
from pricecast_core.values import BROKERS, HOST_NAME, URL_LENGTH, HttpUrl, whole
from pricecast_resources.base import Model, OptionalKey, SecretKeyRef, of_setting, rule, rules

_NEEDS_SECRET = ("must name the Secret of the user, which a protocol with SASL needs", "secretName")
_SECRET_UNUSED = ("has no use with protocol PLAINTEXT; set the protocol, or remove it", "secretName")
_CA_UNUSED = ("has no use without TLS; set protocol SSL or SASL_SSL, or remove it", "caSecretRef")


class KafkaStorage(Model):
    """Kafka or Redpanda."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!self.protocol.startsWith('SASL') || has(self.secretName)", *_NEEDS_SECRET),
            rule("self.protocol != 'PLAINTEXT' || !has(self.secretName)", *_SECRET_UNUSED),
            rule("self.protocol.endsWith('SSL') || !has(self.caSecretRef)", *_CA_UNUSED),
        )
    )

    brokers: str = Field(
        "redpanda.redpanda.svc:9093",
        pattern=whole(BROKERS),
        max_length=URL_LENGTH,
        examples=["HOST:PORT", "HOST:PORT,HOST:PORT"],
        description="Bootstrap servers, host:port, comma separated.",
    )
    protocol: Protocol = of_setting(
        StreamSettings, "kafka_protocol", "Whether connections are encrypted (SSL), and say who asks (SASL)."
    )
    mechanism: Mechanism = of_setting(StreamSettings, "kafka_mechanism", "How a connection says who asks, with SASL.")
    secret_name: str | None = Field(
        None,
        min_length=1,
        max_length=253,
        description="Secret of the pipeline's user: username and password for PLAIN and SCRAM; token-url, client-id and "
        "client-secret for OAUTHBEARER; tls.crt and tls.key for a client certificate; ca.crt, if no public authority "
        "signed the brokers' certificates.",
    )
    ca_secret_ref: SecretKeyRef | None = Field(
        None, description="Where the PEM of the brokers' authority is, if not in ca.crt of secretName."
    )

    @model_validator(mode="after")
    def _secrets_go_with_the_protocol(self) -> KafkaStorage:
        sasl, tls = self.protocol.startswith("SASL"), self.protocol.endswith("SSL")
        for wrong, (message, field) in (
            (sasl and self.secret_name is None, _NEEDS_SECRET),
            (self.protocol == "PLAINTEXT" and self.secret_name is not None, _SECRET_UNUSED),
            (not tls and self.ca_secret_ref is not None, _CA_UNUSED),
        ):
            if wrong:
                raise ValueError(f"{field}: {message}")
        return self

    @property
    def secrets(self) -> dict[str, SecretKeyRef]:
        """Where the credentials of a client are, by the variables that services read them from."""
        wanted = [*needs(self.protocol, self.mechanism)]
        optional = ["KAFKA_CA", "KAFKA_CERTIFICATE", "KAFKA_KEY"] if self.protocol.endswith("SSL") else []
        found: dict[str, SecretKeyRef] = {}
        if self.secret_name is not None:
            found |= {name: SecretKeyRef(name=self.secret_name, key=VARIABLES[name]) for name in wanted}
            found |= {name: OptionalKey(name=self.secret_name, key=VARIABLES[name]) for name in optional}
        if self.ca_secret_ref is not None:
            found["KAFKA_CA"] = self.ca_secret_ref
        return found

    def reached(self, secrets: Mapping[str, str]) -> Kafka:
        """Returns Kafka as a client reaches it.

        Args:
            secrets: Credentials, by variable.

        Raises:
            SettingsError: If one that it takes is missing or can't be used.
        """
        return secured(self.brokers, self.protocol, self.mechanism, secrets)

    @property
    def settings(self) -> dict[str, str]:
        """What a service is told, less the credentials."""
        return {
            "kafka_brokers": self.brokers,
            "kafka_protocol": self.protocol,
            "kafka_mechanism": self.mechanism,
        }


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
