from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricecast_core.errors import SettingsError
from pricecast_core.values import QUANTILES
from pricecast_price_predictor.arena import arena, read
from pricecast_price_predictor.evaluation import pinball
from pricecast_price_predictor.features import FeatureSpec
from pricecast_price_predictor.models.base import Compute
from pricecast_price_predictor.pool import Pool
from pricecast_price_predictor.rivals import lead, standings
from pricecast_price_predictor.walkforward import Forecasts

MINUTE_MS = 60_000
DAYS = 20
ROWS = DAYS * 1_440
TIMES = 1_700_000_000_000 + MINUTE_MS * np.arange(ROWS)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(ROWS)


def test_a_small_but_steady_lead_is_told_and_a_lucky_day_is_not() -> None:
    reference = np.full(ROWS, 1.0)
    steady = lead(1 - 0.01 + 0.1 * noise(1), 1 + 0.1 * noise(2), reference, TIMES)
    assert steady.verdict == "ahead"
    assert steady.skill == pytest.approx(0.01, abs=0.002)
    lucky = np.where(np.arange(ROWS) < 1_440, 0.8, 1.0)
    assert lead(lucky, reference, reference, TIMES).verdict == "level"
    behind = lead(reference, 1 - 0.01 + 0.1 * noise(1), reference, TIMES)
    assert behind.verdict == "behind"


def test_two_that_are_alike_are_called_different_as_rarely_as_the_interval_promises() -> None:
    days = 0.05 * np.random.default_rng(3).standard_normal((100, 2, DAYS))  # what goes together within a day
    told = [lead(np.repeat(one, 1_440), np.repeat(other, 1_440), np.ones(ROWS), TIMES).verdict for one, other in days]
    assert sum(verdict != "level" for verdict in told) <= 15


def forecasts(width: float, known: slice) -> Forecasts:
    quantiles = np.full((ROWS, 3), np.nan)
    quantiles[known] = [-width, 0.0, width]
    naive, rest = np.tile([-2.0, 0.0, 2.0], (ROWS, 1)), np.zeros(ROWS)
    return Forecasts(TIMES, noise(4), quantiles, naive, noise(4), rest, rest, QUANTILES)


def test_all_are_scored_on_the_rows_that_each_has_forecast() -> None:
    table = standings({"right": forecasts(1.28, slice(100, ROWS)), "wide": forecasts(2.5, slice(0, ROWS - 50))})
    assert [one.scores.rows for one in table] == [ROWS - 150, ROWS - 150]
    assert table[0].lead.skill == 0
    assert table[1].lead.verdict == "ahead"
    ahead = table[0].scores.distribution_skill - table[1].scores.distribution_skill
    assert table[1].lead.skill == pytest.approx(ahead)


def bars_file(bars, path: Path, seed: int = 1, start: int = 0) -> Path:
    frame = bars(3_000, seed=seed)
    lines = [
        ",".join(map(str, (start + time_ms // 1000 - 60, *prices, 0)))
        for time_ms, *prices in frame.select("window_end_ms", "open", "high", "low", "close", "volume").iter_rows()
    ]
    text = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_the_arena_scores_every_kind_of_a_persons_own_files(bars, tmp_path: Path, capsys) -> None:
    files = [bars_file(bars, tmp_path / "one.csv"), bars_file(bars, tmp_path / "two.csv.gz", seed=2)]
    arena(files, [300, 90], ["HarSeasonal", "Ewma", "Naive"], as_json=True, out=tmp_path / "rows.parquet")
    contests = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["bars"] for one in contests] == ["one.csv", "two.csv.gz"]
    for one in contests:
        assert one["pooled"]
        assert one["train_rows"] == 1_800
        assert {kind["rows"] for kind in one["kinds"]} == {one["rows"]}
        naive = one["kinds"][2]
        assert naive["distribution_skill"] == pytest.approx(0, abs=1e-12)
        assert naive["lead"]["verdict"] in ("ahead", "level", "behind")
    rows = pl.read_parquet(tmp_path / "rows.parquet")
    mine = rows.filter((pl.col("bars") == "one.csv") & (pl.col("kind") == "Ewma")).drop_nans("actual")
    loss = pinball(mine["actual"].to_numpy(), mine.select("q0.1", "q0.5", "q0.9").to_numpy()).mean()
    assert loss == pytest.approx(contests[0]["kinds"][1]["pinball"])


def test_what_the_arena_cannot_use_is_refused_with_a_remedy(bars, tmp_path: Path) -> None:
    file = bars_file(bars, tmp_path / "one.csv")
    with pytest.raises(SettingsError, match="--horizons: 90 s: none is a multiple"):
        arena([file], [90], ["Ewma"], as_json=True, out=None)
    with pytest.raises(SettingsError, match="model kind: 'Oracle' is unknown"):
        arena([file], [300], ["Oracle"], as_json=True, out=None)


def test_common_trees_know_nothing_later_than_the_moment_asked_for(bars, tmp_path: Path) -> None:
    spec, one = read(bars_file(bars, tmp_path / "one.csv"))
    assert spec == FeatureSpec(60)
    _, other = read(bars_file(bars, tmp_path / "two.csv", seed=2))
    _, later = read(bars_file(bars, tmp_path / "later.csv", seed=3, start=30 * 86_400))
    known = int(one.time_ms[2_500])
    cut = [table.rows(0, 2_501) for table in (one, other)]
    fits = [Pool(tables, 2).fit(known, 5, Compute()) for tables in ([one, other, later], cut)]
    assert fits[0] is not None
    assert fits[0].save_raw() == fits[1].save_raw()
    assert Pool([one, later], 2).fit(known, 5, Compute()) is None  # alone there is nothing in common


def test_common_trees_learn_nothing_from_rows_whose_outcome_reaches_into_an_outage(bars, tmp_path: Path) -> None:
    _, one = read(bars_file(bars, tmp_path / "one.csv"))
    _, other = read(bars_file(bars, tmp_path / "two.csv", seed=2))
    hole = np.arange(len(other)) >= 1_500
    hole[1_600:] = False
    cut = replace(other, observed=other.observed & ~hole)
    jumped = replace(cut, log_close=np.where(hole, other.log_close + 1.0, other.log_close))  # what no outcome may touch
    known = int(one.time_ms[-1])
    fits = [Pool([one, table], 2).fit(known, 20, Compute()) for table in (cut, jumped)]
    assert fits[0] is not None
    assert fits[1] is not None
    assert fits[0].save_raw() == fits[1].save_raw()
