"""News from CryptoPanic, RSS and archives, as a stream."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
