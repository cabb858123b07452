"""Streams into the feature store."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
