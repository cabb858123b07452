"""Candles to technical indicators."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
