"""Whatever an exchange sends: no crash, no hang, nothing lost without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricecast_core.errors import SettingsError
from pricecast_core.messages import Trade
from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_trades.errors import PassingError
from pricecast_trades.exchanges.coinbase.exchange import Coinbase
from pricecast_trades.exchanges.coinbase.session import CoinbaseSession
from pricecast_trades.exchanges.kraken.exchange import Kraken
from pricecast_trades.exchanges.kraken.faults import Faults
from pricecast_trades.exchanges.kraken.session_v1 import SessionV1
from pricecast_trades.exchanges.kraken.session_v2 import SessionV2
from pricecast_trades.exchanges.kraken.wire import rest_trades, v2_message
from pricecast_trades.feed import Beat, Joined, Update
from pricecast_trades.known_pairs import KnownPairs
from pricecast_trades.rest import RestClient
from pricecast_trades.seam import Seam
from pricecast_trades.source import Refused
from pricecast_trades.websocket import Session

DATA = Path(__file__).parents[2] / "data"
NOW_MS = 1_790_000_000_000
SESSIONS = {
    "kraken v1": lambda: SessionV1("wss://x", ["BTC/USD"], Faults(["BTC/USD"])),
    "kraken v2": lambda: SessionV2("wss://x", ["BTC/USD"], Faults(["BTC/USD"])),
    "coinbase": lambda: CoinbaseSession("wss://x", ["BTC/USD"], KnownPairs("Coinbase", lambda _: None, ["BTC/USD"])),
}
fuzz = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["1e999999999", "NaN", "-1", "", "XBT/USD", "BTC/USD", "BTC-USD", "9" * 400, "2026-01-01", "\x00", "\ud800"]
    )
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def recorded(folder: str, start: str) -> list[Any]:
    return [json.loads(path.read_text()) for path in sorted((DATA / folder).glob(f"{start}*.json"))]


RECORDED = recorded("kraken", "") + recorded("coinbase", "")


def paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(deeper for key, child in inner for deeper in paths(child, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A recorded message with one to three of its parts replaced, or cut off somewhere."""
    message = json.loads(json.dumps(draw(st.sampled_from(RECORDED))))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(message)))
        if not path:
            message = draw(values)
            continue
        node = message
        for key in path[:-1]:
            node = node[key]
        if isinstance(node, dict) and draw(st.booleans()):
            del node[path[-1]]
        else:
            node[path[-1]] = draw(values)
    data = json.dumps(message).encode()
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data


@pytest.mark.parametrize("name", list(SESSIONS))
@given(messages=st.lists(damaged() | st.binary(max_size=50), max_size=5))
@fuzz
def test_a_session_reads_or_refuses_whatever_comes(name: str, messages: list[bytes]) -> None:
    session: Session = SESSIONS[name]()
    list(session.send(0.0))
    for number, message in enumerate(messages):
        try:
            events = list(session.receive(message, float(number), NOW_MS))
        except PassingError:
            continue
        for event in events:
            assert isinstance(event, Update | Beat | Joined)
            if isinstance(event, Update):
                assert event.items
                assert all(isinstance(item, Refused) or item.pair == event.pair == "BTC/USD" for item in event.items)
                assert all(str(item.error).encode() for item in event.items if isinstance(item, Refused))
        given = sum(len(event.items) for event in events if isinstance(event, Update))
        try:
            told = json.loads(message)
        except (ValueError, RecursionError):
            assert given  # as what it is: refused
        else:
            assert given >= trades_in(name, told)
        session.beat(float(number), NOW_MS)
    if session.problem() is None:  # ready: each pair's subscription was accepted
        assert any(b"subscri" in message for message in messages)


def trades_in(name: str, message: Any) -> int:
    """Returns how many trades, or what stands in their place, a message of the session's own protocol surely holds."""
    if (
        name == "kraken v1"
        and isinstance(message, list)
        and len(message) == 4
        and isinstance(message[1], list)
        and message[2] == "trade"
    ):
        return min(len(message[1]), 1 if message[3] != "XBT/USD" else len(message[1]))
    if (
        name == "kraken v2"
        and isinstance(message, dict)
        and message.get("channel") == "trade"
        and isinstance(message.get("data"), list)
    ):
        return min(len(message["data"]), 1)
    return 0


@given(rows=st.lists(values, max_size=5))
@fuzz
def test_each_row_of_an_answer_is_a_trade_or_refused(rows: list[Any]) -> None:
    data = json.dumps(rows).encode()
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError:
        return  # the whole answer is asked for again
    assert len(rest_trades("BTC/USD", msgspec.Raw(data), "x")) == len(rows)


@given(
    status=st.sampled_from([200, 200, 200, 204, 301, 400, 403, 404, 418]), content=damaged() | st.binary(max_size=50)
)
@fuzz
def test_an_answer_of_rest_is_a_page_or_passes(status: int, content: bytes) -> None:
    common = {"pipeline": "t", "pairs": ["BTC/USD"]}
    for source, kind in (("kraken", Kraken), ("coinbase", Coinbase)):
        chosen = TradesSettings(**common, source=source)
        exchange: Any = kind(chosen, chosen.exchange, Stop())  # type: ignore[arg-type]
        exchange.knows("BTC/USD")
        response = httpx.Response(status, content=content, request=httpx.Request("GET", "http://x"))
        exchange.rest = Answer(response)
        try:
            page = exchange.page(
                "BTC/USD", Seam(0, [Trade(pair="BTC/USD", price=1, volume=1, trade_id=1, timestamp_ms=NOW_MS)]), 0
            )
        except PassingError:
            continue
        assert status == 200
        assert page.cursor > 0
        assert all(isinstance(item, Trade | Refused) for item in page.items)


REST = RestClient("kraken_rest_url", 1e9, Stop())
TLS = httpx.create_ssl_context()
dates = st.from_regex(
    r"(Mon, )?[0-9]{1,25} (Jan|Xxx) [0-9]{1,25} [0-9]{1,3}:[0-9]{1,25}:[0-9]{1,3} (GMT|[+-][0-9]{1,25})",
    fullmatch=True,
)


@given(
    status=st.sampled_from([200, 200, 429, 503]),
    date=dates | st.sampled_from(["Mon, 01 Jan 99999999999999999999 00:00:00 GMT"]) | st.binary(max_size=30),
    wait=st.from_regex(r"-?[0-9]{1,400}", fullmatch=True) | st.binary(max_size=10),
)
@fuzz
def test_an_answer_of_rest_with_any_headers_is_read_or_passes(
    status: int, date: str | bytes, wait: str | bytes
) -> None:
    headers = {b"Date": date, b"Retry-After": wait}
    raw = {name: value.encode() if isinstance(value, str) else value for name, value in headers.items()}
    REST._client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(status, headers=raw)), verify=TLS
    )
    try:
        assert REST.once("http://x", {}, lambda response: response.status_code) == 200
    except PassingError:
        assert status != 200


class Answer:
    """A REST client that has this answer to everything."""

    problem = lag_ms = None

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    def get(self, _url: str, _parameters: Any, read: Any) -> Any:
        return read(self._response)


@given(
    error=st.text(max_size=60) | st.sampled_from(["EQuery:Unknown asset pair", "Currency pair not supported XBT/USD"])
)
@fuzz
def test_an_error_ends_the_service_only_if_the_pair_has_never_answered(error: str) -> None:
    known = Faults(["BTC/USD"]).judge("BTC/USD", [error])
    assert isinstance(known, PassingError) or (known is None and error.startswith("W"))
    unknown = Faults().judge("BTC/USD", [error])
    assert not isinstance(unknown, SettingsError) or "BTC/USD" in str(unknown)


def test_a_row_of_v1_with_half_a_surrogate_is_refused_whole() -> None:
    row = '["5", "\\ud800", "1725000000.1", "b", "m", ""]'
    session = SESSIONS["kraken v1"]()
    list(session.send(0.0))
    [update] = session.receive(f'[0, [{row}], "trade", "XBT/USD"]'.encode(), 0.0, NOW_MS)
    assert isinstance(update, Update)
    [refused] = update.items
    assert isinstance(refused, Refused)
    assert refused.value.decode() == row


def test_a_message_nested_without_end_is_refused() -> None:
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        v2_message.decode(b'{"result":{"warnings":' + b"[" * 100_000)
    for make in SESSIONS.values():
        [update] = make().receive(b"[" * 100_000, 0.0, NOW_MS)  # type: ignore[attr-defined]
        assert isinstance(update.items[0], Refused)
