"""Dead letters keep the message and its reason; logs don't drown in one sentence."""

from __future__ import annotations

import logging

from prometheus_client import REGISTRY

from pricecast_core.dead_letters import MAX_BYTES, dead_letter
from pricecast_core.errors import BadMessageError
from pricecast_core.messages import DeadLetter, decode, encode
from pricecast_core.streaming.noise import Throttle


def test_a_dead_letter_keeps_the_message_whole_and_is_counted() -> None:
    labels = {"service": "unit", "reason": "late"}
    before = REGISTRY.get_sample_value("pricecast_dead_letters_total", labels) or 0
    error = BadMessageError("timestamp_ms: 5 is late", "timestamp_ms", "late")
    letter = dead_letter("unit", error, topic="btc.trades", partition=1, offset=7, key=b"BTC/USD", value=b"\x00\xff{")
    assert decode(DeadLetter, encode(letter)) == letter
    assert (letter.reason, letter.error, letter.value, letter.offset) == ("late", str(error), b"\x00\xff{", 7)
    assert REGISTRY.get_sample_value("pricecast_dead_letters_total", labels) == before + 1


def test_a_message_too_long_for_a_letter_is_cut_and_says_so() -> None:
    letter = dead_letter("unit", BadMessageError("x"), topic="t", value=b"x" * (MAX_BYTES + 1))
    assert len(letter.value) == MAX_BYTES
    assert "cut from 500001 bytes" in letter.error
    assert len(encode(letter)) < 1_000_000


def test_the_same_sentence_passes_once_in_a_while_whatever_its_numbers() -> None:
    now, throttle = logging.LogRecord("n", 40, "f", 1, "x", None, None), Throttle(seconds=3600)
    passed = []
    for text in (
        "broker 1 is down (after 3ms)",
        "broker 2 is down (after 7ms, 1 identical error(s) suppressed)",
        "something else",
    ):
        now.msg = text
        passed.append(throttle.filter(now))
    assert passed == [True, False, True]
    assert [Throttle(seconds=0).filter(now) for _ in range(2)] == [True, True]
