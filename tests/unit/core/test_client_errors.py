"""What clients of other services raise is told as ours, and holds no secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import SettingsError, StoreError
from pricecast_core.stores.client_errors import told, without

SECRET = "canary-0123456789"


@given(st.text("x \n", max_size=600), st.text("x \n", max_size=600))
def test_no_part_of_a_secret_is_left_wherever_a_message_is_cut(before: str, after: str) -> None:
    assert "c" not in without(SECRET, KeyError(before + SECRET + after))


def test_a_secret_at_the_cut_is_hidden_whole() -> None:
    assert "canary" not in without(SECRET, ValueError("x" * 495 + SECRET))


def test_the_remedy_is_that_of_the_words_else_of_the_status_else_general() -> None:
    class RefusedError(Exception):
        class response:  # noqa: N801
            status_code = 401

    def message(error: Exception) -> str:
        with pytest.raises(StoreError) as caught, told("read", "the store", SECRET, {401: "renew", "EXPIRED": "wait"}):
            raise error
        return str(caught.value)

    assert message(RefusedError("EXPIRED")).endswith("; wait")
    assert message(RefusedError("no")).endswith("; renew")
    assert message(OSError("gone")) == "read failed: gone; check that the store can be reached and is well"
    with pytest.raises(SettingsError, match="ours"), told("read", "x", SECRET, {}):
        raise SettingsError("ours")
