"""What holds for every test: property tests judge results, not the speed of the machine that they run on."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("pricecast", deadline=None)
settings.load_profile("pricecast")
