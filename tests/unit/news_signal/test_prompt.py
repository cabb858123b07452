from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pricecast_core.errors import BadMessageError
from pricecast_core.news import lexicon, prompt
from pricecast_core.settings.news_signal import DEFAULT_COINS
from tests.unit.news_signal.headlines import HOSTILE

COINS = ("BTC", "ETH", "SOL")


def parsed(text: str | bytes) -> dict[str, int]:
    return {item.coin: item.signal for item in prompt.parse(text, COINS).news_signals}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"news_signals":[]}', {}),
        (' {"news_signals": [{"coin":"BTC","signal":1},{"coin":"ETH","signal":-1}]}\n', {"BTC": 1, "ETH": -1}),
        ('{"news_signals":[{"coin":"SOL","signal":0,"reasoning":"flat"}]}', {"SOL": 0}),
        ('{"news_signals":[{"coin":"BTC","signal":1},{"coin":"BTC","signal":1}]}', {"BTC": 1}),
    ],
)
def test_an_answer_in_the_schema_is_taken_each_coin_once(text: str, expected: dict[str, int]) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "Bitcoin will go up",
        '```json\n{"news_signals":[]}\n```',
        '{"news_signals":[{"coin":"BTC","signal":1}]} and more',
        '{"news_signals":[{"coin":"BTC","signal":1}',
        '{"news_signals":{"BTC":1}}',
        '{"news_signals":[{"coin":"BTC"}]}',
        '{"news_signals":[{"coin":"BTC","signal":2}]}',
        '{"news_signals":[{"coin":"BTC","signal":"1"}]}',
        '{"news_signals":[{"coin":"BTC","signal":true}]}',
        '{"news_signals":[{"coin":"BTC","signal":0.5}]}',
        '{"news_signals":[{"coin":"PEPE","signal":1}]}',
        '{"news_signals":[{"coin":"btc","signal":1}]}',
        '{"news_signals":[{"coin":"BTC","signal":1},{"coin":"BTC","signal":-1}]}',
        '{"news_signals":[{"coin":"BTC","signal":1,"confidence":1}]}',
        '{"news_signals":[],"note":""}',
        "[" * 100_000,
    ],
)
def test_an_answer_outside_the_schema_is_refused(text: str) -> None:
    with pytest.raises(BadMessageError):
        prompt.parse(text, COINS)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["BTC", "coin", "signal", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["news_signals", "coin", "signal", "reasoning", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_json.map(json.dumps) | st.text(max_size=200) | st.binary(max_size=200))
@example(b"\xff\xfe")
@example("\ud800")
def test_whatever_a_model_says_is_valid_or_refused(text: str | bytes) -> None:
    try:
        signals = parsed(text)
    except BadMessageError:
        return
    assert set(signals) <= set(COINS)
    assert set(signals.values()) <= {-1, 0, 1}


@given(st.dictionaries(st.sampled_from(DEFAULT_COINS), st.sampled_from([-1, 0, 1])))
def test_what_is_trained_is_what_is_accepted(signals: dict[str, int]) -> None:
    text = prompt.render(signals)  # type: ignore[arg-type]
    assert {item.coin: item.signal for item in prompt.parse(text, DEFAULT_COINS).news_signals} == signals


@pytest.mark.parametrize("headline", HOSTILE)
def test_a_headline_is_data_in_a_message_of_its_own(headline: str) -> None:
    system, user = prompt.messages(headline, COINS)
    assert system == {"role": "system", "content": prompt.instruction(COINS)}
    assert user["role"] == "user"
    text, guess = user["content"].rsplit("\n\nGuess: ", 1)
    assert text == headline[: prompt.MAX_HEADLINE_CHARACTERS].replace("\ud800", "?")
    assert parsed(guess) == lexicon.read(text, COINS)


def test_the_schema_allows_the_coins_of_the_list_alone() -> None:
    schema = prompt.json_schema(COINS)
    item = schema["properties"]["news_signals"]["items"]
    assert item["properties"]["coin"]["enum"] == list(COINS)
    assert item["properties"]["signal"]["enum"] == [-1, 0, 1]
    assert item["additionalProperties"] is False
    msgspec.json.encode(schema)
