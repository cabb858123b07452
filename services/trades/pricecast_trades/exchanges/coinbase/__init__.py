"""Coinbase Exchange's public protocols: REST for the past, the `matches` and `heartbeat` channels for what happens now."""

from pricecast_trades.exchanges.coinbase.exchange import connect

__all__ = ["connect"]
