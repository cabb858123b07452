"""Stored feature rows to scored predictions through real processes over the embedded broker."""

from __future__ import annotations

from tests.contracts.forecasts import ForecastsContract


class TestOnTheEmbeddedBroker(ForecastsContract):
    pass
