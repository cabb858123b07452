from __future__ import annotations

import base64
import contextlib
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.stores.tokens import PageTokenError, decode_token, encode_token

QUERY = ("BTC/USD", None, None, None, None)


def changed(first: object, last_id: object) -> str:
    rest = json.loads(base64.urlsafe_b64decode(encode_token((1, "a"), QUERY) + "=="))[2:]
    return base64.urlsafe_b64encode(json.dumps([first, last_id, *rest]).encode()).decode().rstrip("=")


@pytest.mark.parametrize("first", [-1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 1.5, None, "1"])
def test_a_time_that_no_store_can_compare_is_refused(first: object) -> None:
    with pytest.raises(PageTokenError, match="page_token"):
        decode_token(changed(first, "a"), QUERY)


@given(first=st.integers().filter(lambda first: first != 1), last_id=st.text(max_size=40))
def test_a_token_whose_position_was_changed_by_hand_is_refused(first: int, last_id: str) -> None:
    with pytest.raises(PageTokenError, match="page_token"):
        decode_token(changed(first, last_id), QUERY)


@given(st.data(), st.sampled_from(string.ascii_letters + string.digits + "-_=+/ "))
def test_no_letter_of_a_token_can_be_changed_to_lead_elsewhere(data: st.DataObject, letter: str) -> None:
    position = 1_700_000_000_000, "btc:BTC/USD:300:1700000000000"
    token = encode_token(position, QUERY)
    at = data.draw(st.integers(0, len(token) - 1))
    with contextlib.suppress(PageTokenError):
        assert decode_token(token[:at] + letter + token[at + 1 :], QUERY) == position
