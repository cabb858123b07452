"""Settings of the prediction API."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from pricecast_core.settings.base import ServiceSettings
from pricecast_core.values import PipelineId


class PredictionApiSettings(ServiceSettings):
    """Where predictions are read from, and where they are served."""

    pipeline: PipelineId | Literal[""] = Field("", description="Pipeline served; empty serves all of the store")
    grpc_host: str = Field("127.0.0.1", description="Address that gRPC listens on")
    grpc_port: int = Field(50051, ge=0, le=65535, description="Port of gRPC; 0 takes a free one")
    api_host: str = Field("127.0.0.1", description="Address that the HTTP gateway listens on")
    api_port: int = Field(
        8000, ge=0, le=65535, description="Port of the HTTP gateway and the web page; 0 takes a free one"
    )
    prediction_store: Literal["sql", "elasticsearch"] = Field("sql", description="Kind of prediction store")
    prediction_store_url: SecretStr = Field(
        SecretStr("sqlite:///.pricecast/predictions.db"),
        description="SQLAlchemy URL, or Elasticsearch's http(s)://HOST:PORT",
    )
    elasticsearch_api_key: SecretStr | None = Field(None, description="API key of Elasticsearch")
    max_staleness_seconds: float = Field(1.0, gt=0, le=60, description="Oldest answer given from memory")
    refresh_seconds: float = Field(
        0.1, gt=0, le=60, description="Pause between two reads of the store: how soon a new prediction is seen"
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file of the server's certificate; none serves plain text"
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> PredictionApiSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate, tls_key: one is set without the other; set both, or neither")
        return self
