"""What lets a pipeline's pods, the operator and KEDA in by Kafka: references to Secrets, never what is in them."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from pricecast_core.kafka import Kafka, connection
from pricecast_operator.cluster.api import Cluster
from pricecast_operator.cluster.inventory import Note
from pricecast_operator.controllers.secrets import Secrets
from pricecast_operator.observe.observed import Problem
from pricecast_operator.render.backends import ClusterBackends
from pricecast_operator.render.owner import Owner
from pricecast_operator.render.pipeline import Pipeline, render
from pricecast_operator.render.pods import RenderOptions
from pricecast_resources.plan import plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage

CANARY = "canary-5d1c"
SCRAM = {"brokers": "kafka.queue.svc:9093", "protocol": "SASL_SSL", "secretName": "btc-kafka"}
TOKENS = {**SCRAM, "mechanism": "OAUTHBEARER"}
VALUES = {"username": "btc", "password": CANARY, "ca.crt": "-----BEGIN CERTIFICATE-----"}


def rendered(kafka: dict[str, Any]) -> dict[str, dict[str, Any]]:
    told = {
        "pairs": ["BTC/USD"],
        "storage": {"kafka": kafka},
        "services": {"candles": {"autoscaling": {"maxReplicas": 2}}},
    }
    spec = PricePipelineSpec.model_validate(told)
    planned = plan("prices.btc", spec, ClusterBackends(spec.storage))
    pipeline = Pipeline(Owner("PricePipeline", "btc", "prices", "1"), spec, planned)
    return {
        f"{each['kind']}/{each['metadata']['name']}": each
        for each in render(pipeline, RenderOptions(scaled_objects=True))
    }


async def secrets(**values: str) -> Secrets:
    class Server:
        async def secret(self, namespace: str, name: str) -> tuple[str, dict[str, str]]:
            return ("uid.1", values) if (namespace, name) == ("prices", "btc-kafka") else ("", {})

    found = Secrets(cast("Cluster", Server()))
    await found.get("prices", "btc-kafka")
    return found


def variables(deployment: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each}


def test_pods_take_credentials_from_the_secret_and_what_it_may_lack_is_optional() -> None:
    found = rendered(SCRAM)
    told = variables(found["Deployment/btc-candles"])
    assert told["KAFKA_PASSWORD"] == {"name": "btc-kafka", "key": "password"}
    assert told["KAFKA_CA"] == {"name": "btc-kafka", "key": "ca.crt", "optional": True}
    assert told["KAFKA_KEY"] == {"name": "btc-kafka", "key": "tls.key", "optional": True}
    document = json.loads(found["ConfigMap/btc-candles"]["data"]["settings.json"])
    assert document["kafka_protocol"] == "SASL_SSL"
    assert not {name for name in document if name.startswith("kafka_")} - {
        "kafka_brokers",
        "kafka_protocol",
        "kafka_mechanism",
    }


def test_every_process_of_a_pipeline_is_let_in() -> None:
    found = rendered(SCRAM)
    for name, each in found.items():
        template = each["spec"].get("jobTemplate", each)["spec"].get("template") if "spec" in each else None
        if template is not None:
            (container,) = template["spec"]["containers"]
            assert "KAFKA_USERNAME" in {variable["name"] for variable in container["env"]}, name


def test_an_authority_of_its_own_secret_must_be_there() -> None:
    told = variables(
        rendered({**SCRAM, "caSecretRef": {"name": "cluster-ca", "key": "ca.crt"}})["Deployment/btc-trades"]
    )
    assert told["KAFKA_CA"] == {"name": "cluster-ca", "key": "ca.crt"}


def test_keda_is_let_in_by_the_same_secret() -> None:
    found = rendered(SCRAM)
    (trigger,) = found["ScaledObject/btc-candles"]["spec"]["triggers"]
    assert (trigger["metadata"]["sasl"], trigger["metadata"]["tls"]) == ("scram_sha512", "enable")
    assert trigger["authenticationRef"] == {"name": "btc-kafka"}
    references = found["TriggerAuthentication/btc-kafka"]["spec"]["secretTargetRef"]
    assert {each["parameter"]: each["key"] for each in references} == {
        "username": "username",
        "password": "password",
        "ca": "ca.crt",
        "cert": "tls.crt",
        "key": "tls.key",
    }
    assert "TriggerAuthentication/btc-kafka" not in rendered({"brokers": "kafka:9092"})


def test_whoever_gives_tokens_may_be_reached() -> None:
    def ports(found: dict[str, dict[str, Any]]) -> set[int]:
        return {port["port"] for rule in found["NetworkPolicy/btc-candles"]["spec"]["egress"] for port in rule["ports"]}

    assert ports(rendered(TOKENS)) == {53, 443, 9093}
    assert ports(rendered(SCRAM)) == {53, 9093}


async def test_the_operator_reads_what_lets_it_in() -> None:
    kafka = (await secrets(**VALUES)).kafka("prices", KafkaStorage.model_validate(SCRAM))
    assert isinstance(kafka, Kafka)
    assert connection(kafka)["sasl.password"] == CANARY
    assert CANARY not in f"{kafka} {kafka!r}"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"username": "btc"}, Problem("SecretKeyMissing", "Secret btc-kafka has no key password")),
        ({**VALUES, "ca.crt": CANARY}, Problem("SecretInvalid", "Secret btc-kafka: KAFKA_CA: is no PEM")),
        (
            {**VALUES, "tls.crt": "-----BEGIN "},
            Problem("SecretInvalid", "Secret btc-kafka: KAFKA_CERTIFICATE, KAFKA_KEY"),
        ),
    ],
)
async def test_what_the_secret_lacks_is_named_and_nothing_shown(values: dict[str, str], named: Problem) -> None:
    found = (await secrets(**values)).kafka("prices", KafkaStorage.model_validate(SCRAM))
    assert isinstance(found, Problem)
    assert found.reason == named.reason
    assert found.message.startswith(named.message)
    assert CANARY not in found.message


async def test_a_secret_that_is_not_there_is_named() -> None:
    other = KafkaStorage.model_validate({**SCRAM, "secretName": "other"})
    found = (await secrets()).kafka("prices", other)
    assert isinstance(found, Problem)
    assert found.reason == "SecretMissing"


def test_a_note_of_topics_to_delete_names_the_secret_alone() -> None:
    note = Note("1234", KafkaStorage.model_validate(TOKENS))
    assert Note.read(note.dumped()) == note
    assert set(json.loads(note.dumped())) == {"uid", "brokers", "protocol", "mechanism", "secretName"}


def test_a_note_of_an_earlier_version_is_still_read() -> None:
    assert Note.read('{"uid": "1", "brokers": "kafka:9092"}') == Note("1", KafkaStorage(brokers="kafka:9092"))
