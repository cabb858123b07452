"""The `pricecast` command and the runtime that makes a plan real on one machine."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
