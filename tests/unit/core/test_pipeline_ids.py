"""What a pipeline's id is, and what bears it: no two pipelines share a name anywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pricecast_core import topics
from pricecast_core.services import of_pipelines
from pricecast_core.stores.features import group_name
from pricecast_core.stores.models import model_name
from pricecast_core.values import (
    NAMESPACE,
    PIPELINE_ID,
    PIPELINE_ID_LENGTH,
    PIPELINE_NAME,
    PipelineId,
    namespace_and_name,
    pipeline_id,
    whole,
)

GROUPS = ("technical_indicators", "news_signals")
names = st.from_regex(re.compile(PIPELINE_NAME), fullmatch=True)
namespaces = st.one_of(st.just(""), st.from_regex(re.compile(NAMESPACE), fullmatch=True))
pipelines = st.tuples(namespaces, names)


@given(pipelines)
def test_an_id_says_what_it_is_made_of(pipeline: tuple[str, str]) -> None:
    assert namespace_and_name(pipeline_id(*pipeline)) == pipeline


@given(pipelines, pipelines)
def test_two_pipelines_share_no_name_of_anything(one: tuple[str, str], other: tuple[str, str]) -> None:
    if one == other:
        return
    first, second = pipeline_id(*one), pipeline_id(*other)
    assert first != second
    assert model_name(first, "btc-usd", 300) != model_name(second, "btc-usd", 300)
    for topic in topics.ALL:
        assert topics.topic_name(first, topic) not in {topics.topic_name(second, each) for each in topics.ALL}
    for group in GROUPS:
        assert group_name(first, group) not in {group_name(second, each) for each in GROUPS}


@pytest.mark.parametrize("group", GROUPS)
@given(st.from_regex(re.compile(NAMESPACE), fullmatch=True), names)
def test_a_table_of_a_cluster_and_its_index_are_named_as_every_store_takes_them(
    group: str, namespace: str, name: str
) -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,55}", group_name(pipeline_id(namespace, name), group))


def test_hyphens_and_dots_are_not_taken_for_each_other() -> None:
    assert group_name("a-b.c", "news_signals") != group_name("a.b-c", "news_signals")


def test_names_on_a_laptop_are_those_of_before() -> None:
    assert group_name("btc-eth", "technical_indicators") == "btc_eth_technical_indicators"
    assert topics.topic_name("btc", topics.TRADES) == "btc.trades"
    assert model_name("btc", "btc-usd", 300) == "btc-btc-usd-300s"


def test_the_longest_id_still_fits_the_changelog_of_the_service_and_topic_with_the_longest_names() -> None:
    longest = "n" * (PIPELINE_ID_LENGTH - 2) + ".p"
    for service in of_pipelines():
        for topic in service.reads:
            if topic in (topics.TRADES, topics.CANDLES, topics.NEWS):  # of the streams that keep state
                name = topics.topic_name(longest, topic)
                assert len(f"changelog__{longest}.{service.group}--{name}--default") <= 249


@pytest.mark.parametrize("text", ["btc.", ".btc", "a.b.c", "Prices.btc", f"{'n' * 63}.{'p' * 40}"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PipelineId).validate_python(text)


def test_no_service_ends_in_the_name_of_another() -> None:
    """Else an object of a pipeline `btc` could bear the name of one of a pipeline `btc-news`."""
    parts = {part for service in of_pipelines() for part in (service.name, service.program)} | {"metrics"}
    assert not [(one, other) for one in parts for other in parts if one.endswith(f"-{other}")]


def test_the_chart_takes_the_ids_that_the_prediction_api_takes() -> None:
    values = json.loads((Path(__file__).parents[3] / "charts/pricecast/values.schema.json").read_text())
    told = values["properties"]["predictionApi"]["properties"]["pipeline"]
    assert (told["pattern"], told["maxLength"]) == (whole(f"({PIPELINE_ID})?"), PIPELINE_ID_LENGTH)
