"""A forecast whose time has passed says so, though its answer was serialised before."""

from __future__ import annotations

import json

import pytest

from pricecast_prediction_api import convert
from pricecast_prediction_api.snapshot import Snapshot
from tests.contracts.predictions import a_prediction


def test_an_answer_says_that_its_target_time_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = a_prediction()
    snapshot = Snapshot([prediction])
    entry = snapshot.find(prediction.pair)
    assert entry is not None
    for now_ms, over in (
        (prediction.target_time_ms - 1, False),
        (prediction.target_time_ms, True),
        (prediction.target_time_ms + 1, True),
    ):
        monkeypatch.setattr(convert.time, "time", lambda now_ms=now_ms: now_ms / 1000)
        assert json.loads(entry.reply.json("prediction"))["isOver"] is over
        assert entry.event.message.prediction.is_over is over  # type: ignore[attr-defined]
        assert snapshot.batch([entry]).message.predictions[0].is_over is over  # type: ignore[attr-defined]
