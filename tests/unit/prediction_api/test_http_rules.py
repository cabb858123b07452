"""Path templates and the parts of an HTTP request, by the grammar of google/api/http.proto."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_prediction_api.convert import timestamp
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as pb
from pricecast_prediction_api.grpc_server import SERVICE
from pricecast_prediction_api.http_rules import Rule, build_request, compile_template, rules_of
from pricecast_prediction_api.problems import ApiError


@pytest.mark.parametrize(
    ("template", "path", "variables"),
    [
        ("/v1/pairs", "/v1/pairs", ()),
        ("/v1/pairs", "/v1/pairs/", None),
        ("/v1/pairs/{pair}/prediction", "/v1/pairs/BTC-USD/prediction", ("BTC-USD",)),
        ("/v1/pairs/{pair}/prediction", "/v1/pairs/BTC/USD/prediction", None),
        ("/v1/pairs/{pair=*/*}/prediction", "/v1/pairs/BTC/USD/prediction", ("BTC/USD",)),
        ("/v1/pairs/{pair=*/*}/prediction", "/v1/pairs/BTC/prediction", None),
        ("/v1/{name=shelves/*/books/**}", "/v1/shelves/1/books/a/b", ("shelves/1/books/a/b",)),
        ("/v1/{name=shelves/*}:sell", "/v1/shelves/1:sell", ("shelves/1",)),
        ("/v1/*/{a.b}", "/v1/x/y", ("y",)),
        ("/v1.0/x", "/v1a0/x", None),
    ],
)
def test_a_template_matches_what_the_grammar_says(template: str, path: str, variables: tuple[str, ...] | None) -> None:
    match = compile_template(template)[0].fullmatch(path)
    assert (match.groups() if match else None) == variables


def rule(method: str, verb: str = "GET") -> Rule:
    return next(rule for rule in rules_of(SERVICE) if (rule.method.name, rule.verb) == (method, verb))


def test_every_method_has_a_binding() -> None:
    assert {rule.method.name for rule in rules_of(SERVICE)} == set(SERVICE.methods_by_name)


@given(st.text(min_size=1, max_size=40))
def test_a_variable_is_decoded_to_what_was_encoded(text: str) -> None:
    binding = rule("Predict")
    match = binding.pattern.fullmatch(f"/v1/pairs/{quote(text, safe='')}/x/prediction")
    assert match is not None
    request = pb.PredictRequest()
    build_request(binding, request, match.groups(), [], None)
    assert request.pair == f"{text}/x"


def test_a_query_fills_fields_by_either_name_and_lists_by_comma_or_repetition() -> None:
    request = pb.ListPredictionsRequest()
    query = [("horizon_seconds", "300"), ("pageSize", "7"), ("startTime", "2026-01-01T00:00:00Z")]
    build_request(rule("ListPredictions"), request, ["BTC/USD"], query, None)
    assert request == pb.ListPredictionsRequest(
        pair="BTC/USD", horizon_seconds=300, page_size=7, start_time=timestamp(1_767_225_600_000)
    )
    batch = pb.BatchPredictRequest()
    build_request(rule("BatchPredict"), batch, [], [("pairs", "A/B,C/D"), ("pairs", "E/F")], None)
    assert batch.pairs == ["A/B", "C/D", "E/F"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ([("horizonSeconds", "soon")], "horizon_seconds"),
        ([("horizonSeconds", "99999999999")], "horizon_seconds"),
        ([("colour", "red")], "colour"),
        ([("pipeline.name", "x")], "pipeline.name"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_by_field(query: list[tuple[str, str]], field: str) -> None:
    with pytest.raises(ApiError) as caught:
        build_request(rule("Predict"), pb.PredictRequest(), ["BTC/USD"], query, None)
    detail: Any = caught.value.details[0]
    assert [violation.field for violation in detail.field_violations] == [field]


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["pairs", "pipeline", "horizonSeconds", "x"]), inner, max_size=3),
        ),
        max_leaves=8,
    )
)
def test_any_json_body_is_taken_or_refused_never_a_crash(body: Any) -> None:
    status = 200
    try:
        build_request(rule("BatchPredict", "POST"), pb.BatchPredictRequest(), [], [], body)
    except ApiError as error:
        status = error.http_status
    assert status in (200, 400)
