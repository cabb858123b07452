"""The to-feature-store service as a process on Hopsworks: what it is sent is stored, though it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricecast_core import topics
from pricecast_core.health import Health
from pricecast_core.messages import IndicatorRow
from pricecast_core.service import Stop
from pricecast_core.settings import StreamSettings
from pricecast_core.streaming import Publisher
from pricecast_embedded_broker import EmbeddedBroker
from tests.doubles.hopsworks import HopsworksDouble
from tests.waiting import eventually

CANARY = "canary.Zm9yIHRoZSBrZXk"
START_MS = 1_767_225_600_000
pytestmark = pytest.mark.xdist_group("hopsworks")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    broker = EmbeddedBroker(tmp_path / "broker")
    broker.start()
    yield broker.address
    broker.stop()


def a_candle(minute: int) -> IndicatorRow:
    return IndicatorRow(
        pair="BTC/USD",
        coin="BTC",
        open=50_000.0,
        high=50_010.0,
        low=49_990.0,
        close=50_001.0 + minute,
        volume=1.0,
        trade_count=3,
        window_start_ms=START_MS + minute * 60_000,
        window_end_ms=START_MS + (minute + 1) * 60_000,
        candle_seconds=60,
        indicators={"rsi_14": 51.5},
    )


def test_rows_reach_hopsworks_though_the_service_is_killed(broker: str, tmp_path: Path) -> None:
    publisher = Publisher(
        "test", StreamSettings(pipeline="btc", kafka_brokers=broker), [topics.TECHNICAL_INDICATORS], Health(), Stop()
    )

    def publish(minutes: range) -> None:
        for minute in minutes:
            publisher.publish(topics.TECHNICAL_INDICATORS, "BTC/USD", a_candle(minute))
        publisher.flush()

    with HopsworksDouble(broker, api_key=CANARY) as hopsworks:

        def stored() -> list[float]:
            group = hopsworks.storage.group("btc_technical_indicators", 1)
            if group is None:
                return []
            rows, _ = hopsworks.storage.query(f'SELECT "close" FROM "{group.table}" ORDER BY "window_end_ms"')
            return [close for (close,) in rows]

        def start() -> subprocess.Popen[bytes]:
            env = {
                "PIPELINE": "btc",
                "KAFKA_BROKERS": broker,
                "HTTP_PORT": "0",
                "STATE_DIR": str(tmp_path / "state"),
                "FEATURE_STORE": "hopsworks",
                "HOPSWORKS_HOST": hopsworks.host,
                "HOPSWORKS_PORT": str(hopsworks.port),
                "HOPSWORKS_PROJECT": "pricecast",
                "HOPSWORKS_API_KEY": CANARY,
                "HOPSWORKS_CA": hopsworks.authority.pem,
            }
            command = Path(sys.executable).with_name("pricecast-to-feature-store")
            with (tmp_path / "log").open("ab") as log:
                return subprocess.Popen([command], env=os.environ | env, stdout=log, stderr=log)

        publish(range(50))
        process = start()
        eventually(lambda: len(stored()) >= 50, "the first rows")
        publish(range(50, 100))
        eventually(lambda: len(stored()) > 50, "more rows")
        process.kill()
        process.wait()
        publish(range(100, 120))
        process = start()
        try:
            eventually(lambda: len(stored()) >= 120, "all rows")
            assert stored() == [50_001.0 + minute for minute in range(120)]
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait()
    assert process.returncode == 0
    assert CANARY not in (tmp_path / "log").read_text()
