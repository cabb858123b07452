"""Predictions over gRPC and HTTP."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
