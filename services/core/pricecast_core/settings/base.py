"""What every service can be told, and how settings are read and written as environment variables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from pricecast_core.errors import SettingsError
from pricecast_core.values import DISTINCT, Horizon, PipelineName, ReadCoin, ReadPair


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _join(values: list[Any]) -> str:
    return ",".join(str(value) for value in values)


CommaSeparated = Annotated[list[str], NoDecode, BeforeValidator(_split), PlainSerializer(_join)]
PairList = Annotated[list[ReadPair], NoDecode, BeforeValidator(_split), PlainSerializer(_join), DISTINCT]
CoinList = Annotated[list[ReadCoin], NoDecode, BeforeValidator(_split), PlainSerializer(_join), DISTINCT]
HorizonList = Annotated[list[Horizon], NoDecode, BeforeValidator(_split), PlainSerializer(_join), DISTINCT]

_environment_counts = ContextVar("environment_counts", default=True)


@contextmanager
def from_values_alone() -> Iterator[None]:
    """Settings made within are what they are given: who plans for another process has an environment of its own."""
    token = _environment_counts.set(False)
    try:
        yield
    finally:
        _environment_counts.reset(token)


class ServiceSettings(BaseSettings):
    """Settings that every service has."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    pipeline: PipelineName = Field(description="Name of the pipeline; prefix of its topics")
    http_port: int = Field(
        8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics; 0 takes a free one"
    )
    http_host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 in a container")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level logged")
    log_style: Literal["json", "text"] = Field("json", description="`json` for machines, `text` for people")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads values given and, but for `from_values_alone`, the environment."""
        return (init_settings, env_settings) if _environment_counts.get() else (init_settings,)

    def to_env(self) -> dict[str, str]:
        """Returns the environment that gives these settings, without those left at their defaults.

        Secrets are left out: they reach a process by reference (a Kubernetes Secret, the caller's environment).
        """
        env: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr) or value is None or name not in self.model_fields_set:
                continue
            dumped = self.model_dump(mode="json", include={name})[name]
            env[name.upper()] = dumped if isinstance(dumped, str) else json.dumps(dumped)
        return env


class StreamSettings(ServiceSettings):
    """Settings of a service that reads or writes topics."""

    kafka_brokers: str = Field(
        "127.0.0.1:9092", description="Kafka or Redpanda bootstrap servers, host:port[,host:port]"
    )
    instance: str = Field(
        "",
        pattern=r"^[-a-zA-Z0-9_.]*$",
        description="Name of this replica, unique and stable (trades-0): a restart then takes over at once from the "
        "process before it, instead of after its session times out; empty where there is none",
    )
    commit_interval_seconds: float = Field(
        0.05,
        gt=0,
        le=60,
        description="Time between commits: bounds the latency of a hop and the work redone after a crash",
    )
    state_dir: Path = Field(
        Path(".pricecast/state"), description="Folder of the local state; rebuilt from the changelog"
    )
    stall_timeout_seconds: float = Field(
        120, ge=5, description="Unhealthy after so long without progress while messages are waiting"
    )
    auto_offset_reset: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a new consumer group starts"
    )


S = TypeVar("S", bound=ServiceSettings)


def load(kind: type[S], **given: Any) -> S:
    """Reads the settings from the environment.

    Args:
        kind: The class of the settings.
        given: Settings that a command line gives, instead of the environment's.

    Raises:
        SettingsError: Naming each wrong variable, its value and what is expected.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(kind, line) for line in error.errors())) from None


def _explain(kind: type[ServiceSettings], line: Any) -> str:
    if not line["loc"]:  # a rule over several settings names them itself
        return str(line["msg"]).removeprefix("Value error, ")
    name = str(line["loc"][0])
    field = kind.model_fields.get(name)
    hint = f" ({field.description})" if field is not None and field.description else ""
    if line["type"] == "missing":
        return f"{name.upper()}: is not set; set it in the environment{hint}"
    value = "***" if field is not None and "Secret" in str(field.annotation) else repr(line["input"])
    return f"{name.upper()}: {value}: {line['msg']}{hint}"
