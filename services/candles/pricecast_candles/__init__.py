"""Trades to candles, in event time."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
