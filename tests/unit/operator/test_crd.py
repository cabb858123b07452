"""The models, the CRDs in the chart and the reference page are one and the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pricecast_operator.crds.files import CRDS
from pricecast_operator.crds.schema import FINETUNE_JOB, PRICE_PIPELINE, RESOURCES, Resource, custom_resource_definition
from pricecast_operator.generate import files
from pricecast_resources.finetunejob import FinetuneJobSpec
from pricecast_resources.pricepipeline import PricePipelineSpec
from tests.contracts.manifests import FINETUNE, PIPELINE


def schema_of(resource: Resource) -> dict[str, Any]:
    return custom_resource_definition(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def test_chart_and_page_equal_the_models() -> None:
    stale = [str(path) for path, text in files().items() if not path.exists() or path.read_text() != text]
    assert not stale, f"out of date: {stale}; run `make crds`"
    assert sorted(path.name for path in CRDS.iterdir()) == ["finetunejobs.yaml", "pricepipelines.yaml"]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
def test_every_field_has_a_type_and_a_description(resource: Resource) -> None:
    for path, node in nodes(schema_of(resource)):
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields"), path
        assert path == ".metadata" or node.get("description"), path


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
def test_schema_is_structural(resource: Resource) -> None:
    text = yaml.safe_dump(schema_of(resource))
    for word in ("$ref", "$defs", "allOf", "oneOf", "title:", "additionalProperties: false", "const:"):
        assert word not in text


def test_defaults_of_the_schema_are_those_of_the_models() -> None:
    """What the API server fills in is what pydantic would have filled in."""
    spec = schema_of(PRICE_PIPELINE)["properties"]["spec"]
    filled = with_defaults(PIPELINE["spec"], spec)
    assert PricePipelineSpec.model_validate(filled) == PricePipelineSpec.model_validate(PIPELINE["spec"])
    spec = schema_of(FINETUNE_JOB)["properties"]["spec"]
    filled = with_defaults(FINETUNE["spec"], spec)
    assert filled["tolerations"] == [{"key": "nvidia.com/gpu", "effect": "NoSchedule", "operator": "Exists"}]
    assert FinetuneJobSpec.model_validate(filled) == FinetuneJobSpec.model_validate(FINETUNE["spec"])


def with_defaults(value: Any, schema: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [with_defaults(each, schema["items"]) for each in value]
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, child in schema.get("properties", {}).items():
        if name not in filled and "default" in child:
            filled[name] = child["default"]
        if name in filled:
            filled[name] = with_defaults(filled[name], child)
    return filled


def test_good_manifests_are_accepted() -> None:
    PricePipelineSpec.model_validate(PIPELINE["spec"])
    FinetuneJobSpec.model_validate(FINETUNE["spec"])


def test_everything_but_suspend_and_ttl_is_immutable_once_a_job_has_started() -> None:
    frozen = {each["fieldPath"].removeprefix(".spec.") for each in FINETUNE_JOB.rules if "fieldPath" in each}
    assert frozen == set(schema_of(FINETUNE_JOB)["properties"]["spec"]["properties"]) - {"suspend", "ttlAfterFinished"}
