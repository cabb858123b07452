"""`pricecast-candles`: trades in, candles out, exactly once."""

from __future__ import annotations

from pricecast_candles.task import SERVICE, CandlesTask
from pricecast_core import service
from pricecast_core.health import Health
from pricecast_core.services import CANDLES
from pricecast_core.settings import CandlesSettings
from pricecast_core.streaming import Stream


def work(settings: CandlesSettings, health: Health, stop: service.Stop) -> None:
    """Runs the stream until asked to stop."""
    Stream(CANDLES, settings, CandlesTask(settings), health, stop).run()


def main() -> None:
    """Entry point of the console script."""
    service.run(SERVICE, CandlesSettings, work)
