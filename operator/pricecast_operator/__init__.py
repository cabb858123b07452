"""Turns a PricePipeline into running services: on Kubernetes, or as local processes."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
