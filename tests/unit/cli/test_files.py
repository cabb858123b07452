"""Files of the laptop runtime: replay formats, logs, the data folder, programs' environments."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pricecast_cli.local import logs
from pricecast_cli.local.backtest import REQUIRED, first_judged_ms, result_of
from pricecast_cli.local.child import rotate
from pricecast_cli.local.folder import DataFolder, FolderInUseError, ProcessId
from pricecast_cli.local.programs import LocalBackends, Program, programs_of, stop_order
from pricecast_cli.local.replay import read_files, replaying, settled
from pricecast_cli.local.run import check_holdings, holdings
from pricecast_core.errors import PricecastError, SettingsError
from pricecast_core.files import FILES_READ, MarketFile
from pricecast_resources.plan import plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage

BARS = "1640991600,46319.0,46385.0,46319.0,46377.0,2300413.7295,0\n1640991660,1,1,1,1,1,0\n"
TRADES = "1570752011.62,0.00141342,23.0\n1570752017.964,0.00141266,8.0\n"


def spec(**fields: object) -> PricePipelineSpec:
    return PricePipelineSpec.model_validate({"pairs": ["BTC/USD"], **fields})


def file(folder: Path, text: str, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


# --- replay


def test_a_replay_takes_the_place_of_the_source_and_knows_its_format(tmp_path: Path) -> None:
    found = replaying(spec(), [file(tmp_path, BARS)], speed=2)
    assert found.source.replay is not None
    assert (found.source.kind, found.source.replay.format, found.source.replay.speed) == ("Replay", "bars", 2)


def test_too_few_files_name_the_order_of_pairs(tmp_path: Path) -> None:
    both = spec(features={"companionPairs": ["ETH/USD"]})
    with pytest.raises(SettingsError, match=r"1 files for 2 pairs; .*: BTC/USD, ETH/USD"):
        replaying(both, [file(tmp_path, BARS)])


def test_files_of_two_kinds_are_refused(tmp_path: Path) -> None:
    both = spec(features={"companionPairs": ["ETH/USD"]})
    with pytest.raises(SettingsError, match="hold different things"):
        replaying(both, [file(tmp_path, BARS, "a.csv"), file(tmp_path, TRADES, "b.csv")])


def test_a_manifests_own_replay_has_its_format_settled(tmp_path: Path) -> None:
    path = str(file(tmp_path, BARS))
    found = settled(spec(source={"kind": "Replay", "replay": {"files": [path]}}))
    assert found.source.replay is not None
    assert found.source.replay.format == "bars"


def market_file(first_ms: int, last_ms: int, spacing_ms: int = 60_000) -> MarketFile:
    return MarketFile(Path("data.csv"), "bars", first_ms, last_ms, spacing_ms)


def test_no_row_of_a_file_to_train_on_is_judged() -> None:
    learned = market_file(0, 600_000)
    assert first_judged_ms([learned], [market_file(660_000, 900_000)]) == 660_000
    assert first_judged_ms([learned], [market_file(720_000, 900_000)]) == 720_000
    assert first_judged_ms([learned], [market_file(300_000, 900_000)]) == 660_000
    two = [learned, market_file(0, 660_000)]
    assert first_judged_ms(two, [market_file(660_000, 900_000), market_file(720_000, 900_000)]) == 720_000
    with pytest.raises(SettingsError, match="ends before the training file"):
        first_judged_ms([learned], [market_file(0, 600_000)])


def test_what_was_left_out_of_a_file_is_said_in_words(tmp_path: Path) -> None:
    entry = {
        "event": FILES_READ,
        "rows": 1500,
        "refused": 3,
        "known": 0,
        "repeated": 40,
        "differing": 0,
        "backwards": 1,
        "continued": 1,
        "untold": 1,
    }
    log = file(tmp_path, json.dumps({"event": "started"}) + "\n" + json.dumps(entry) + "\n", "trades.log")
    assert read_files(log) == (
        "1,500 rows read, left out: 3 lines that are no rows or out of order (dead letters), "
        "40 rows that are there twice; they continue what was replayed before, 1 where neither times in common nor prices "
        "tell that the market is the same: name the file for its pair, such as BTCUSD.csv, to be sure; 1 of the files with the newest row first, read from their end"
    )
    assert read_files(log, log.stat().st_size) is None


# --- logs


def test_last_words_are_the_last_error_of_a_service(tmp_path: Path) -> None:
    lines = [
        {"level": "warning", "event": "slow"},
        {"level": "error", "event": "settings refused", "error": "PAIRS: is not set; set it"},
        {"level": "info", "event": "stopped"},
    ]
    log = file(tmp_path, "".join(json.dumps(line) + "\n" for line in lines))
    assert logs.last_words(log) == "PAIRS: is not set; set it"


def test_last_words_of_a_crash_before_logging_are_its_last_line(tmp_path: Path) -> None:
    text = "Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'x'\n"
    assert logs.last_words(file(tmp_path, text)) == "ModuleNotFoundError: No module named 'x'"


def test_last_words_are_those_of_the_last_life(tmp_path: Path) -> None:
    log = file(tmp_path, json.dumps({"level": "error", "event": "failed", "error": "an older death"}) + "\n")
    began = log.stat().st_size
    assert logs.last_words(log, began) == ""
    with log.open("a") as writer:
        writer.write(json.dumps({"level": "warning", "event": "slow"}) + "\n")
    assert logs.last_words(log, began) == "slow"
    assert logs.last_words(log, 10**9) == "slow"  # it was rotated in between


def test_a_log_line_is_readable_and_what_is_no_json_stays_as_it_is() -> None:
    line = json.dumps(
        {"timestamp": "2026-01-01T12:00:03Z", "level": "info", "event": "written", "rows": 5, "service": "x"}
    )
    assert logs.readable(line) == "12:00:03 info     written  rows=5"
    assert logs.readable("plain") == "plain"


def test_following_gives_whole_lines_and_survives_rotation(tmp_path: Path) -> None:
    log = file(tmp_path, "old\n")
    lines = logs.follow(log)
    assert next(lines) is None
    with log.open("a") as writer:
        writer.write("one\ntw")
        writer.flush()
        assert next(lines) == "one"
        assert next(lines) is None
        writer.write("o\n")
        writer.flush()
        assert next(lines) == "two"
    os.truncate(log, 0)
    log.write_text("x\n")
    assert next(lines) == "x"


def test_a_log_that_is_too_long_keeps_one_older_piece_and_its_writer(tmp_path: Path) -> None:
    log = file(tmp_path, "a" * 100)
    with log.open("a") as writer:
        rotate(log, most_bytes=50)
        writer.write("new")
    assert log.read_text() == "new"
    assert log.with_name("data.csv.1").read_text() == "a" * 100
    rotate(log, most_bytes=50)
    assert log.read_text() == "new"


# --- the data folder


def test_a_folder_is_held_by_one_supervisor_at_a_time(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path / "x"), DataFolder(tmp_path / "x")
    first.lock()
    with pytest.raises(FolderInUseError, match="is up already; see `pricecast status`"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()


def test_a_process_id_used_again_is_not_taken_for_the_process_before() -> None:
    me = ProcessId.of(os.getpid())
    assert me.find() is not None
    assert ProcessId(me.pid, me.created - 100).find() is None
    assert ProcessId(0, 0.0).find() is None


def test_a_broken_state_file_reads_as_none(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.read_state() == {}
    folder.state_file.write_text("{")
    assert folder.read_state() == {}
    assert folder.supervisor() is None
    assert folder.strays() == {}


def test_data_of_two_markets_or_candle_lengths_never_mix(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    check_holdings(folder, spec())
    folder.write_state({"holds": holdings(spec())})
    check_holdings(folder, spec(source={"kind": "Kraken", "since": "90d"}))
    with pytest.raises(SettingsError, match=r"candles\.seconds: 30, but .* holds data of 60; name another --data-dir"):
        check_holdings(folder, spec(candles={"seconds": 30}))
    with pytest.raises(SettingsError, match=r"source: Simulated \(seed 7, from 50000\), but .* holds data of Kraken"):
        check_holdings(folder, spec(source={"kind": "Simulated"}))


# --- programs


def local_programs(folder: DataFolder, environ: dict[str, str], **fields: object) -> dict[str, Program]:
    planned = plan("btc", spec(**fields), LocalBackends(folder, KafkaStorage(brokers="127.0.0.1:9092")))
    return {program.name: program for program in programs_of(planned, folder, environ)}


NEWS = {"cryptoPanic": {"apiKeySecretRef": {"name": "cryptopanic", "key": "token"}}}


def test_every_program_keeps_its_state_and_stores_in_the_data_folder(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    programs = local_programs(folder, {})
    assert list(programs) == [
        "trades",
        "candles",
        "technical-indicators",
        "to-feature-store",
        "train",
        "price-predictor",
    ]
    for name, program in programs.items():
        assert program.env["STATE_DIR"] == str(tmp_path / "state" / name)
        for variable, value in program.env.items():
            assert not variable.endswith("STORE_URL") or value.startswith(f"sqlite:///{tmp_path}/")


def test_exported_variables_reach_a_program_but_for_those_that_the_manifest_decides(tmp_path: Path) -> None:
    exported = {"PATH": "/bin", "LOG_LEVEL": "DEBUG", "PAIRS": "DOGE/USD", "pairs": "mine"}
    env = local_programs(DataFolder(tmp_path), {})["trades"].environment(exported)
    assert (env["PATH"], env["LOG_LEVEL"], env["pairs"]) == ("/bin", "DEBUG", "mine")
    assert "PAIRS" not in env


def test_a_secret_comes_from_the_environment_under_the_services_name(tmp_path: Path) -> None:
    programs = local_programs(DataFolder(tmp_path), {"CRYPTOPANIC_API_KEY": "k"}, news=NEWS)
    assert programs["news"].env["CRYPTOPANIC_API_KEY"] == "k"


def test_a_secret_that_is_missing_holds_back_its_program_alone(tmp_path: Path) -> None:
    programs = local_programs(DataFolder(tmp_path), {}, news=NEWS)
    assert "export CRYPTOPANIC_API_KEY before" in programs["news"].problem
    assert not any(program.problem for name, program in programs.items() if name != "news")


def test_a_service_of_no_replicas_is_left_out(tmp_path: Path) -> None:
    assert "candles" not in local_programs(DataFolder(tmp_path), {}, services={"candles": {"replicas": 0}})


def test_programs_stop_as_data_flows_jobs_and_api_first_the_broker_last(tmp_path: Path) -> None:
    programs = list(local_programs(DataFolder(tmp_path), {}).values())
    programs = [Program("broker", ("b",), stage=0), *programs, Program("api", ("a",), stage=2)]
    order = [[program.name for program in group] for group in stop_order(programs)]
    assert order == [
        ["train", "api"],
        ["trades"],
        ["candles"],
        ["technical-indicators"],
        ["to-feature-store"],
        ["price-predictor"],
        ["broker"],
    ]


# --- the backtest's result


def test_the_result_is_the_last_line_that_is_an_object() -> None:
    result = dict.fromkeys(REQUIRED, 0.5)
    assert result_of(f"noise\n{json.dumps(result)}\n") == result
    with pytest.raises(PricecastError, match="lacks rows"):
        result_of(json.dumps({key: 1 for key in REQUIRED if key != "rows"}))
    with pytest.raises(PricecastError, match="printed no result"):
        result_of("nothing\n")
