"""The markets that trades can come from, one file each."""

from __future__ import annotations

from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_trades.source import Source


def open_source(settings: TradesSettings, stop: Stop) -> Source:
    """Returns the source that the settings name. Imports only what that one needs.

    Raises:
        SettingsError: If its settings can't work.
    """
    if settings.source == "kraken":
        from pricecast_trades.sources.kraken import KrakenSource  # noqa: PLC0415 - its libraries are heavy

        return KrakenSource(settings, stop)
    if settings.source == "replay":
        from pricecast_trades.sources.replay import ReplaySource  # noqa: PLC0415

        return ReplaySource(settings, stop)
    from pricecast_trades.sources.simulated import SimulatedSource  # noqa: PLC0415

    return SimulatedSource(settings, stop)
