"""How Kafka is reached: the bootstrap servers, and what proves who asks. The one place that knows a client's security."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pricecast_core.errors import SettingsError

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

VARIABLES: Mapping[str, str] = {
    "KAFKA_USERNAME": "username",
    "KAFKA_PASSWORD": "password",
    "KAFKA_CA": "ca.crt",
    "KAFKA_CERTIFICATE": "tls.crt",
    "KAFKA_KEY": "tls.key",
    "KAFKA_TOKEN_URL": "token-url",
    "KAFKA_CLIENT_ID": "client-id",
    "KAFKA_CLIENT_SECRET": "client-secret",
}
"""The variables that hold a client's credentials, and the keys of a Secret that has them: cert-manager's and Strimzi's."""
_PEM = {"KAFKA_CA": "ssl.ca.pem", "KAFKA_CERTIFICATE": "ssl.certificate.pem", "KAFKA_KEY": "ssl.key.pem"}


@dataclass(frozen=True, slots=True)
class Kafka:
    """A Kafka and what it takes to be let in.

    Attributes:
        brokers: Bootstrap servers.
        security: Settings of the client, in librdkafka's names; never shown.
    """

    brokers: str
    security: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.brokers


Brokers = str | Kafka
"""Bootstrap servers alone, where nobody asks who one is, or with what it takes."""


def connection(brokers: Brokers) -> dict[str, str]:
    """Returns the settings of a client that connects."""
    return {"bootstrap.servers": str(brokers), **dict(brokers.security if isinstance(brokers, Kafka) else ())}


def secured(brokers: str, protocol: Protocol, mechanism: Mechanism, secrets: Mapping[str, str]) -> Kafka:
    """Returns a Kafka that is reached by a protocol and a mechanism.

    Args:
        brokers: Bootstrap servers.
        protocol: Whether the connection is encrypted, and whether it says who asks.
        mechanism: How it says so.
        secrets: Credentials, by variable.

    Raises:
        SettingsError: If one that the mechanism needs is missing, or a certificate or key is no PEM.
    """
    if protocol == "PLAINTEXT":
        return Kafka(brokers)
    needed = needs(protocol, mechanism)
    for name in needed:
        if not secrets.get(name):
            raise SettingsError(f"{name}: is not set; KAFKA_PROTOCOL={protocol} needs it" + _with(protocol, mechanism))
    if bool(secrets.get("KAFKA_CERTIFICATE")) != bool(secrets.get("KAFKA_KEY")):
        raise SettingsError("KAFKA_CERTIFICATE, KAFKA_KEY: only one of them is set; set both, or none")
    for name in _PEM:
        if (text := secrets.get(name)) and "-----BEGIN " not in text:
            raise SettingsError(f"{name}: is no PEM; it begins with -----BEGIN, and is the text itself, not a path")
    found: dict[str, str] = {"security.protocol": protocol}
    if protocol.startswith("SASL"):
        found["sasl.mechanism"] = mechanism
        found |= _sasl(mechanism, secrets)
    if protocol.endswith("SSL"):
        found |= {setting: secrets[name] for name, setting in _PEM.items() if secrets.get(name)}
        found["ssl.endpoint.identification.algorithm"] = "https"
    return Kafka(brokers, tuple(found.items()))


def needs(protocol: Protocol, mechanism: Mechanism) -> tuple[str, ...]:
    """Returns the variables that a protocol and a mechanism can't do without."""
    if not protocol.startswith("SASL"):
        return ()
    if mechanism == "OAUTHBEARER":
        return "KAFKA_TOKEN_URL", "KAFKA_CLIENT_ID", "KAFKA_CLIENT_SECRET"
    return "KAFKA_USERNAME", "KAFKA_PASSWORD"


def _sasl(mechanism: Mechanism, secrets: Mapping[str, str]) -> dict[str, str]:
    if mechanism == "OAUTHBEARER":
        return {
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": secrets["KAFKA_TOKEN_URL"],
            "sasl.oauthbearer.client.id": secrets["KAFKA_CLIENT_ID"],
            "sasl.oauthbearer.client.secret": secrets["KAFKA_CLIENT_SECRET"],
        }
    return {"sasl.username": secrets["KAFKA_USERNAME"], "sasl.password": secrets["KAFKA_PASSWORD"]}


def _with(protocol: Protocol, mechanism: Mechanism) -> str:
    return f" with KAFKA_MECHANISM={mechanism}" if protocol.startswith("SASL") else ""
