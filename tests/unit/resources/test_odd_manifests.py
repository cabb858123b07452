"""Odd manifests: the verdict of `pricecast validate`, held to the API server's in tests/e2e; what is good can be run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pricecast_cli.local.folder import DataFolder
from pricecast_cli.local.programs import LocalBackends
from pricecast_core.settings import load
from pricecast_core.settings.base import DOCUMENT_VARIABLE
from pricecast_operator.render.finetune import settings_of
from pricecast_operator.render.owner import Owner
from pricecast_resources.finetunejob import FinetuneJobSpec
from pricecast_resources.manifest import ManifestError, load_resources
from pricecast_resources.plan import plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage
from tests.contracts.odd_manifests import ODD, Odd

GOOD = [odd for odd in ODD if not odd.field]


def written(folder: Path, odd: Odd) -> Path:
    file = folder / "odd.yaml"
    file.write_text(json.dumps(odd.manifest()))
    return file


def test_they_are_many() -> None:
    assert len(ODD) - len(GOOD) >= 200
    assert len(GOOD) >= 100


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd.field], ids=lambda odd: odd.id)
def test_what_is_wrong_is_refused_naming_the_field(tmp_path: Path, odd: Odd) -> None:
    with pytest.raises(ManifestError) as refused:
        load_resources(written(tmp_path, odd))
    assert odd.field.rpartition(".")[2] in str(refused.value)


@pytest.mark.parametrize("odd", GOOD, ids=lambda odd: odd.id)
def test_what_is_good_gives_settings_that_the_services_load(tmp_path: Path, odd: Odd) -> None:
    [resource] = load_resources(written(tmp_path, odd))
    if isinstance(resource.spec, FinetuneJobSpec):
        told = {
            "finetune": settings_of(Owner(resource.kind.name, resource.name, "prices", "1234-5678"), resource.spec)[0]
        }
    else:
        assert isinstance(resource.spec, PricePipelineSpec)
        planned = plan(
            resource.name, resource.spec, LocalBackends(DataFolder(tmp_path), KafkaStorage(brokers="127.0.0.1:9092"))
        )
        told = {process.name: process.settings for process in planned.processes}
    for name, settings in told.items():
        document = tmp_path / f"{name}.json"
        document.write_text(json.dumps(settings.document()))
        assert load(type(settings), {DOCUMENT_VARIABLE: str(document)}) == settings
