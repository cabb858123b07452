"""News to signals by a language model."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
