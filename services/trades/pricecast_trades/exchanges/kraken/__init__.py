"""Kraken's public protocols: REST for the past, WebSocket v2 or v1 for what happens now."""

from pricecast_trades.exchanges.kraken.exchange import connect

__all__ = ["connect"]
