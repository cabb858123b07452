"""The AsyncAPI document and the JSON schemas say what the messages are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from pricecast_core import topics
from pricecast_core.messages import Candle, Clock, Trade, encode
from tests.contracts.predictions import a_prediction

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
DOCUMENT: dict[str, Any] = json.loads((REFERENCE / "asyncapi.json").read_text())
MESSAGES = {kind for topic in topics.ALL for kind in (topic.message, *topic.others)}
TRADE = Trade(pair="AAPLx/USD", price=1e-9, volume=1, timestamp_ms=1_790_000_000_000)


def schema(name: str) -> Draft202012Validator:
    found = json.loads((REFERENCE / "schemas" / f"{name}.json").read_text())
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def refs(node: Any) -> list[str]:
    if isinstance(node, list):
        return [ref for each in node for ref in refs(each)]
    if isinstance(node, dict):
        return [node["$ref"]] if "$ref" in node else [ref for each in node.values() for ref in refs(each)]
    return []


def test_every_topic_is_a_channel_and_every_reference_leads_somewhere() -> None:
    assert set(DOCUMENT["channels"]) == {topic.name for topic in topics.ALL}
    assert set(DOCUMENT["components"]["messages"]) == {kind.__name__ for kind in MESSAGES}
    for ref in refs(DOCUMENT):
        node: Any = DOCUMENT
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]


@pytest.mark.parametrize(
    "message", [TRADE, Clock(kind="clock", pair="T/USD", timestamp_ms=1_790_000_000_000), a_prediction(1)]
)
def test_a_message_as_it_is_on_the_topic_fits_its_schema(message: Any) -> None:
    schema(type(message).__name__).validate(json.loads(encode(message)))


@pytest.mark.parametrize("change", [{"pair": "btc"}, {"price": 0}, {"timestamp_ms": "now"}, {"side": "b"}])
def test_what_a_reader_refuses_is_outside_the_schema(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        schema("Trade").validate(json.loads(encode(TRADE)) | change)


def test_every_message_has_a_schema_of_its_own() -> None:
    assert {path.stem for path in (REFERENCE / "schemas").glob("*.json")} == {kind.__name__ for kind in MESSAGES}
    assert "flat_after" not in schema(Candle.__name__).schema["properties"]
