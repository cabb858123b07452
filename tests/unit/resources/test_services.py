"""What adding a service means: one row in the table, and a line in the plan that gives it its settings."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import Field

from pricecast_cli.local.drain import hops
from pricecast_cli.local.folder import DataFolder
from pricecast_cli.local.programs import LocalBackends, programs_of
from pricecast_core import services, topics
from pricecast_core.addresses import of_brokers
from pricecast_core.services import Service
from pricecast_core.settings import StreamSettings
from pricecast_operator.render.backends import ClusterBackends
from pricecast_operator.render.owner import Owner
from pricecast_operator.render.pipeline import Pipeline, render
from pricecast_operator.render.pods import RenderOptions
from pricecast_resources.plan import Backends, Plan, ServiceProcess, plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage

ROOT = Path(__file__).parents[3]
SPEC = PricePipelineSpec.model_validate({"pairs": ["BTC/USD"]})
BACKENDS = LocalBackends(DataFolder(Path("/data")), KafkaStorage(brokers="kafka.queue.svc:9092"))


class WhalesSettings(StreamSettings):
    """Settings of a service that isn't there."""

    feed_url: str = Field("https://whales.example", description="Where whales are told")

    @property
    def addresses(self) -> list[str]:
        return [self.feed_url]


WHALES = Service(
    name="whales",
    program="whale-watch",
    settings=WhalesSettings,
    reads=(topics.TRADES,),
    writes=(topics.FEATURES,),
    group="whales",
    scalable=True,
    requests={"cpu": "10m", "memory": "64Mi"},
)


@pytest.fixture
def _whales(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table with the new row."""
    monkeypatch.setattr(services, "ALL", (*services.ALL, WHALES))


def planned(backends: Backends) -> Plan:
    """Returns a plan with the new service."""
    found = plan("btc", SPEC, backends)
    settings = WhalesSettings(pipeline="btc", kafka_brokers=backends.kafka.brokers, feed_url="https://a.example")
    return Plan("btc", (*found.processes, ServiceProcess(WHALES, settings)), found.topics)


@pytest.mark.usefixtures("_whales")
def test_a_new_row_is_rendered() -> None:
    owner = Owner("PricePipeline", "btc", "prices", "1")
    objects = render(Pipeline(owner, SPEC, planned(ClusterBackends(SPEC.storage))), RenderOptions())
    found = {f"{each['kind']}/{each['metadata']['name']}": each for each in objects}
    assert {"Deployment/btc-whales", "ConfigMap/btc-whales", "ServiceAccount/btc-whale-watch"} <= set(found)
    (container,) = found["Deployment/btc-whales"]["spec"]["template"]["spec"]["containers"]
    assert "whale-watch" in container["image"]
    assert container["resources"]["requests"] == {"cpu": "10m", "memory": "64Mi"}
    ports = {rule["ports"][0]["port"] for rule in found["NetworkPolicy/btc-whale-watch"]["spec"]["egress"]}
    assert ports == {
        53,
        443,
        of_brokers(SPEC.storage.kafka.brokers, "brokers")[0].port,
    }  # names, its own address, Kafka


@pytest.mark.usefixtures("_whales")
def test_a_new_row_runs_on_a_laptop_and_is_waited_for() -> None:
    program = next(
        each for each in programs_of(planned(BACKENDS), DataFolder(Path("/data")), {}) if each.name == "whales"
    )
    assert program.command[0].endswith("pricecast-whale-watch")
    assert program.document == {
        "pipeline": "btc",
        "kafka_brokers": "kafka.queue.svc:9092",
        "feed_url": "https://a.example",
    }
    assert ("btc.whales", "btc.trades") in {(hop.group, hop.topic) for hop in hops("btc", ["candles", "whales"])}
    assert "whales" in {each.name for each in services.upstream(topics.FEATURES)}
    assert "whales" in {each.name for each in services.of_pipelines()}


@pytest.mark.usefixtures("_whales")
def test_a_new_row_is_documented() -> None:
    pages = _generator()
    assert "| `whales` | PricePipeline | `pricecast-whale-watch` | stream |" in pages.services_page()
    assert "trades -> candles, whales" in pages.messages_page()


def _generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_program_of_the_table_is_a_command_of_a_package() -> None:
    scripts: dict[str, Any] = {}
    for file in ROOT.glob("services/*/pyproject.toml"):
        scripts |= tomllib.loads(file.read_text())["project"].get("scripts", {})
    assert {service.command[0] for service in services.ALL} <= set(scripts)


def test_what_the_plan_builds_are_the_settings_of_the_table() -> None:
    spec = SPEC.model_validate({"pairs": ["BTC/USD"], "news": {}})
    found = plan("btc", spec, BACKENDS)
    assert {process.name for process in found.processes} == {each.name for each in services.of_pipelines()}
    for process in found.processes:
        assert type(process.settings) is process.service.settings


def test_every_topic_has_a_writer_and_what_is_read_is_written() -> None:
    written = {topic.name for each in services.ALL for topic in each.writes} | {topics.DEAD_LETTERS.name}
    assert written == {topic.name for topic in topics.ALL}
