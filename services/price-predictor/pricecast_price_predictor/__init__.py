"""Trains, serves and scores the price model."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
