"""A field of a spec and the setting that it becomes have one default and one range.

What becomes what is found by planning: a field that is moved to the end of its range moves some settings along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pricecast_cli.local.folder import DataFolder
from pricecast_cli.local.programs import LocalBackends
from pricecast_core.settings import ServiceSettings
from pricecast_operator.render.finetune import settings_of
from pricecast_operator.render.owner import Owner
from pricecast_resources.finetunejob import FinetuneJobSpec
from pricecast_resources.plan import plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage

BACKENDS = LocalBackends(DataFolder(Path("/data")), KafkaStorage(brokers="127.0.0.1:9092"))
NEWS = {
    "cryptoPanic": {"apiKeySecretRef": {"name": "panic", "key": "token"}},
    "gdelt": {},
    "rss": {"urls": ["https://news.example/feed"]},
}
PIPELINES: dict[str, dict[str, Any]] = {
    "exchange and news": {"news": NEWS},
    "files": {"source": {"kind": "Replay", "replay": {"files": ["a.csv"]}}},
    "simulation": {"source": {"kind": "Simulated"}},
    "named systems": {
        "storage": {
            "models": {"kind": "Comet", "comet": {"apiKeySecretRef": {"name": "comet", "key": "api-key"}}},
            "features": {
                "kind": "Hopsworks",
                "hopsworks": {
                    "host": "hopsworks.example",
                    "project": "prices",
                    "apiKeySecretRef": {"name": "hopsworks", "key": "api-key"},
                },
            },
        }
    },
}
FINETUNE = {
    "dataset": {"hub": {"name": "owner/headlines"}},
    "outputs": {
        "ollama": {"url": "http://ollama:11434", "model": "m"},
        "hub": {"repository": "owner/model", "tokenSecretRef": {"name": "hub", "key": "token"}},
        "comet": {},
    },
}
Told = dict[tuple[str, str], Any]
DECIDED = {"pipeline", "kafka_brokers", "source", "live", "simulated", "news_model", "group", "finite", "comet"}
"""Settings that follow from more than one field, or from none."""


def told_by_pipeline(spec: PricePipelineSpec) -> dict[str, ServiceSettings]:
    return {process.name: process.settings for process in plan("btc", spec, BACKENDS).processes}


def told_by_finetune_job(spec: FinetuneJobSpec) -> dict[str, ServiceSettings]:
    return {"finetune": settings_of(Owner("FinetuneJob", "news", "prices", "1234-5678"), spec)[0]}


Case = tuple[BaseModel, Callable[[Any], Mapping[str, ServiceSettings]]]
CASES: dict[str, Case] = {
    **{
        name: (PricePipelineSpec.model_validate({"pairs": ["BTC/USD"], **spec}), told_by_pipeline)
        for name, spec in PIPELINES.items()
    },
    "fine-tuning": (FinetuneJobSpec.model_validate(FINETUNE), told_by_finetune_job),
}


def flat(told: Mapping[str, ServiceSettings]) -> Told:
    return {(name, field): value for name, settings in told.items() for field, value in settings}


def leaves(model: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), info


def changed(model: Any, path: tuple[str, ...], value: Any) -> Any:
    name, *rest = path
    inner = changed(getattr(model, name), tuple(rest), value) if rest else value
    return model.model_copy(update={name: inner})


def bounds(info: FieldInfo) -> dict[str, Any]:
    return {
        bound: getattr(each, bound)
        for each in info.metadata
        for bound in ("ge", "gt", "le", "lt")
        if getattr(each, bound, None) is not None
    }


@pytest.mark.parametrize("case", CASES)
def test_a_number_of_a_spec_has_the_range_of_the_setting_that_it_becomes(case: str) -> None:
    spec, tell = CASES[case]
    before = tell(spec)
    followed = 0
    for path, info in leaves(spec):
        ends = [value for bound, value in bounds(info).items() if bound in ("ge", "le")]
        for end in ends:
            after = tell(changed(spec, path, end))
            for place, value in flat(after).items():
                if place in flat(before) and flat(before)[place] != value:
                    setting = type(after[place[0]]).model_fields[place[1]]
                    assert bounds(setting) == bounds(info), f"{'.'.join(path)} and {place}"
                    followed += 1
    assert followed >= 4


@pytest.mark.parametrize("case", CASES)
def test_a_spec_that_says_nothing_gives_the_defaults_of_the_settings(case: str) -> None:
    spec, tell = CASES[case]
    for name, settings in tell(spec).items():
        for field in settings.model_fields_set - DECIDED:
            info = type(settings).model_fields[field]
            given = {"ollama_model", "ollama_url", "hub_repository", "dataset", "rss_urls", "replay_files", "version"}
            given |= {"feature_store", "model_registry", "hopsworks_host", "hopsworks_project"}
            if info.is_required() or field in {*given, "output_dir"}:
                continue
            default = info.get_default(call_default_factory=True, validated_data={})
            assert getattr(settings, field) == default, f"{name}: {field}"
