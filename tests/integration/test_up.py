"""`pricecast` as a person uses it: a whole pipeline on embedded stores, with the real services."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from pricecast_cli.local.folder import DataFolder
from pricecast_core.messages import Prediction
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from tests.waiting import eventually

PRICECAST = str(Path(sys.executable).with_name("pricecast"))
START_S = 1_640_991_600
"""2021-12-31T23:00:00Z."""

LIVE = """\
apiVersion: pricecast.dev/v1alpha1
kind: PricePipeline
metadata: {name: tiny}
spec:
  pairs: [BTC/USD]
  source: {kind: Simulated, since: 20m, simulated: {tradesPerSecond: 5}}
  candles: {seconds: 1}
  training: {lookback: 1h, minRows: 400, trials: 0, folds: 2, maxSeconds: 20}
  prediction: {horizonsSeconds: [5]}
"""
FILES = """\
apiVersion: pricecast.dev/v1alpha1
kind: PricePipeline
metadata: {name: files}
spec:
  pairs: [BTC/USD]
  training: {minRows: 500, trials: 0, folds: 2, maxSeconds: 20}
"""


def bars(path: Path, first: int, count: int) -> Path:
    """Writes a seeded random walk as Kraken's one-minute OHLCVT bars, `first` to `first + count`."""
    random.seed(7)
    price, lines = 46_000.0, []
    for number in range(first + count):
        close = price * (1 + random.gauss(0, 0.0005))
        high, low = max(price, close) * 1.0001, min(price, close) * 0.9999
        volume = random.uniform(1, 20)
        if number >= first:
            lines.append(
                f"{START_S + 60 * number},{price:.1f},{high:.1f},{low:.1f},{close:.1f},{volume:.4f},{number % 50}"
            )
        price = round(close, 1)
    path.write_text("\n".join(lines) + "\n")
    return path


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def pricecast(*arguments: str | Path, cwd: Path, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "KAFKA_BROKERS"}
    return subprocess.run(
        [PRICECAST, *map(str, arguments)],
        cwd=cwd,
        env={**env, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def feature_rows(folder: Path) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(f"sqlite:///{folder / 'features.db'}")
    with engine.connect() as connection:
        table = next(name for name in sa.inspect(connection).get_table_names() if "technical_indicators" in name)
        return sorted(tuple(row) for row in connection.execute(sa.text(f"SELECT * FROM {table}")))


def latest(folder: DataFolder) -> Prediction:
    store = SqlPredictionStore(folder.database("predictions"))
    (found,) = store.latest("tiny")
    store.close()
    return found


one_pipeline = pytest.mark.xdist_group("one pipeline, one test after the other")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory in which a small simulated pipeline is up."""
    cwd = tmp_path_factory.mktemp("live")
    written(cwd / "tiny.yaml", LIVE)
    started = pricecast("up", "tiny.yaml", "--detach", cwd=cwd)
    try:
        assert started.returncode == 0, started.stderr
        assert "up: gRPC 127.0.0.1:" in started.stdout
        yield cwd
    finally:
        pricecast("down", cwd=cwd)


def address(cwd: Path) -> str:
    return str(DataFolder(cwd / ".pricecast" / "tiny").read_state()["addresses"]["http"])


def predicted(cwd: Path) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{address(cwd)}/predict?pair=BTC/USD", timeout=60) as response:
        found: dict[str, Any] = json.load(response)
        return found


@one_pipeline
def test_a_pipeline_predicts_trains_and_goes_on_after_a_crash(live: Path) -> None:
    first = eventually(lambda: pricecast("predict", "BTC/USD", "--json", cwd=live).stdout)
    assert json.loads(first)["simulated"]
    assert predicted(live)["pair"] == "BTC/USD"
    log = live / ".pricecast" / "tiny" / "logs" / "supervisor.log"
    eventually(lambda: "train done" in log.read_text())

    state = DataFolder(live / ".pricecast" / "tiny").read_state()
    os.kill(state["programs"]["candles"]["process"]["pid"], signal.SIGKILL)
    before = predicted(live)["feature_time"]
    eventually(lambda: "candles ended: killed by signal 9" in log.read_text())
    eventually(lambda: predicted(live)["feature_time"] > before)


@one_pipeline
def test_status_says_what_runs_and_that_all_is_ready(live: Path) -> None:
    eventually(lambda: pricecast("status", cwd=live).returncode == 0)
    shown = pricecast("status", cwd=live).stdout
    assert "tiny: up" in shown
    assert all(name in shown for name in ("broker", "trades", "price-predictor", "prediction-api"))


@one_pipeline
def test_logs_are_readable(live: Path) -> None:
    assert "candles" in pricecast("logs", cwd=live).stdout.split()
    assert "started" in pricecast("logs", "candles", "-n", "1000", cwd=live).stdout
    unknown = pricecast("logs", "candle", cwd=live)
    assert (unknown.returncode, "'candle' has no log; there are" in unknown.stderr) == (78, True)


@one_pipeline
def test_the_same_pipeline_can_not_be_up_twice(live: Path) -> None:
    again = pricecast("up", "tiny.yaml", cwd=live)
    assert again.returncode == 1
    assert "is up already" in again.stderr


@one_pipeline
def test_down_leaves_nothing_running_and_the_predictions_readable(live: Path) -> None:
    folder = DataFolder(live / ".pricecast" / "tiny")
    eventually(lambda: pricecast("predict", "BTC/USD", cwd=live).returncode == 0)
    assert pricecast("down", cwd=live).stdout == "stopped; everything is kept\n"
    assert folder.supervisor() is None
    assert folder.strays() == {}
    assert "SIMULATED MARKET" in pricecast("predict", "BTC/USD", cwd=live).stdout
    assert pricecast("status", cwd=live).returncode == 1
    assert pricecast("down", cwd=live).stdout == "nothing was running\n"


@one_pipeline
def test_a_second_run_goes_on_from_what_was_stored_and_ctrl_c_ends_it_in_order(live: Path) -> None:
    folder = DataFolder(live / ".pricecast" / "tiny")
    pricecast("down", cwd=live)  # whichever tests ran before
    rows = feature_rows(folder.path)
    last = json.loads(pricecast("predict", "BTC/USD", "--json", cwd=live).stdout)
    env = {name: value for name, value in os.environ.items() if name != "KAFKA_BROKERS"}
    with (live / "second.txt").open("w") as output:
        again = subprocess.Popen(
            [PRICECAST, "up", "tiny.yaml", "--no-view"], cwd=live, env=env, stdout=output, stderr=output
        )
    try:
        eventually(lambda: latest(folder).feature_time_ms > last["feature_time_ms"])
        again.send_signal(signal.SIGINT)
        assert again.wait(120) == 0, (live / "second.txt").read_text()
    finally:
        again.kill()
        again.wait()
    assert "everything is kept" in (live / "second.txt").read_text()
    assert folder.supervisor() is None
    assert folder.strays() == {}
    assert set(rows) <= set(feature_rows(folder.path))
    assert latest(folder).model_version >= last["model_version"]


def test_a_replay_ends_when_all_of_it_is_through_and_a_second_one_changes_nothing(tmp_path: Path) -> None:
    written(tmp_path / "files.yaml", FILES)
    bars(tmp_path / "bars.csv", 0, 700)
    command = ("up", "files.yaml", "--replay", "bars.csv", "--exit-when-drained", "--data-dir", "data")
    done = pricecast(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = feature_rows(tmp_path / "data")
    last_end_ms = (START_S + 60 * 700) * 1000
    assert any(last_end_ms in row for row in rows)
    assert pricecast(*command, cwd=tmp_path).returncode == 0
    assert feature_rows(tmp_path / "data") == rows


@pytest.mark.parametrize(
    ("pair", "name", "spec"),
    [
        ("T/USD", "a" * 40, "indicators: [rsi, sma(400)]"),
        ("AAPLx/USD", "shares", "prediction: {horizonsSeconds: [60, 172800]}"),
    ],
)
def test_what_is_oddest_among_what_is_accepted_runs(tmp_path: Path, pair: str, name: str, spec: str) -> None:
    manifest = FILES.replace("BTC/USD", pair).replace("name: files", f"name: {name}")
    written(tmp_path / "odd.yaml", f"{manifest}  {spec}\n")
    bars(tmp_path / "bars.csv", 0, 1_000)
    command = ("up", "odd.yaml", "--replay", "bars.csv", "--exit-when-drained", "--data-dir", "data")
    done = pricecast(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert feature_rows(tmp_path / "data")
    latest = SqlPredictionStore(DataFolder(tmp_path / "data").database("predictions")).latest()
    assert {prediction.pair for prediction in latest} == {pair}


def test_a_backtest_prints_one_line_of_json(tmp_path: Path) -> None:
    written(tmp_path / "files.yaml", FILES)
    bars(tmp_path / "train.csv", 0, 1_500)
    bars(tmp_path / "later.csv", 1_500, 300)
    command = ("backtest", "files.yaml", "--bars", "train.csv", "--evaluate", "later.csv", "--json")
    done = pricecast(*command, cwd=tmp_path, timeout=280)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    result = json.loads(done.stdout)
    assert 0 < result["rows"] <= 300
    assert 0 <= result["coverage"] <= 1
    assert {"distribution_skill", "point_skill", "mae", "naive_mae"} <= result.keys()


def told_market(rows: int) -> tuple[list[str], list[str]]:
    """Returns bars that move far for some minutes after each headline, and the headlines."""
    chance, price, lines, told, since = random.Random(3), 46_000.0, [], [], 99
    for number in range(rows):
        if chance.random() < 0.04:
            when = datetime.fromtimestamp(START_S + 60 * number, UTC).isoformat()
            told.append(json.dumps({"title": f"Bitcoin surges after approval number {number}", "published_at": when}))
            since = 0
        since += 1
        close = round(price * (1 + chance.gauss(0, 0.002 if 2 <= since <= 8 else 0.0002)), 1)
        high, low = max(price, close) + 1, min(price, close) - 1
        lines.append(f"{START_S + 60 * number},{price:.1f},{high:.1f},{low:.1f},{close:.1f},5.0,{number % 50}")
        price = close
    return lines, told


def test_a_backtest_tells_what_news_add_on_the_same_rows(tmp_path: Path) -> None:
    written(tmp_path / "files.yaml", FILES)
    lines, told = told_market(2_400)
    written(tmp_path / "train.csv", "\n".join(lines[:1_600]) + "\n")
    written(tmp_path / "later.csv", "\n".join(lines[1_600:]) + "\n")
    written(tmp_path / "news.jsonl", "\n".join(told) + "\n")
    done = pricecast(
        "backtest", "files.yaml", "--bars", "train.csv", "--evaluate", "later.csv", "--news", "news.jsonl", "--json",
        cwd=tmp_path, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    news = result["news"]
    assert news["signals"] == len(told)
    assert news["without"]["rows"] == result["rows"]
    assert news["lead"]["verdict"] == "ahead"
    assert news["lead"]["low"] <= news["lead"]["skill"] <= news["lead"]["high"]


def test_a_backtest_of_two_pairs_needs_no_names_and_judges_no_row_that_it_learned(tmp_path: Path) -> None:
    both = FILES.replace("[BTC/USD]", "[BTC/USD, ETH/USD]") + "  prediction: {horizonsSeconds: [60, 300]}\n"
    written(tmp_path / "files.yaml", both)
    for name in ("one", "two"):
        bars(tmp_path / f"{name}-train.csv", 0, 1_500)
        bars(tmp_path / f"{name}-later.csv", 1_200, 600)  # 300 rows of it are in the file to train on
    done = pricecast(
        "backtest", "files.yaml", "--json", "--out", "rows.csv",
        "--bars", "one-train.csv", "--bars", "two-train.csv",
        "--evaluate", "one-later.csv", "--evaluate", "two-later.csv",
        cwd=tmp_path, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "600 rows that are there twice" in done.stderr
    assert "Traceback" not in done.stderr
    results = json.loads(done.stdout)["results"]
    assert {(one["pair"], one["horizon_seconds"], one["rows"]) for one in results} == {
        (pair, horizon, 300 - horizon // 60) for pair in ("BTC/USD", "ETH/USD") for horizon in (60, 300)
    }
    rows = pl.read_csv(tmp_path / "rows.csv")
    assert len(rows) == 4 * 300
    assert int(rows["time_ms"].min()) == (START_S + 60 * 1_501) * 1000  # type: ignore[arg-type]


def test_another_file_goes_on_and_what_is_known_is_counted(tmp_path: Path) -> None:
    written(tmp_path / "files.yaml", FILES)
    bars(tmp_path / "first.csv", 0, 400)
    second = bars(tmp_path / "second.csv", 350, 450)
    lines = second.read_text().splitlines()
    second.write_text("\n".join(reversed(lines)) + "\n")
    bars(tmp_path / "whole.csv", 0, 800)
    command = ("up", "files.yaml", "--exit-when-drained", "--data-dir")
    for file in ("first.csv", "second.csv"):
        done = pricecast(*command, "parts", "--replay", file, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "450 rows read, left out: 50 rows known from an earlier run" in done.stdout
    assert "with the newest row first, read from their end" in done.stdout
    assert pricecast(*command, "at-once", "--replay", "whole.csv", cwd=tmp_path).returncode == 0
    assert feature_rows(tmp_path / "parts") == feature_rows(tmp_path / "at-once")


def test_a_file_that_is_older_than_what_was_replayed_ends_with_what_to_do(tmp_path: Path) -> None:
    written(tmp_path / "files.yaml", FILES)
    bars(tmp_path / "earlier.csv", 0, 200)
    bars(tmp_path / "later.csv", 200, 400)
    command = ("up", "files.yaml", "--exit-when-drained", "--data-dir", "data", "--replay")
    assert pricecast(*command, "later.csv", cwd=tmp_path).returncode == 0
    rows = feature_rows(tmp_path / "data")
    told = pricecast(*command, "earlier.csv", cwd=tmp_path)
    assert told.returncode == 78
    assert "BTC/USD: 200 rows are older than what was replayed before, where they are missing" in told.stdout
    assert "left out: 200 rows older than what was read before" in told.stdout
    assert feature_rows(tmp_path / "data") == rows
    assert pricecast(*command, "later.csv", cwd=tmp_path).returncode == 0


def test_a_file_of_mostly_refused_rows_ends_the_replay_with_its_reason(tmp_path: Path) -> None:
    written(tmp_path / "files.yaml", FILES)
    file = bars(tmp_path / "bars.csv", 0, 300)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:200], *(line.replace(",", ";") for line in lines[200:])]) + "\n")
    told = pricecast("up", "files.yaml", "--replay", "bars.csv", "--exit-when-drained", cwd=tmp_path)
    assert told.returncode == 78
    assert "bars.csv: 100 of 300 lines were refused (the first: line 201: line: 1 columns" in told.stdout
    assert "Traceback" not in told.stdout + told.stderr
    assert "never retrieved" not in told.stdout + told.stderr
    listed = pricecast("deadletters", "list", "--limit", "1", cwd=tmp_path)  # of a pipeline that is down
    assert listed.returncode == 0, listed.stderr
    assert "     100  trades: malformed\n" in listed.stdout
    assert "bars.csv:300]" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("validate", "bad.yaml"), "bad.yaml:6: spec.candles.seconds: 0: should be greater than or equal to 1"),
        (("up", "good.yaml", "--replay", "nowhere.csv"), "nowhere.csv: can't be read: No such file"),
        (("up", "good.yaml", "--speed", "2"), "--speed: is for --replay FILE"),
        (("up", "good.yaml", "--exit-when-drained"), "the source never ends"),
        (("backtest", "good.yaml", "--evaluate", "x.csv"), "--bars, --trades: give one of them"),
        (("status",), "no pipeline was started from"),
        (("predict", "BTC"), "pair: 'BTC' is not a trading pair; write BASE/QUOTE"),
        (("up", "good.yaml", "--data-dir", "good.yaml"), "good.yaml can't be written: Not a directory"),
        (("validate", "."), ".: can't be read: Is a directory"),
        (("up", "good.yaml", "--replay", "."), ".: can't be read: Is a directory"),
        (("arena", "nowhere.csv"), "nowhere.csv: can't be read"),
        (("news", "evaluate", "--data", "nowhere.jsonl"), "nowhere.jsonl can't be read"),
    ],
)
def test_mistakes_are_told_in_one_message(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    written(tmp_path / "good.yaml", LIVE)
    written(tmp_path / "bad.yaml", FILES.replace("  training", "  candles: {seconds: 0}\n  training"))
    told = pricecast(*arguments, cwd=tmp_path)
    assert told.returncode == 78
    assert message in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://[", "nonsense:port", "http://a b"])
def test_an_address_that_does_not_answer_is_told_in_one_message(tmp_path: Path, address: str) -> None:
    told = pricecast("predict", "BTC/USD", "--address", address, cwd=tmp_path)
    assert told.returncode == 1
    assert "can't be reached" in told.stderr
    assert "Traceback" not in told.stderr
