"""Trades from Kraken, from files and from a simulated market, as a stream."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
