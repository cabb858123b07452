"""Settings of the prediction API."""

from __future__ import annotations

import ipaddress
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
    feature_store_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the feature store that candles and news are shown from; none shows none"
    )
    model_registry_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the model registry that models' history is shown from; none shows none"
    )
    state_file: Path | None = Field(
        None, description="File in which the local supervisor tells how the pipeline's processes fare; none shows none"
    )
    max_staleness_seconds: float = Field(1.0, gt=0, le=60, description="Oldest answer given from memory")
    refresh_seconds: float = Field(
        0.1, gt=0, le=60, description="Pause between two reads of the store: how soon a new prediction is seen"
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file of the server's certificate; none serves plain text"
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of the authorities whose client certificates are let in; none asks for none"
    )
    api_tokens_file: Path | None = Field(
        None, description="File of bearer tokens, made by `pricecast token`; read again when it changes"
    )
    oidc_issuer: str = Field(
        "", pattern=r"^(https?://\S+)?$", description="OpenID Connect issuer whose JSON Web Tokens are accepted"
    )
    oidc_audience: str = Field("", description="Audience that its tokens must name")
    oidc_keys_url: str = Field(
        "", pattern=r"^(https?://\S+)?$", description="Where its keys are; empty asks its discovery document"
    )
    oidc_pipelines_claim: str = Field(
        "pricecast_pipelines",
        min_length=1,
        description="Claim that lists patterns of the pipelines that the holder may see: `btc`, `team-a.*`, `*`",
    )
    anonymous: bool = Field(
        False, description="Whether everyone may ask where others than this machine can: for no tokens and no issuer"
    )
    requests_per_second: float = Field(
        0, ge=0, description="Requests that each address may make where no token is asked for; 0 sets no limit"
    )
    mcp: bool = Field(
        False,
        description="Whether agents are served at /mcp (Model Context Protocol, streamable HTTP); 60 MB more memory",
    )
    cors_origins: list[str] = Field(
        [], description="Origins whose web pages may ask, such as `https://desk.example`; `*` is any"
    )
    max_connections: int = Field(2000, ge=1, description="HTTP connections at a time; more are answered 503")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> PredictionApiSettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate, tls_key: one is set without the other; set both, or neither")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca: client certificates need TLS; set tls_certificate and tls_key, too")
        return self

    @model_validator(mode="after")
    def _access_is_whole(self) -> PredictionApiSettings:
        if bool(self.oidc_issuer) != bool(self.oidc_audience):
            raise ValueError("oidc_issuer, oidc_audience: one is set without the other; set both, or neither")
        asks = self.api_tokens_file is not None or self.oidc_issuer or self.tls_client_ca is not None
        reached = {host for host in (self.api_host, self.grpc_host) if not _is_loopback(host)}
        if self.anonymous and asks:
            raise ValueError("anonymous: true: but tokens or certificates are asked for; remove one of the two")
        if reached and not asks and not self.anonymous:
            raise ValueError(
                f"api_host, grpc_host: {', '.join(sorted(reached))}: others can reach it, and nothing says who may ask; "
                "set api_tokens_file (`pricecast token` makes one) or oidc_issuer, or anonymous to let in everyone"
            )
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
