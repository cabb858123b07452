"""Which Kafka `pricecast up` uses: the embedded one, or that of KAFKA_BROKERS, reached as the manifest or variables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricecast_cli.local.folder import DataFolder
from pricecast_cli.local.programs import LocalBackends, Program, kafka_of, programs_of
from pricecast_core.errors import SettingsError
from pricecast_resources.plan import plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage

NAMED = KafkaStorage(brokers="kafka.queue.svc:9093", protocol="SASL_SSL", secret_name="btc-kafka")
SPEC = PricePipelineSpec(pairs=["BTC/USD"])


def candles(kafka: KafkaStorage, **environ: str) -> Program:
    folder = DataFolder(Path("/data"))
    programs = programs_of(plan("btc", SPEC, LocalBackends(folder, kafka)), folder, environ)
    return next(program for program in programs if program.name == "candles")


def test_without_brokers_the_embedded_one_lets_everybody_in_whatever_variables_say() -> None:
    assert kafka_of(NAMED, {"KAFKA_PROTOCOL": "SSL"}) is None
    program = candles(KafkaStorage(brokers="127.0.0.1:19092"))
    assert "KAFKA_PROTOCOL" not in program.environment({"KAFKA_PROTOCOL": "SSL", "KAFKA_BROKERS": "elsewhere:1"})


def test_another_is_reached_as_the_manifest_says() -> None:
    kafka = kafka_of(NAMED, {"KAFKA_BROKERS": "localhost:9093"})
    assert kafka is not None
    assert kafka.settings == {
        "kafka_brokers": "localhost:9093",
        "kafka_protocol": "SASL_SSL",
        "kafka_mechanism": "SCRAM-SHA-512",
    }
    lacking = candles(kafka, KAFKA_USERNAME="btc")
    assert "KAFKA_PASSWORD: is not set; a cluster takes it from Secret btc-kafka, key password" in lacking.problem
    complete = candles(kafka, KAFKA_USERNAME="btc", KAFKA_PASSWORD="p")
    assert (complete.problem, complete.env["KAFKA_PASSWORD"]) == ("", "p")
    assert "KAFKA_CA" not in complete.env


def test_variables_say_otherwise() -> None:
    kafka = kafka_of(NAMED, {"KAFKA_BROKERS": "localhost:9092", "KAFKA_PROTOCOL": "PLAINTEXT"})
    assert kafka is not None
    assert kafka.protocol == "PLAINTEXT"
    assert not candles(kafka).problem
    with pytest.raises(SettingsError, match="KAFKA_PROTOCOL"):
        kafka_of(NAMED, {"KAFKA_BROKERS": "localhost:9092", "KAFKA_PROTOCOL": "TLS"})
