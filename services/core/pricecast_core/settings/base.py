"""What every service can be told, and the one function that reads it.

Settings are plain models: what they are given and no more. `load` alone looks at the environment: at the document that
`PRICECAST_SETTINGS` names, and at variables called like the fields in upper case.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from pricecast_core.errors import SettingsError
from pricecast_core.indicators import COMMA
from pricecast_core.kafka import VARIABLES, Kafka, Mechanism, Protocol, secured
from pricecast_core.values import DISTINCT, Horizon, PipelineId, ReadCoin, ReadPair

DOCUMENT_VARIABLE = "PRICECAST_SETTINGS"
"""The variable that names a process's settings document: a JSON object, keyed by the names of the fields."""
ANYWHERE = "https://internet.invalid"
"""Stands for HTTPS to any public address."""


PairList = Annotated[list[ReadPair], DISTINCT]
CoinList = Annotated[list[ReadCoin], DISTINCT]
HorizonList = Annotated[list[Horizon], DISTINCT]


class ServiceSettings(BaseModel):
    """Settings that every service has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pipeline: PipelineId = Field(
        description="The pipeline: NAMESPACE.NAME on a cluster, NAME on a laptop; prefix of its topics"
    )
    http_port: int = Field(
        8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics; 0 takes a free one"
    )
    http_host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 in a container")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level logged")
    log_style: Literal["json", "text"] = Field("json", description="`json` for machines, `text` for people")

    @classmethod
    def secrets(cls) -> list[str]:
        """Returns the names of the settings that are secret: they are never part of a document."""
        return [name for name, field in cls.model_fields.items() if _is_secret(field)]

    @property
    def addresses(self) -> list[str]:
        """URLs of the servers that it talks to beside Kafka and those in secrets; `ANYWHERE` is any public one."""
        return []

    def check_secrets(self) -> None:
        """Checks that the secrets which the other settings need are there; only a process that uses them has them.

        Raises:
            SettingsError: If one is missing or can't be used.
        """

    def document(self) -> dict[str, Any]:
        """Returns the settings document of a process: what was set, without defaults and secrets.

        Secrets reach a process as variables, by reference (a Kubernetes Secret, the caller's environment).
        """
        return self.model_dump(mode="json", exclude_unset=True, exclude=set(self.secrets()))


class StreamSettings(ServiceSettings):
    """Settings of a service that reads or writes topics."""

    kafka_brokers: str = Field(
        "127.0.0.1:9092", description="Kafka or Redpanda bootstrap servers, host:port[,host:port]"
    )
    kafka_protocol: Protocol = Field(
        "PLAINTEXT", description="Whether connections to Kafka are encrypted (SSL) and say who asks (SASL)"
    )
    kafka_mechanism: Mechanism = Field("SCRAM-SHA-512", description="How a connection says who asks")
    kafka_username: SecretStr | None = Field(None, description="User, for PLAIN and SCRAM")
    kafka_password: SecretStr | None = Field(None, description="Password of the user")
    kafka_ca: SecretStr | None = Field(
        None, description="Certificates (PEM) of who signs the brokers' ones; empty takes the system's"
    )
    kafka_certificate: SecretStr | None = Field(None, description="Certificate (PEM) of this client, for mutual TLS")
    kafka_key: SecretStr | None = Field(None, description="Private key (PEM) of the certificate")
    kafka_token_url: SecretStr | None = Field(None, description="Where tokens are had, for OAUTHBEARER")
    kafka_client_id: SecretStr | None = Field(None, description="Client that tokens are asked for")
    kafka_client_secret: SecretStr | None = Field(None, description="Secret of the client")
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

    def check_secrets(self) -> None:
        """Checks that there is all that Kafka asks for."""
        super().check_secrets()
        _ = self.kafka

    @property
    def kafka(self) -> Kafka:
        """Kafka, and what it takes to be let in.

        Raises:
            SettingsError: If something that it takes is missing.
        """
        given = {name: getattr(self, name.lower()) for name in VARIABLES}
        secrets = {name: value.get_secret_value() for name, value in given.items() if value is not None}
        return secured(self.kafka_brokers, self.kafka_protocol, self.kafka_mechanism, secrets)


S = TypeVar("S", bound=ServiceSettings)


def load(kind: type[S], environ: Mapping[str, str] = os.environ, **given: Any) -> S:
    """Reads the settings of this process, as `read` does, and checks that it has the secrets that they need.

    Raises:
        SettingsError: Naming each wrong or missing setting.
    """
    settings = read(kind, environ, **given)
    settings.check_secrets()
    return settings


def read(kind: type[S], environ: Mapping[str, str] = os.environ, **given: Any) -> S:
    """Reads settings.

    A setting is taken from `given`, else from its own variable, else from the document, else it has its default. An
    empty variable counts as none. A variable for a list holds a JSON array or values separated by commas.

    Args:
        kind: The class of the settings.
        environ: Where variables are looked up.
        given: Settings that a command line gives.

    Raises:
        SettingsError: Naming each wrong setting, where it was read, its value and what is expected.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    document = environ.get(DOCUMENT_VARIABLE, "")
    if document:
        values = _read_document(kind, document)
        sources = {name: f"{document}: {name}" for name in values}
    for name, field in kind.model_fields.items():
        text = environ.get(name.upper(), "")
        if text:
            values[name] = _list_of(name, text) if get_origin(field.annotation) is list else text
            sources[name] = name.upper()
    values |= given
    for name in given:
        sources.pop(name, None)
    try:
        return kind(**values)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(kind, line, sources) for line in error.errors())) from None


def _read_document(kind: type[ServiceSettings], file: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(file).read_text())
    except OSError as error:
        raise SettingsError(
            f"{DOCUMENT_VARIABLE}: {file}: can't be read: {error.strerror}; name a file of JSON"
        ) from None
    except ValueError as error:
        raise SettingsError(f"{DOCUMENT_VARIABLE}: {file}: is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise SettingsError(f"{DOCUMENT_VARIABLE}: {file}: holds a {type(found).__name__}; write a JSON object")
    for name in found:
        if name not in kind.model_fields:
            raise SettingsError(f"{file}: {name}: is unknown; remove it. Known are {', '.join(kind.model_fields)}")
        if name in kind.secrets():
            raise SettingsError(f"{file}: {name}: is a secret; remove it, and set the variable {name.upper()} instead")
    return found


def _list_of(name: str, text: str) -> list[Any]:
    """Returns the list in a variable: a JSON array, or what stands between commas outside of parentheses."""
    if not text.startswith("["):
        return [part.strip() for part in COMMA.split(text) if part.strip()]
    try:
        found: list[Any] = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{name.upper()}: {text!r}: starts like a JSON array and is none: {error}") from None
    return found


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr.__name__ in str(field.annotation)


def _explain(kind: type[ServiceSettings], line: Any, sources: Mapping[str, str]) -> str:
    if not line["loc"]:  # a rule over several settings names them itself
        return str(line["msg"]).removeprefix("Value error, ")
    name = str(line["loc"][0])
    field = kind.model_fields.get(name)
    hint = f" ({field.description})" if field is not None and field.description else ""
    if line["type"] == "missing":
        return f"{name.upper()}: is not set; set it in the environment{hint}"
    value = "***" if field is not None and _is_secret(field) else repr(line["input"])
    return f"{sources.get(name, name.upper())}: {value}: {line['msg']}{hint}"
