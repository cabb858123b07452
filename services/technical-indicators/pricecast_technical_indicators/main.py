"""`pricecast-technical-indicators`: candles in, rows of indicators out, exactly once."""

from __future__ import annotations

from pricecast_core import service
from pricecast_core.health import Health
from pricecast_core.services import TECHNICAL_INDICATORS
from pricecast_core.settings import TechnicalIndicatorsSettings
from pricecast_core.streaming import Stream
from pricecast_technical_indicators.task import SERVICE, TechnicalIndicatorsTask


def work(settings: TechnicalIndicatorsSettings, health: Health, stop: service.Stop) -> None:
    """Runs the stream until asked to stop."""
    Stream(TECHNICAL_INDICATORS, settings, TechnicalIndicatorsTask(settings), health, stop).run()


def main() -> None:
    """Entry point of the console script."""
    service.run(SERVICE, TechnicalIndicatorsSettings, work)
