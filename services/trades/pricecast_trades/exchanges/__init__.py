"""The exchanges, a folder each, named as in `pricecast_core.settings.exchanges`."""

from __future__ import annotations

import importlib

from pricecast_core.service import Stop
from pricecast_core.settings import TradesSettings
from pricecast_trades.exchange import Exchange


def connect(settings: TradesSettings, stop: Stop) -> Exchange:
    """Returns the exchange that the settings name. Imports only what that one needs."""
    exchange: Exchange = importlib.import_module(f"{__name__}.{settings.source}").connect(settings, stop)
    return exchange
