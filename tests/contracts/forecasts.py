"""Training and serving as real processes over a broker: from stored feature rows to scored predictions.

A subclass of `ForecastsContract` gives the fixture `brokers`, `host:port` of a broker, and may give `elasticsearch`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricecast_core import topics
from pricecast_core.messages import FeatureRowStored, Prediction
from pricecast_core.stores.features import technical_indicators_group
from pricecast_core.stores.models import model_name
from pricecast_core.stores.models_sql import SqlModelRegistry
from pricecast_core.stores.predictions import PredictionStore
from pricecast_core.stores.predictions_elasticsearch import ElasticsearchPredictionStore
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from tests.contracts.predictions import whole_history
from tests.contracts.stream_chain import Chain
from tests.waiting import eventually

PAIR = "BTC/USD"
HORIZON = 300
STEP_MS = 60_000
FIRST_MS = 1_700_000_040_000
LEARNED = 2_000


def market(count: int, seed: int = 11) -> pl.DataFrame:
    """Feature rows of a market whose volatility clusters."""
    rng = np.random.default_rng(seed)
    log_variance = np.zeros(count)
    for row in range(1, count):
        log_variance[row] = 0.99 * log_variance[row - 1] + 0.14 * rng.standard_normal()
    close = 40_000 * np.exp(np.cumsum(5e-4 * np.exp(log_variance / 2) * rng.standard_normal(count)))
    opened = np.concatenate(([close[0]], close[:-1]))
    end_ms = FIRST_MS + STEP_MS * np.arange(count)
    return pl.DataFrame(
        {
            "pair": [PAIR] * count,
            "candle_seconds": [60] * count,
            "window_start_ms": end_ms - STEP_MS,
            "window_end_ms": end_ms,
            "open": opened,
            "high": np.maximum(opened, close),
            "low": np.minimum(opened, close),
            "close": close,
            "volume": rng.exponential(1.0, count),
            "trade_count": rng.integers(0, 100, count),
            "sma_21": pl.Series(close).rolling_mean(21, min_samples=1),
        }
    )


class Forecasts(Chain):
    """The predictor's processes of one pipeline; the rows come from the test, stored and marked as they would be.

    Args:
        brokers: `host:port` of a broker.
        folder: An empty folder.
        elasticsearch: URL of the prediction store; a SQLite file in the folder by default.
    """

    def __init__(self, brokers: str, folder: Path, elasticsearch: str = "") -> None:
        super().__init__(brokers, folder, [PAIR])
        predictions_url = elasticsearch or f"sqlite:///{folder}/predictions.db"
        self.predictions: PredictionStore = (
            ElasticsearchPredictionStore(elasticsearch) if elasticsearch else SqlPredictionStore(predictions_url)
        )
        self.models = SqlModelRegistry(f"sqlite:///{folder}/models.db")
        self.model = model_name(self.pipeline, "btc-usd", HORIZON)
        self.group = technical_indicators_group(self.pipeline, ["sma_21"])
        self.store.ensure(self.group)
        self._env |= {
            "MODEL_REGISTRY_URL": f"sqlite:///{folder}/models.db",
            "PREDICTION_STORE": "elasticsearch" if elasticsearch else "sql",
            "PREDICTION_STORE_URL": predictions_url,
            "LIVE": "false",
            "TRAINING_MIN_ROWS": str(LEARNED),
            "TRAINING_TRIALS": "0",
            "TRAINING_FOLDS": "2",
        }

    def begin(self, command: str, **env: str) -> subprocess.Popen[bytes]:
        """Starts the predictor with a command."""
        script = Path(sys.executable).with_name("pricecast-price-predictor")
        with (self.folder / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(
                [script, command],
                env={**os.environ, **self._env, "HTTP_PORT": "0", "INSTANCE": f"{command}-0", **env},
                stdout=log,
                stderr=log,
            )
        self.processes[command] = process
        return process

    def add(self, rows: pl.DataFrame) -> None:
        """Stores rows, then marks them."""
        self.store.write(self.group, rows.to_dicts())
        for time_ms in rows["window_end_ms"]:
            marker = FeatureRowStored(group="technical_indicators", key=PAIR, event_time_ms=time_ms)
            self.publisher.publish(topics.FEATURES, PAIR, marker)
        self.publisher.flush()

    def made(self) -> list[Prediction]:
        """Returns all predictions in the store, oldest first."""
        found = whole_history(self.predictions, PAIR, limit=500, pipeline=self.pipeline)
        return sorted(found, key=lambda one: one.feature_time_ms)

    def close(self) -> None:
        """Ends the processes."""
        super().close()
        self.predictions.close()
        self.models.close()


class ForecastsContract:
    @pytest.fixture
    def elasticsearch(self) -> str:
        """URL of the prediction store; none where it is SQL."""
        return ""

    @pytest.fixture
    def forecasts(self, brokers: str, elasticsearch: str, tmp_path: Path) -> Iterator[Forecasts]:
        forecasts = Forecasts(brokers, tmp_path, elasticsearch)
        forecasts.predictions.ensure()
        yield forecasts
        forecasts.close()

    def test_training_waits_for_history_and_serving_takes_its_model_without_a_restart(
        self, forecasts: Forecasts
    ) -> None:
        rows = market(LEARNED + 60)
        serving = forecasts.begin("serve")
        job = forecasts.begin("train")
        forecasts.add(rows[: LEARNED // 2])
        forecasts.await_ready("serve")
        assert job.poll() is None
        forecasts.add(rows[LEARNED // 2 : LEARNED])
        eventually(lambda: job.poll() is not None, "training ends")
        assert job.returncode == 0
        version = forecasts.models.production([forecasts.model])[forecasts.model]
        assert version.trained_through_ms == rows["window_end_ms"][LEARNED - 1]
        assert "<svg" in forecasts.models.report(forecasts.model, 1)
        eventually(lambda: forecasts.metric("serve", "pricecast_model_version{") == 1, "the model is taken into use")
        for row in range(LEARNED, LEARNED + 60):
            forecasts.add(rows[row : row + 1])
        wanted = set(rows["window_end_ms"][LEARNED + 1 :])
        eventually(lambda: wanted <= {one.feature_time_ms for one in forecasts.made()}, "all rows predicted")
        last = forecasts.made()[-1]
        assert (last.model_name, last.model_version, last.beats_naive) == (forecasts.model, 1, True)
        assert last.lower < last.predicted_price < last.upper
        assert serving.poll() is None
        stored = {one.id for one in forecasts.made()}
        eventually(lambda: {one.id for one in forecasts.read(topics.PREDICTIONS)} >= stored, "all published")
        assert forecasts.metric("serve", "pricecast_predictions_scored_total{") > 0
        serving.terminate()
        assert serving.wait(timeout=30) == 0

    def test_training_without_enough_history_asks_to_be_tried_later(self, forecasts: Forecasts) -> None:
        forecasts.add(market(LEARNED - 1))
        job = forecasts.begin("train", TRAINING_WAIT="false")
        assert job.wait(timeout=60) == 75
        assert "1999 of 2000 candles" in (forecasts.folder / "train.log").read_text()
        assert forecasts.models.versions(forecasts.model) == []

    def test_killed_at_random_moments_every_row_is_predicted_once_and_scored(self, forecasts: Forecasts) -> None:
        rows = market(LEARNED + 200)
        forecasts.add(rows[:LEARNED])
        assert forecasts.begin("train").wait(timeout=120) == 0
        rng = random.Random(5)
        serving = forecasts.begin("serve")
        forecasts.await_ready("serve")
        at = LEARNED
        while at < len(rows):
            step = rng.randint(1, 40)
            forecasts.add(rows[at : at + step])
            at += step
            serving.kill()
            serving.wait()
            serving = forecasts.begin("serve")
            if rng.random() < 0.5:
                forecasts.await_ready("serve")

        def done() -> list[Prediction] | None:
            found = [one for one in forecasts.made() if one.model_version == 1]
            scored = sum(one.actual_price is not None for one in found)
            return found if len(found) >= 200 and scored >= 195 else None

        found = eventually(done, "every row predicted and scored")
        assert [one.feature_time_ms for one in found] == rows["window_end_ms"][LEARNED:].to_list()
        close = dict(zip(rows["window_end_ms"].to_list(), rows["close"].to_list(), strict=True))
        assert [one.actual_price for one in found] == [close.get(one.target_time_ms) for one in found]
        assert len({one.id for one in found}) == 200
        assert {one.id for one in forecasts.read(topics.PREDICTIONS)} >= {one.id for one in found}
