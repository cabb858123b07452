"""`pricecast doctor`: what is wrong is named with a remedy, and no secret is shown."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pricecast_cli.main import app
from tests.doubles.comet import CometDouble

CANARY = "canary%2FZm9yIHRoZSBrZXk"


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def examine(tmp_path: Path, storage: dict[str, Any], **variables: str) -> tuple[dict[str, dict[str, Any]], int, str]:
    manifest = tmp_path / "pipeline.yaml"
    spec = {"pairs": ["BTC/USD"], "source": {"kind": "Simulated"}, "storage": storage}
    manifest.write_text(
        yaml.safe_dump(
            {"apiVersion": "pricecast.dev/v1alpha1", "kind": "PricePipeline", "metadata": {"name": "btc"}, "spec": spec}
        )
    )
    ran = CliRunner().invoke(app, ["doctor", "--json", str(manifest)], env=variables)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return {line["check"].partition(" ")[0]: line for line in lines}, ran.exit_code, ran.output


def test_each_thing_that_is_wrong_is_named_with_a_remedy_and_no_secret(tmp_path: Path, nowhere: str) -> None:
    storage = {"kafka": {"brokers": nowhere}, "predictions": {"url": f"http://{nowhere}"}}
    found, code, output = examine(
        tmp_path,
        storage,
        FEATURE_STORE_URL=f"postgresql://trader:{CANARY}@{nowhere}/features",
        ELASTICSEARCH_API_KEY=CANARY,
    )
    assert code == 1
    assert {name: line["status"] for name, line in found.items()} == {
        "Kafka": "failed",
        "features": "failed",
        "models": "not checked",
        "predictions": "failed",
    }
    assert "spec.storage.kafka.brokers" in found["Kafka"]["message"]
    assert "can be reached" in found["features"]["message"]
    assert "MODEL_REGISTRY_URL" in found["models"]["message"]
    assert "pricecast-storage" in found["models"]["message"]
    assert CANARY not in output
    assert "canary/" not in output


def test_what_lets_one_in_by_kafka_is_asked_for_by_name(tmp_path: Path, nowhere: str) -> None:
    kafka = {"brokers": nowhere, "protocol": "SASL_SSL", "secretName": "btc-kafka"}
    storage = {"kafka": kafka, "predictions": {"url": f"http://{nowhere}"}}
    lacking, _, _ = examine(tmp_path, storage, KAFKA_USERNAME="btc")
    assert lacking["Kafka"]["status"] == "not checked"
    assert lacking["Kafka"]["message"] == "set KAFKA_PASSWORD to what is in the Secret btc-kafka, key password"
    away, _, output = examine(tmp_path, storage, KAFKA_USERNAME="btc", KAFKA_PASSWORD=CANARY)
    assert away["Kafka"]["status"] == "failed"
    assert CANARY not in output


def test_a_credential_that_is_refused_is_named(tmp_path: Path, nowhere: str) -> None:
    with CometDouble() as comet:
        models = {"kind": "Comet", "comet": {"url": comet.url, "apiKeySecretRef": {"name": "comet", "key": "key"}}}
        storage = {"models": models, "kafka": {"brokers": nowhere}, "predictions": {"url": f"http://{nowhere}"}}
        wrong, _, output = examine(tmp_path, storage, COMET_API_KEY=CANARY)
        right, _, _ = examine(tmp_path, storage, COMET_API_KEY=comet.api_key)
    assert wrong["models"]["status"] == "failed"
    assert "COMET_API_KEY" in wrong["models"]["message"]
    assert CANARY not in output
    assert right["models"]["status"] == "ok"
    assert right["connection"]["status"] == "ok"
