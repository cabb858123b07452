"""Fine-tunes the language model that reads the news."""

import pricecast_core.interrupts  # noqa: F401 - first of all: see there
