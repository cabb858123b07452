"""What trades can come from: an exchange, files, a simulated market."""

from __future__ import annotations

from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_trades.source import Source


def open_source(settings: TradesSettings, stop: Stop) -> Source:
    """Returns the source that the settings name. Imports only what that one needs.

    Raises:
        SettingsError: If its settings can't work.
    """
    if settings.exchange is not None:
        from pricecast_trades.exchanges import connect  # noqa: PLC0415 - its libraries are heavy
        from pricecast_trades.sources.exchange import ExchangeSource  # noqa: PLC0415

        return ExchangeSource(settings, connect(settings, stop), stop)
    if settings.source == "replay":
        from pricecast_trades.sources.replay import ReplaySource  # noqa: PLC0415

        return ReplaySource(settings, stop)
    from pricecast_trades.sources.simulated import SimulatedSource  # noqa: PLC0415

    return SimulatedSource(settings, stop)
