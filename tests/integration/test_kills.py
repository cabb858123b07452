"""A whole pipeline of which every program is killed: what it stores is what an undisturbed one stores."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from pricecast_cli.local.folder import DataFolder
from pricecast_core.messages import Prediction
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from tests.contracts.predictions import whole_history
from tests.integration.test_up import PRICECAST, START_S, feature_rows, pricecast, written
from tests.waiting import eventually

PIPELINE = """\
apiVersion: pricecast.dev/v1alpha1
kind: PricePipeline
metadata: {name: kills}
spec:
  pairs: [BTC/USD]
  training: {minRows: 10000}
"""
"""No model is trained: what a forecast is made of is then the same whenever it is made."""
MINUTES = 900
SPEED = 600
"""Ten minutes of market a second: long enough for every program to be killed on the way."""
VICTIMS = (
    "trades",
    "candles",
    "technical-indicators",
    "to-feature-store",
    "price-predictor",
    "prediction-api",
    "broker",
)


def trades(path: Path) -> None:
    """Writes a seeded random walk as Kraken's CSV of trades, with quiet minutes in it."""
    rng = random.Random(7)
    price, lines = 46_000.0, []
    for minute in range(MINUTES):
        for second in sorted(rng.sample(range(60), rng.randrange(4))):
            price = round(price * (1 + rng.gauss(0, 0.0005)), 1)
            lines.append(f"{START_S + 60 * minute + second},{price},{rng.uniform(0.01, 2):.4f}")
    path.write_text("\n".join(lines) + "\n")


def predictions(folder: Path) -> list[Prediction]:
    """Returns all stored predictions, newest first."""
    with closing(SqlPredictionStore(f"sqlite:///{folder / 'predictions.db'}")) as store:
        store.ensure()  # it may not have been written to yet
        return whole_history(store, limit=1000)


def kill(folder: DataFolder, name: str) -> None:
    """Kills a program once it is ready, and waits until another process of it is."""

    def ready_other_than(pid: int) -> int:
        program = folder.read_state()["programs"][name]
        process = program["process"]
        return process["pid"] if program["state"] == "ready" and process and process["pid"] != pid else 0

    victim = eventually(lambda: ready_other_than(0))
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: ready_other_than(victim))


@pytest.mark.timeout(900)
def test_a_replay_in_which_every_program_is_killed_ends_with_the_same_rows_and_predictions(tmp_path: Path) -> None:
    written(tmp_path / "kills.yaml", PIPELINE)
    trades(tmp_path / "trades.csv")
    command = ("up", "kills.yaml", "--replay", "trades.csv", "--exit-when-drained")
    quiet = pricecast(*command, "--data-dir", "quiet", cwd=tmp_path)
    assert quiet.returncode == 0, quiet.stdout + quiet.stderr

    env = {name: value for name, value in os.environ.items() if name != "KAFKA_BROKERS"}
    killed = subprocess.Popen(
        [PRICECAST, *command, "--speed", str(SPEED), "--no-view", "--data-dir", "killed"], cwd=tmp_path, env=env
    )
    try:
        folder = DataFolder(tmp_path / "killed")
        eventually(lambda: predictions(folder.path) if (folder.path / "predictions.db").exists() else [])
        rng = random.Random(MINUTES)
        for name in rng.sample(VICTIMS, len(VICTIMS)):
            kill(folder, name)
        assert killed.poll() is None, "the replay was over before every program was killed"
        assert killed.wait(300) == 0
    finally:
        killed.kill()
        killed.wait()

    assert feature_rows(tmp_path / "killed") == feature_rows(tmp_path / "quiet")
    assert predictions(tmp_path / "killed") == predictions(tmp_path / "quiet")
