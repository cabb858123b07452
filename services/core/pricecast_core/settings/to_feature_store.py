"""Settings of the to-feature-store service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from pricecast_core.settings.base import StreamSettings


class FeatureStoreSettings(StreamSettings):
    """Where features are kept."""

    feature_store: Literal["sql", "hopsworks"] = Field("sql", description="Kind of feature store")
    feature_store_url: SecretStr = Field(
        SecretStr("sqlite:///.pricecast/features.db"),
        description="SQLAlchemy URL: sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DB",
    )


class ToFeatureStoreSettings(FeatureStoreSettings):
    """Which stream is stored, and as which group."""

    group: Literal["technical_indicators", "news_signals"] = Field(
        "technical_indicators", description="Feature group to write: decides the topic that is read"
    )
    batch_rows: int = Field(5_000, ge=1, le=100_000, description="Most rows in one write")
