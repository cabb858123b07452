"""Page tokens fit their query, and nothing else passes for one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.stores.tokens import PageTokenError, decode_token, encode_token

IDS = st.text(st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"]), max_size=80)
"""An id is made of names, a pair and a time: all of it can be printed."""


@given(st.integers(0, 2**53), IDS, st.lists(st.one_of(st.none(), st.text(), st.integers(0, 2**53))))
def test_a_token_gives_back_its_position_for_its_query_alone(time_ms: int, last_id: str, query: list[Any]) -> None:
    token = encode_token((time_ms, last_id), tuple(query))
    assert decode_token(token, tuple(query)) == (time_ms, last_id)
    with pytest.raises(PageTokenError):
        decode_token(token, (*query, "more"))


@given(st.text())
def test_any_other_text_is_refused_as_a_token(text: str) -> None:
    with pytest.raises(PageTokenError):
        decode_token(text, ())
