"""Settings of the to-feature-store service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from pricecast_core.settings.base import StreamSettings

HOPSWORKS_PORTS = (3306, 5005, 9092)
"""Ports of the online store, the query service and Kafka, beside that of the REST API."""


class FeatureStoreSettings(StreamSettings):
    """Where features are kept."""

    feature_store: Literal["sql", "hopsworks"] = Field("sql", description="Kind of feature store")
    feature_store_url: SecretStr = Field(
        SecretStr("sqlite:///.pricecast/features.db"),
        description="SQLAlchemy URL: sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DB",
    )
    hopsworks_host: str = Field("", description="Host of Hopsworks, without https://")
    hopsworks_port: int = Field(443, ge=1, le=65535, description="Port of Hopsworks")
    hopsworks_project: str = Field("", description="Project of Hopsworks whose feature store is used")
    hopsworks_api_key: SecretStr | None = Field(None, description="API key of Hopsworks")
    hopsworks_ca: SecretStr | None = Field(
        None, description="PEM of the authority that signed Hopsworks' certificate, where the machine doesn't trust it"
    )

    @property
    def addresses(self) -> list[str]:
        """Where Hopsworks' REST API, online store, query service and Kafka listen."""
        if self.feature_store != "hopsworks":
            return super().addresses
        return [f"https://{self.hopsworks_host}:{port}" for port in (self.hopsworks_port, *HOPSWORKS_PORTS)]


class ToFeatureStoreSettings(FeatureStoreSettings):
    """Which stream is stored, and as which group."""

    group: Literal["technical_indicators", "news_signals"] = Field(
        "technical_indicators", description="Feature group to write: decides the topic that is read"
    )
    batch_rows: int = Field(5_000, ge=1, le=100_000, description="Most rows in one write")
