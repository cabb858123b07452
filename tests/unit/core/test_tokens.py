from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_core.stores.tokens import PageTokenError, decode_token, encode_token

QUERY = ("BTC/USD", None, None, None, None)


def changed(first: object, last_id: object) -> str:
    digest = json.loads(base64.urlsafe_b64decode(encode_token((1, "a"), QUERY) + "=="))[2]
    return base64.urlsafe_b64encode(json.dumps([first, last_id, digest]).encode()).decode().rstrip("=")


@pytest.mark.parametrize("first", [-1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 1.5, None, "1"])
def test_a_time_that_no_store_can_compare_is_refused(first: object) -> None:
    with pytest.raises(PageTokenError, match="page_token"):
        decode_token(changed(first, "a"), QUERY)


@given(first=st.integers(), last_id=st.text(max_size=40))
def test_a_token_changed_by_hand_is_refused_or_read_never_an_accident(first: int, last_id: str) -> None:
    store = SqlPredictionStore("sqlite://")
    store.ensure()
    with contextlib.closing(store), contextlib.suppress(PageTokenError):
        store.history("BTC/USD", token=changed(first, last_id))
