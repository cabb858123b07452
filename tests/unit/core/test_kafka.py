"""What it takes to be let in by a Kafka, from a service's settings."""

from __future__ import annotations

import pytest

from pricecast_core.errors import SettingsError
from pricecast_core.kafka import Kafka, connection
from pricecast_core.settings import CandlesSettings, load

NEEDED = {"PIPELINE": "t", "PAIRS": "BTC/USD", "KAFKA_BROKERS": "b:1"}
PEM = "-----BEGIN CERTIFICATE-----"
SCRAM = {"KAFKA_PROTOCOL": "SASL_SSL", "KAFKA_USERNAME": "t", "KAFKA_PASSWORD": "canary"}


def kafka(**given: str) -> Kafka:
    return load(CandlesSettings, NEEDED | given).kafka


def test_a_plain_kafka_takes_its_address_alone() -> None:
    assert connection(kafka()) == connection("b:1") == {"bootstrap.servers": "b:1"}


def test_scram_over_tls() -> None:
    assert connection(kafka(**SCRAM, KAFKA_CA=PEM)) == {
        "bootstrap.servers": "b:1",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "t",
        "sasl.password": "canary",
        "ssl.ca.pem": PEM,
        "ssl.endpoint.identification.algorithm": "https",
    }


def test_tokens_of_an_issuer() -> None:
    issuer = {"KAFKA_TOKEN_URL": "https://idp/token", "KAFKA_CLIENT_ID": "c", "KAFKA_CLIENT_SECRET": "s"}
    found = connection(kafka(KAFKA_PROTOCOL="SASL_SSL", KAFKA_MECHANISM="OAUTHBEARER", **issuer))
    assert found["sasl.oauthbearer.method"] == "oidc"
    assert found["sasl.oauthbearer.token.endpoint.url"] == "https://idp/token"


def test_a_client_certificate() -> None:
    found = connection(kafka(KAFKA_PROTOCOL="SSL", KAFKA_CERTIFICATE=PEM, KAFKA_KEY=PEM))
    assert (found["ssl.certificate.pem"], found["ssl.key.pem"]) == (PEM, PEM)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"KAFKA_PROTOCOL": "SASL_SSL"}, "KAFKA_USERNAME"),
        (SCRAM | {"KAFKA_PASSWORD": ""}, "KAFKA_PASSWORD"),
        (SCRAM | {"KAFKA_MECHANISM": "OAUTHBEARER"}, "KAFKA_TOKEN_URL"),
        ({"KAFKA_PROTOCOL": "SSL", "KAFKA_KEY": "canary"}, "KAFKA_CERTIFICATE, KAFKA_KEY: only one"),
        ({"KAFKA_PROTOCOL": "TLS"}, "KAFKA_PROTOCOL"),
        ({"KAFKA_PROTOCOL": "SSL", "KAFKA_CA": "/etc/canary.pem"}, "KAFKA_CA: is no PEM"),
    ],
)
def test_what_is_missing_is_named_and_no_secret_shown(given: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as raised:
        kafka(**given)
    assert "canary" not in str(raised.value)


def test_credentials_are_neither_shown_nor_part_of_the_document() -> None:
    settings = load(CandlesSettings, NEEDED | SCRAM)
    assert "canary" not in f"{settings} {settings!r} {settings.kafka} {settings.kafka!r} {settings.document()}"
