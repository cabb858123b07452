from __future__ import annotations

import json
from pathlib import Path

import pytest

from pricecast_cli.local.programs import with_best_reader
from pricecast_resources.pricepipeline import PricePipelineSpec


def spec(news: dict[str, object]) -> PricePipelineSpec:
    return PricePipelineSpec.model_validate({"pairs": ["BTC/USD"], "news": news})


def head(folder: Path, weights: str) -> Path:
    path = folder / "head.json"
    path.write_text(json.dumps({"weights": weights}))
    return path


def test_a_laptop_reads_by_the_encoder_that_was_trained_on_it(tmp_path: Path) -> None:
    weights = tmp_path / "weights.jar"
    weights.touch()
    news = with_best_reader(spec({}), head(tmp_path, str(weights))).news
    assert news is not None
    assert news.signals.provider == "Encoder"
    assert news.signals.encoder is not None
    assert Path(news.signals.encoder.head) == tmp_path / "head.json"


@pytest.mark.parametrize("signals", [{"provider": "Lexicon"}, {"provider": "Ollama", "model": "m"}])
def test_a_reader_that_is_asked_for_is_taken(tmp_path: Path, signals: dict[str, str]) -> None:
    wanted = spec({"signals": signals})
    assert with_best_reader(wanted, head(tmp_path, "package:bge")) == wanted


def test_without_a_head_or_its_weights_the_lexicon_reads(tmp_path: Path) -> None:
    assert with_best_reader(spec({}), tmp_path / "absent.json") == spec({})
    assert with_best_reader(spec({}), head(tmp_path, str(tmp_path / "moved.jar"))) == spec({})
    (tmp_path / "head.json").write_text("[")
    assert with_best_reader(spec({}), tmp_path / "head.json") == spec({})
