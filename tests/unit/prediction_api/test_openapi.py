"""The OpenAPI document says what the protos say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pricecast_prediction_api.grpc_server import SERVICE
from pricecast_prediction_api.http_rules import rules_of
from pricecast_prediction_api.openapi import openapi


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi(rules_of(SERVICE), "1.2.3")


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def test_every_method_is_an_operation_with_a_name_of_its_own(document: dict[str, Any]) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert set(SERVICE.methods_by_name) <= set(names)


def test_every_path_variable_is_a_required_parameter(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path" and p["required"]}
            assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_everything_is_described(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"].endswith(".")
            assert all(parameter["description"] for parameter in operation["parameters"])
    for schema in document["components"]["schemas"].values():
        assert schema["description"]
    for prop in document["components"]["schemas"]["Prediction"]["properties"].values():
        assert prop["description"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = {value["$ref"].rpartition("/")[2] for value in walk(document) if "$ref" in value}
    assert {"Prediction", "Skill", "Outcome", "Problem", "ListPredictionsResponse"} <= names
    assert names <= set(document["components"]["schemas"])


def test_a_prediction_is_answered_without_its_envelope(document: dict[str, Any]) -> None:
    answer = document["paths"]["/v1/pairs/{pair}/prediction"]["get"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/Prediction"
