"""Settings of the fine-tuning job."""

from __future__ import annotations

from pricecast_core.settings.base import ServiceSettings


class FinetuneSettings(ServiceSettings):
    """What is trained, on what, and where it goes."""
