"""Messages: what is valid passes unchanged, what isn't is refused with the field's name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_core.errors import BadMessageError
from pricecast_core.messages import FIRST_TIMESTAMP_MS, Candle, DeadLetter, Prediction, Trade, decode, encode
from pricecast_core.values import PAIR

NOW_MS = 1_760_000_000_000
TRADE = {"pair": "BTC/USD", "price": 50_000.5, "volume": 0.25, "side": "buy", "trade_id": 7, "timestamp_ms": NOW_MS}

prices = st.floats(min_value=1e-12, max_value=1e12)
trades = st.builds(
    Trade,
    pair=st.from_regex(rf"\A{PAIR}\Z"),
    price=prices,
    volume=st.floats(min_value=1e-12, max_value=1e15),
    side=st.sampled_from(["buy", "sell", None]),
    trade_id=st.none() | st.integers(0, 2**62),
    timestamp_ms=st.integers(FIRST_TIMESTAMP_MS, NOW_MS),
)


@given(trades)
def test_a_valid_trade_survives_the_wire_unchanged(trade: Trade) -> None:
    assert decode(Trade, encode(trade), now_ms=NOW_MS) == trade


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"price": -1}, "price"),
        ({"price": 0}, "price"),
        ({"price": 1e300}, "price"),
        ({"price": "dear"}, "price"),
        ({"price": None}, "price"),
        ({"volume": 0}, "volume"),
        ({"pair": "BTCUSD"}, "pair"),
        ({"side": "hold"}, "side"),
        ({"timestamp_ms": 0}, "timestamp_ms"),
        ({"timestamp_ms": NOW_MS // 1000}, "timestamp_ms"),
        ({"timestamp_ms": NOW_MS + 365 * 86_400_000}, "timestamp_ms"),
        ({"timestamp_ms": 1.5}, "timestamp_ms"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, object], field: str) -> None:
    with pytest.raises(BadMessageError) as refused:
        decode(Trade, json.dumps({**TRADE, **change}).encode(), now_ms=NOW_MS)
    assert refused.value.field == field
    assert str(refused.value)


@pytest.mark.parametrize("missing", ["pair", "price", "volume", "timestamp_ms"])
def test_a_missing_field_is_named(missing: str) -> None:
    with pytest.raises(BadMessageError) as refused:
        decode(Trade, json.dumps({k: v for k, v in TRADE.items() if k != missing}).encode(), now_ms=NOW_MS)
    assert refused.value.field == missing


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"pair": NaN}', json.dumps(TRADE).replace("50000.5", "NaN").encode()],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessageError):
        decode(Trade, data, now_ms=NOW_MS)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_crash_the_decoder(data: bytes) -> None:
    with pytest.raises(BadMessageError):
        decode(Trade, data, now_ms=NOW_MS)


def test_a_number_beyond_a_float_is_refused() -> None:
    with pytest.raises(BadMessageError):
        decode(Trade, json.dumps(TRADE).replace("50000.5", "1e999").encode(), now_ms=NOW_MS)


def test_unknown_fields_are_ignored_so_that_schemas_can_grow() -> None:
    assert decode(Trade, json.dumps({**TRADE, "venue": "new"}).encode(), now_ms=NOW_MS).trade_id == 7


def test_a_flat_candle_continues_the_one_before() -> None:
    candle = Candle(
        pair="BTC/USD",
        open=1,
        high=3,
        low=0.5,
        close=2,
        volume=9,
        trade_count=4,
        window_start_ms=NOW_MS,
        window_end_ms=NOW_MS + 60_000,
        candle_seconds=60,
    )
    flat = candle.flat_after()
    assert (flat.open, flat.high, flat.low, flat.close) == (2, 2, 2, 2)
    assert (flat.volume, flat.trade_count) == (0, 0)
    assert (flat.window_start_ms, flat.window_end_ms) == (candle.window_end_ms, candle.window_end_ms + 60_000)


def test_a_dead_letter_keeps_any_bytes() -> None:
    letter = DeadLetter(service="candles", topic="btc.trades", reason="malformed", error="not JSON", value=b"\xff\x00{")
    assert decode(DeadLetter, encode(letter)).value == b"\xff\x00{"


def test_the_same_forecast_has_the_same_id() -> None:
    def forecast(price: float) -> Prediction:
        return Prediction(
            pipeline="btc",
            pair="BTC/USD",
            horizon_seconds=300,
            issued_at_ms=NOW_MS,
            target_time_ms=NOW_MS + 300_000,
            feature_time_ms=NOW_MS,
            last_price=price,
            predicted_price=price,
            lower=price,
            upper=price,
            model_name="naive",
            model_version=0,
        )

    assert forecast(1).id == forecast(2).id
