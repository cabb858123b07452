"""The trades service as a process against a stand-in for Coinbase Exchange, and the embedded broker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pricecast_embedded_broker import EmbeddedBroker
from tests.doubles.coinbase import CoinbaseDouble
from tests.integration.trades_process import eventually, messages, running, trades


@pytest.fixture
def exchange() -> Iterator[CoinbaseDouble]:
    with CoinbaseDouble() as exchange:
        yield exchange


def coinbase(exchange: CoinbaseDouble, **settings: str) -> dict[str, str]:
    return {
        "SOURCE": "coinbase",
        "COINBASE_REST_URL": exchange.rest_url,
        "COINBASE_WEBSOCKET_URL": exchange.websocket_url,
        "COINBASE_REQUESTS_PER_SECOND": "200",
    } | settings


def numbers(broker: EmbeddedBroker) -> list[int | None]:
    return [trade.trade_id for trade in trades(broker)]


def test_the_past_and_the_present_of_coinbase_meet_without_gap_or_duplicate(
    broker: EmbeddedBroker, exchange: CoinbaseDouble, tmp_path: Path
) -> None:
    exchange.history(2_500)
    with running(broker, tmp_path, **coinbase(exchange)) as process:
        eventually(lambda: exchange.subscribers() and process.ready())
        exchange.trade()
        exchange.disconnect()
        exchange.trade()
        exchange.trade()
        eventually(exchange.subscribers)
        exchange.lose = 1
        exchange.trade()  # nothing follows it: only the heartbeat tells
        eventually(lambda: len(trades(broker)) >= 2_504)
    exchange.trade()
    with running(broker, tmp_path, **coinbase(exchange)):
        eventually(lambda: len(trades(broker)) >= 2_505)
    assert numbers(broker) == list(range(1, 2_506))


def test_the_past_begins_at_the_time_asked_for(
    broker: EmbeddedBroker, exchange: CoinbaseDouble, tmp_path: Path
) -> None:
    exchange.history(5_000, step_seconds=1)
    with running(broker, tmp_path, **coinbase(exchange, MODE="Historical", SINCE="20m")) as process:
        assert process.wait() == 0
    found = numbers(broker)
    assert found == list(range(found[0] or 0, 5_001))
    assert 1_150 <= len(found) <= 1_200
    assert len(exchange.rest_calls) < 25  # found by bisection, not by reading on from the first


def test_a_quiet_product_is_told_how_late_it_is(
    broker: EmbeddedBroker, exchange: CoinbaseDouble, tmp_path: Path
) -> None:
    exchange.history(10)
    with running(broker, tmp_path, **coinbase(exchange, CANDLE_SECONDS="1")):
        eventually(lambda: sum(b'"clock"' in value for _, value in messages(broker, "trades")) >= 2)


def test_what_passes_is_tried_again_and_an_unknown_product_is_a_mistake(
    broker: EmbeddedBroker, exchange: CoinbaseDouble, tmp_path: Path
) -> None:
    exchange.history(1_500)
    not_found = (404, {"message": "NotFound"})  # at the first ask, too, where the list of products has it
    exchange.refusals += [not_found, (429, {"message": "Public rate limit exceeded"}), not_found]
    exchange.refusals += [(404, "<html>"), (503, {"message": "no"})]
    with running(broker, tmp_path, **coinbase(exchange, MODE="Historical")) as process:
        assert process.wait() == 0
    assert numbers(broker) == list(range(1, 1_501))
    with running(broker, tmp_path, **coinbase(exchange, PAIRS="FOO/USD")) as process:
        assert process.wait() == 78
    assert any("FOO/USD" in line.get("error", "") for line in process.lines())


def test_a_pipeline_of_coinbase_goes_from_trades_to_features(exchange: CoinbaseDouble, tmp_path: Path) -> None:
    exchange.history(2_000, step_seconds=0.5)
    manifest = tmp_path / "coinbase.yaml"
    manifest.write_text(f"""\
apiVersion: pricecast.dev/v1alpha1
kind: PricePipeline
metadata: {{name: coinbase}}
spec:
  pairs: [BTC/USD]
  source:
    kind: Coinbase
    mode: Historical
    since: 1h
    coinbase: {{restUrl: "{exchange.rest_url}", websocketUrl: "{exchange.websocket_url}"}}
  candles: {{seconds: 1}}
  training: {{minRows: 10000, lookback: 1d}}
  prediction: {{horizonsSeconds: [10]}}
""")
    command = [Path(sys.executable).with_name("pricecast"), "up", manifest, "--exit-when-drained", "--no-view"]
    options = ["--data-dir", tmp_path / "data", "--http-port", "0", "--grpc-port", "0"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'data' / 'features.db'}")
    with engine.connect() as connection:
        [table] = [name for name in sa.inspect(connection).get_table_names() if "technical_indicators" in name]
        rows = connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one()
    assert 699 <= rows <= 702  # 1,000 candles, of which the first 299 warm up
