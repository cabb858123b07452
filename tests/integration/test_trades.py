"""The trades service as a process, replaying files and simulating a market, against the embedded broker."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

from pricecast_core.messages import Candle, decode
from pricecast_core.service import Stop
from pricecast_embedded_broker import EmbeddedBroker
from pricecast_trades.market import SimulatedPair
from pricecast_trades.sources import simulated
from tests.integration.trades_process import letters, messages, replay_through_kills, running, told, trades
from tests.waiting import eventually


def csv_of_trades(path: Path, count: int, bad: dict[int, str]) -> list[tuple[float, float, int]]:
    """Writes Kraken's trades CSV with bad lines at some numbers; returns what is right in it."""
    rng = random.Random(3)
    rows, moment_ms = [], 1_600_000_000_000
    with path.open("w") as file:
        for number in range(1, count + 1):
            if number in bad:
                file.write(bad[number] + "\n")
                continue
            moment_ms += rng.choice((0, 1, 10, 2_000))
            price, volume = round(100 + rng.gauss(0, 1), 2), round(rng.random() + 0.001, 3)
            file.write(f"{moment_ms // 1000}.{moment_ms % 1000:03d},{price},{volume}\n")
            rows.append((price, volume, moment_ms))
    return rows


BAD_LINES = {
    1: "timestamp,price,volume",
    500: "1600000100.5,100.1",
    501: "1600000100.5,nan,1",
    9_000: "1600000100.5,-3,1",
    15_000: "0,100,1",
    15_001: "4102444800,100,1",
    20_000: "1599999999,100,1",
}


def test_a_replay_killed_at_any_moment_is_whole_once_it_has_finished(broker: EmbeddedBroker, tmp_path: Path) -> None:
    path = tmp_path / "XBTUSD.csv"
    expected = csv_of_trades(path, 120_000, BAD_LINES)
    replay_through_kills(broker, tmp_path, 0.5, REPLAY_FILES=json.dumps([str(path)]))
    assert told(trades(broker)) == expected
    refused = letters(broker)
    assert [letter.offset for letter in refused] == sorted(
        BAD_LINES.keys() - {1}
    )  # names of columns are no refused row
    assert {letter.reason for letter in refused} == {"malformed", "out_of_order"}


def test_bars_are_candles_and_a_restart_doubles_none(broker: EmbeddedBroker, tmp_path: Path) -> None:
    path = tmp_path / "XBTUSD_1.csv"
    start = 1_600_000_200
    minutes = [minute for minute in range(1_000) if minute not in (7, 8)]
    path.write_text("".join(f"{start + 60 * m},{m + 1},{m + 3},{m + 0.5},{m + 2},0.5,3\n" for m in minutes))
    for _ in range(2):
        with running(broker, tmp_path, SOURCE="replay", REPLAY_FILES=json.dumps([str(path)])) as process:
            assert process.wait() == 0
    candles = [decode(Candle, value) for _, value in messages(broker, "candles")]
    assert [candle.window_start_ms for candle in candles] == [(start + 60 * m) * 1000 for m in range(1_000)]
    assert candles[6].flat_after() == candles[7]
    assert candles[7].flat_after() == candles[8]
    assert candles[9].open == 10
    assert messages(broker, "trades") == []


def test_a_file_that_can_not_be_read_is_a_mistake_in_the_settings(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with running(broker, tmp_path, SOURCE="replay", REPLAY_FILES='["/nowhere.csv"]') as process:
        assert process.wait() == 78
    assert any("/nowhere.csv" in line.get("error", "") for line in process.lines())


def test_a_simulated_market_goes_on_where_it_was_killed(broker: EmbeddedBroker, tmp_path: Path) -> None:
    settings = {"SOURCE": "simulated", "SINCE": "6h", "SIMULATION_TRADES_PER_SECOND": "5"}
    for seconds in (0.3, 0.8, 1.5):
        with running(broker, tmp_path, **settings) as process:
            eventually(lambda: any(line["event"] == "started" for line in process.lines()))
            time.sleep(seconds)
    with running(broker, tmp_path, **settings) as process:
        eventually(lambda: process.metric("pricecast_event_time_seconds") > time.time() - 5)
        process.send(signal.SIGTERM)
        assert process.wait(120) == 0
    found = trades(broker)
    first = found[0]
    assert first.trade_id is not None
    market = SimulatedPair("BTC/USD", 7, 50_000, 5)
    stream = simulated.trades(market, first.trade_id // 10_000_000, 0, Stop())
    assert found == [next(stream) for _ in found]
