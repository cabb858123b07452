"""What a stored prediction becomes for callers."""

from __future__ import annotations

import pytest

from pricecast_prediction_api.convert import to_proto
from tests.contracts.predictions import LEVELS, WARNS, a_prediction


def test_what_a_forecast_warns_of_itself_reaches_callers() -> None:
    message = to_proto(a_prediction(**WARNS))
    assert {name: getattr(message, name) for name in WARNS} == pytest.approx(WARNS)


def test_what_is_not_known_of_a_forecast_is_not_told() -> None:
    message = to_proto(a_prediction())
    assert not [name for name in ("live_skill", "distance", "volatility", "drift") if message.HasField(name)]
    assert (message.caution, message.abstained) == ("", False)


def test_each_level_comes_with_its_price() -> None:
    message = to_proto(a_prediction(**LEVELS))
    assert [(each.level, each.price) for each in message.quantiles] == list(
        zip(LEVELS["levels"], LEVELS["quantiles"], strict=True)
    )
