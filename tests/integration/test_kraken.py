"""The trades service as a process against a stand-in for Kraken on real sockets, and the embedded broker.

What is looked at is what a read_committed consumer finds in the topics: every trade, in order, once, whatever
happened to the process, the connection or the broker.
"""

from __future__ import annotations

import random
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pricecast_core.messages import Clock, decode
from pricecast_embedded_broker import EmbeddedBroker
from tests.doubles.kraken import Deal, KrakenDouble
from tests.integration.trades_process import Process, letters, messages, running, told, trades
from tests.waiting import eventually

NOW_US = time.time_ns() // 1000


@pytest.fixture
def exchange() -> Iterator[KrakenDouble]:
    with KrakenDouble(["BTC/USD", "ETH/USD"]) as exchange:
        yield exchange


def dealt(deals: list[Deal]) -> list[tuple[float, float, int]]:
    return [(float(deal.price), float(deal.volume), deal.time_us // 1000) for deal in deals]


def live(exchange: KrakenDouble, process: Process) -> bool:
    return bool(exchange.subscribers("BTC/USD")) and process.ready()


def history(count: int, *, before_us: int = NOW_US, step_us: int = 50_000) -> list[Deal]:
    """Returns trades up to now, some of them within one millisecond or even alike."""
    rng = random.Random(count)
    deals: list[Deal] = []
    time_us = before_us - count * step_us
    for number in range(1, count + 1):
        alike = deals and rng.random() < 0.05
        time_us += 0 if alike else rng.choice((0, 100, 900, step_us))
        price, volume = (deals[-1].price, deals[-1].volume) if alike else (f"{50_000 + rng.gauss(0, 50):.1f}", "0.01")
        side = deals[-1].side if alike else rng.choice(("buy", "sell"))
        deals.append(Deal(number, price, volume, time_us, side))
    return deals


def kraken(exchange: KrakenDouble, version: str = "v2", **settings: str) -> dict[str, str]:
    return {
        "KRAKEN_REST_URL": exchange.rest_url,
        "KRAKEN_WEBSOCKET": version,
        "KRAKEN_WEBSOCKET_URL": exchange.v2_url if version == "v2" else exchange.v1_url,
        "KRAKEN_REQUESTS_PER_SECOND": "200",
    } | settings


class Trading:
    """Trades that go on in the background, of every pair of an exchange."""

    def __init__(self, exchange: KrakenDouble, per_second: float = 200) -> None:
        self._exchange = exchange
        self._pause = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        rng = random.Random(1)
        while not self._stop.wait(self._pause):
            pair = rng.choice(list(self._exchange.deals))
            self._exchange.trade(pair, 50_000 + round(rng.gauss(0, 50), 1), 0.01, time.time_ns() // 1000)


def some_more(exchange: KrakenDouble, deals: int = 50) -> None:
    """Waits until so many more deals have been made."""
    before = sum(map(len, exchange.deals.values()))
    eventually(lambda: sum(map(len, exchange.deals.values())) >= before + deals)


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_the_past_and_the_present_of_kraken_meet_without_gap_or_duplicate(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path, version: str
) -> None:
    exchange.deals["BTC/USD"] = history(2_500)
    exchange.deals["ETH/USD"] = history(1_200)
    settings = kraken(exchange, version, PAIRS="XBT/USD,eth-usd")
    with Trading(exchange), running(broker, tmp_path, **settings) as process:
        eventually(lambda: exchange.subscribers("BTC/USD") and exchange.subscribers("ETH/USD"))
        eventually(process.ready)
        some_more(exchange)
        exchange.disconnect()
        eventually(lambda: exchange.subscribers("BTC/USD") and exchange.subscribers("ETH/USD"))
        some_more(exchange)
    with running(broker, tmp_path, **settings) as process:
        eventually(lambda: all(len(trades(broker, pair)) >= len(deals) for pair, deals in exchange.deals.items()))
        process.send(signal.SIGTERM)
        assert process.wait(120) == 0
    for pair, deals in exchange.deals.items():
        assert told(trades(broker, pair)) == dealt(deals)


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_a_process_killed_at_any_moment_loses_and_doubles_nothing(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path, version: str
) -> None:
    exchange.deals["BTC/USD"] = history(5_000)
    rng = random.Random(7)
    settings = kraken(exchange, version)
    with Trading(exchange):
        for _ in range(6):
            with running(broker, tmp_path, **settings) as process:
                eventually(lambda: exchange.rest_calls or not process.running())
                time.sleep(rng.uniform(0, 1.5))
            exchange.rest_calls.clear()
    with running(broker, tmp_path, **settings):
        eventually(lambda: len(trades(broker)) >= len(exchange.deals["BTC/USD"]))
        eventually(lambda: exchange.subscribers("BTC/USD"))
    assert told(trades(broker)) == dealt(exchange.deals["BTC/USD"])


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_kraken_is_read_over_tls(broker: EmbeddedBroker, tmp_path: Path, version: str) -> None:
    certificate = tmp_path / "localhost.pem"
    context = self_signed(certificate)
    with KrakenDouble(tls=context) as exchange:
        exchange.deals["BTC/USD"] = history(10)
        with running(broker, tmp_path, **kraken(exchange, version, SSL_CERT_FILE=str(certificate))) as process:
            eventually(lambda: live(exchange, process))
            exchange.trade("BTC/USD", 50_000, 0.01, time.time_ns() // 1000)
            eventually(lambda: told(trades(broker)) == dealt(exchange.deals["BTC/USD"]))


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_a_certificate_that_is_not_trusted_is_said_to_be(broker: EmbeddedBroker, tmp_path: Path, version: str) -> None:
    with (
        KrakenDouble(tls=self_signed(tmp_path / "localhost.pem")) as exchange,
        running(broker, tmp_path, **kraken(exchange, version, MODE="Live")) as process,
    ):
        eventually(lambda: "certificate" in process.get("/readyz")[1].lower())


def self_signed(path: Path) -> ssl.SSLContext:
    """Writes a certificate for localhost and returns a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = path.with_suffix(".key")
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, private)
    return context


def test_a_gap_within_a_connection_is_filled(broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path) -> None:
    exchange.deals["BTC/USD"] = history(10)
    with running(broker, tmp_path, **kraken(exchange)) as process:
        eventually(lambda: live(exchange, process))
        exchange.faults.rest_lag = 5  # REST doesn't know them at once either
        exchange.faults.lose = 2
        for _ in range(5):
            exchange.trade("BTC/USD", 50_000, 0.01, time.time_ns() // 1000)
        eventually(lambda: len(exchange.rest_calls) > 2)
        exchange.faults.rest_lag = 0
        eventually(lambda: len(trades(broker)) >= 15)
        assert process.metric("pricecast_trades_gaps_total") >= 1
    assert [trade.trade_id for trade in trades(broker)] == list(range(1, 16))


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_a_silent_connection_is_replaced(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path, version: str
) -> None:
    with running(broker, tmp_path, **kraken(exchange, version, KRAKEN_SILENCE_SECONDS="2")) as process:
        eventually(lambda: live(exchange, process))
        exchange.faults.silent = True
        exchange.trade("BTC/USD", 50_000, 0.01, time.time_ns() // 1000)
        before = exchange.connections
        eventually(lambda: exchange.connections > before)
        exchange.faults.silent = False
        eventually(lambda: len(trades(broker)) == 1)
        eventually(process.ready)
        assert process.get("/healthz")[0] == 200
        assert process.metric("pricecast_trades_reconnects_total") >= 1


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_an_exchange_that_is_away_is_said_to_be_and_comes_back(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path, version: str
) -> None:
    with running(broker, tmp_path, **kraken(exchange, version)) as process:
        eventually(lambda: live(exchange, process))
        exchange.faults.refuse = True
        exchange.disconnect()
        eventually(lambda: not process.ready())
        assert "kraken_websocket_url" in process.get("/readyz")[1]
        exchange.faults.refuse = False
        eventually(process.ready)


def test_kraken_may_refuse_calls_for_a_while(broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path) -> None:
    exchange.deals["BTC/USD"] = history(1_500)
    exchange.faults.rest.extend([429, "EAPI:Rate limit exceeded", 503])
    with running(broker, tmp_path, **kraken(exchange, MODE="Historical")) as process:
        eventually(lambda: process.metric("pricecast_trades_rest_retries_total") >= 1)
        assert process.wait() == 0
    assert told(trades(broker)) == dealt(exchange.deals["BTC/USD"])


def test_an_unknown_pair_is_a_mistake_in_the_settings(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path
) -> None:
    with running(broker, tmp_path, **kraken(exchange, PAIRS="BTD/USD")) as process:
        assert process.wait() == 78
    [said] = [line["error"] for line in process.lines() if line.get("level") == "error"]
    assert "BTD/USD" in said
    assert "did you mean BTC/USD" in said


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_a_pair_that_kraken_lists_is_not_given_up_when_its_first_answer_calls_it_unknown(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path, version: str
) -> None:
    exchange.deals["BTC/USD"] = history(10)
    exchange.faults.rest.extend(["EQuery:Unknown asset pair", "EService:Unavailable", "EQuery:Unknown asset pair"])
    with running(broker, tmp_path, **kraken(exchange, version)) as process:
        eventually(lambda: live(exchange, process))
    exchange.faults.subscriptions.append("Currency pair not supported XBT/USD")
    (tmp_path / "live").mkdir()
    with running(broker, tmp_path / "live", **kraken(exchange, version, PAIRS="ETH/USD", MODE="Live")) as process:
        eventually(lambda: bool(exchange.subscribers("ETH/USD")) and process.ready())
    assert told(trades(broker)) == dealt(exchange.deals["BTC/USD"])


def test_what_kraken_garbles_is_refused_and_the_rest_goes_on(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path
) -> None:
    exchange.deals["BTC/USD"] = history(5)
    exchange.bad_rows["BTC/USD"] = [["-1.0", "0.1", time.time(), "b", "m", "", 6], ["nonsense"]]
    with running(broker, tmp_path, **kraken(exchange)) as process:
        eventually(lambda: live(exchange, process))
        exchange.send_raw("{not json")
        exchange.send_raw('{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","price":"NaN"}]}')
        exchange.bad_rows.clear()
        exchange.trade("BTC/USD", 50_000, 0.01, time.time_ns() // 1000)
        eventually(lambda: len(trades(broker)) == 6)
        eventually(lambda: len(letters(broker)) == 4)


def test_a_broker_that_is_away_costs_nothing_but_time(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path
) -> None:
    exchange.deals["BTC/USD"] = history(1_500)
    with Trading(exchange, 50), running(broker, tmp_path, **kraken(exchange)) as process:
        eventually(lambda: len(trades(broker)) > 1_500)
        broker.stop()
        eventually(lambda: not process.ready())
        time.sleep(15)  # longer than a transaction may take
        broker.start()
        eventually(process.ready)
        eventually(lambda: len(trades(broker)) > 1_600)
    with running(broker, tmp_path, **kraken(exchange)):
        eventually(lambda: len(trades(broker)) >= len(exchange.deals["BTC/USD"]))
    assert told(trades(broker)) == dealt(exchange.deals["BTC/USD"])


def test_a_second_process_shuts_the_first_one_out(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path
) -> None:
    settings = kraken(exchange)
    with Trading(exchange, 50), running(broker, tmp_path, **settings) as first:
        eventually(first.ready)
        with running(broker, tmp_path, **settings) as second:
            assert first.wait() == 1
            eventually(second.ready)
    with running(broker, tmp_path, **settings):
        eventually(lambda: len(trades(broker)) >= len(exchange.deals["BTC/USD"]))
    assert told(trades(broker)) == dealt(exchange.deals["BTC/USD"])


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_a_quiet_pair_is_told_how_late_it_is_by_what_kraken_sends_meanwhile(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path, version: str
) -> None:
    now_us = time.time_ns() // 1000
    exchange.deals["BTC/USD"] = history(10, before_us=now_us)
    with running(broker, tmp_path, **kraken(exchange, version, CANDLE_SECONDS="1")):
        clocks = eventually(lambda: len(found := told_clocks(broker)) >= 3 and found)
    times = [clock.timestamp_ms for clock in clocks]
    assert times == sorted(set(times))
    assert all(ms % 1000 == 0 for ms in times)
    assert now_us // 1_000_000 * 1000 <= times[0]  # whole candles: perhaps the one that had begun
    assert times[-1] <= time.time() * 1000


def test_the_format_of_v2_is_spoken_at_any_address(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path
) -> None:
    """As at the one endpoint for all markets that Kraken announces for 2027."""
    exchange.deals["BTC/USD"] = history(10)
    unified = {"KRAKEN_WEBSOCKET_URL": f"{exchange.v2_url}/unified"}
    with running(broker, tmp_path, **kraken(exchange, **unified)) as process:
        eventually(lambda: live(exchange, process))
        exchange.trade("BTC/USD", 50_000, 0.01, time.time_ns() // 1000)
        eventually(lambda: len(trades(broker)) == 11)


def told_clocks(broker: EmbeddedBroker) -> list[Clock]:
    return [decode(Clock, value) for _, value in messages(broker, "trades") if b'"clock"' in value]


@pytest.mark.parametrize(
    "fault",
    [
        "EQuery:Unknown asset pair",
        "EDatabase:Internal error",
        "EGeneral:Internal error",
        "EService:Unavailable",
        "EService:Market in cancel_only mode",
        "ESomething:Never heard of",
        403,
        404,
        520,
        "html",
    ],
)
def test_what_passes_is_tried_again_by_rest(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path, fault: str | int
) -> None:
    exchange.deals["BTC/USD"] = history(1_500)
    exchange.deals["ETH/USD"] = history(1)
    settings = kraken(exchange, MODE="Historical", KRAKEN_REQUESTS_PER_SECOND="5")
    with running(broker, tmp_path, **settings) as process:
        eventually(lambda: exchange.rest_calls)
        exchange.faults.rest.append(fault)
        assert process.wait() == 0
    assert told(trades(broker)) == dealt(exchange.deals["BTC/USD"])


def test_a_warning_beside_a_good_result_is_logged(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path
) -> None:
    exchange.deals["BTC/USD"] = history(10)
    exchange.faults.warning = "WGeneral:Deprecated"
    with running(broker, tmp_path, **kraken(exchange, MODE="Historical")) as process:
        assert process.wait() == 0
    assert len(trades(broker)) == 10
    assert any(line.get("warning") == "WGeneral:Deprecated" for line in process.lines())


@pytest.mark.parametrize("version", ["v2", "v1"])
@pytest.mark.parametrize(
    "error", ["Subscription temporarily unavailable", "EService:Unavailable", "Currency pair not supported XBT/USD"]
)
def test_a_subscription_refused_for_now_is_asked_for_again(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path, version: str, error: str
) -> None:
    exchange.deals["BTC/USD"] = history(10)
    exchange.faults.subscriptions.append(error)
    with running(broker, tmp_path, **kraken(exchange, version)) as process:
        eventually(lambda: error in process.get("/readyz")[1])
        eventually(lambda: live(exchange, process))
        assert exchange.connections == 1


def test_trades_of_one_moment_that_kraken_cannot_page_are_counted_and_said(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path
) -> None:
    moment_us = NOW_US - 60_000_000
    exchange.deals["BTC/USD"] = [
        Deal(number, "50000.0", "0.1", moment_us + max(0, number - 2_300), "buy") for number in range(1, 2_801)
    ]
    with running(broker, tmp_path, **kraken(exchange, SINCE="1h")) as process:
        eventually(lambda: live(exchange, process))
        assert process.metric("pricecast_trades_missing_total") == 1_300
        [said] = [line for line in process.lines() if "gap left" in line["event"]]
        assert said["missing"] == 1_300
    assert len({trade.trade_id for trade in trades(broker)}) == 1_500


@pytest.mark.parametrize(("together", "missing"), [(2_300, 300), (1_700, 0), (1_000, 0)])
def test_trades_of_one_moment_at_the_very_end_are_had_from_both_sides_and_the_rest_is_counted(
    broker: EmbeddedBroker, exchange: KrakenDouble, tmp_path: Path, together: int, missing: int
) -> None:
    moment_us = NOW_US - 60_000_000
    exchange.deals["BTC/USD"] = [
        Deal(number, "50000.0", "0.1", moment_us - max(0, 100 - number), "buy") for number in range(1, together + 100)
    ]
    with running(broker, tmp_path, **kraken(exchange, MODE="Historical", SINCE="1h")) as process:
        assert process.wait() == 0
        said = [line for line in process.lines() if "gap left" in line["event"]]
    assert [line["missing"] for line in said] == ([missing] if missing else [])
    assert [trade.trade_id for trade in trades(broker)] == [
        number for number in range(1, together + 100) if not 1_099 < number <= 1_099 + missing
    ]
