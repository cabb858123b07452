"""The encoder's head and files. The encoder itself is nobody's to ship: its vectors are made up here."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pricecast_core.errors import SettingsError
from pricecast_core.news import lexicon
from pricecast_core.news.dataset import Example
from pricecast_core.settings import NewsSignalSettings
from pricecast_news_signal.encoder import head, weights
from pricecast_news_signal.registry import open_extractor
from pricecast_news_signal.train import cross_validated

COINS = ("BTC", "ETH")


def labelled(count: int = 120) -> tuple[list[Example], np.ndarray]:
    """Headlines without any word that the lexicon knows; the vector's first number says which coin, its second whither."""
    draw = np.random.default_rng(0)
    vectors = draw.normal(0, 0.1, (count, 8)).astype(np.float32)
    examples = []
    for row, vector in enumerate(vectors):
        coin, sign = COINS[row % 2], 1 if row % 3 else -1
        vector[0], vector[1] = (1, -1)[row % 2], sign
        moved: dict[str, lexicon.Signal] = {} if row % 5 == 0 else {coin: 1 if sign > 0 else -1}
        vector[2] = bool(moved)
        word = "".join(chr(97 + int(digit)) for digit in str(row))
        examples.append(Example(f"quux {word} {'odd' if row % 2 else 'even'}", moved))
    return examples, vectors


def test_a_head_learns_from_vectors_what_the_lexicon_does_not_know_and_is_judged_on_what_it_has_not_seen() -> None:
    examples, vectors = labelled()
    scores, baseline = cross_validated(examples, vectors, COINS, "e")
    assert baseline.f1 == 0.0
    assert scores.f1 > 0.8
    assert scores.valid == 1.0


def test_the_same_labels_give_the_same_head_and_it_survives_its_file(tmp_path: Path) -> None:
    examples, vectors = labelled()
    learnt = head.train(examples, vectors, COINS, "e")
    assert head.train(examples, vectors, COINS, "e") == learnt
    head.save(learnt, tmp_path / "a" / "head.json")
    assert head.load(tmp_path / "a" / "head.json") == learnt
    head.check(learnt, "e")


def test_a_coin_without_labels_is_read_by_the_lexicons_clues() -> None:
    draw = np.random.default_rng(1)
    texts = [f"{name} {verb}" for name in ("Bitcoin", "Ethereum") for verb in ("rallies", "plunges", "in brief")] * 20
    examples = [Example(text, lexicon.read(text, COINS)) for text in texts]
    vectors = draw.normal(0, 0.1, (len(texts), 8)).astype(np.float32)
    reader = head.Reader(head.train(examples, vectors, COINS, "e"), ["SOL", "BTC"])
    assert reader.read("Solana rallies", vectors[0]) == {"SOL": 1}
    assert reader.read("Solana plunges", vectors[0]) == {"SOL": -1}


def test_a_head_of_another_encoder_or_lexicon_is_refused() -> None:
    learnt = head.train(*labelled(), COINS, "e")
    with pytest.raises(SettingsError, match="other encoder_weights"):
        head.check(learnt, "f")
    with pytest.raises(SettingsError, match="lexicon-v0"):
        head.check(msgspec.structs.replace(learnt, clues="lexicon-v0"), "e")


def test_too_few_labels_are_named() -> None:
    examples, vectors = labelled(6)
    with pytest.raises(SettingsError, match="too few"):
        head.train(examples, vectors, COINS, "e")


def test_weights_are_found_in_a_folder_and_in_an_archive_the_quantised_ones_first(tmp_path: Path) -> None:
    folder = tmp_path / "onnx"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"large")
    (folder / "model_quantized.onnx").write_bytes(b"small")
    (folder / "tokenizer.json").write_bytes(b"{}")
    found = weights.load(str(tmp_path))
    assert (found.model, found.tokenizer) == (b"small", b"{}")
    with zipfile.ZipFile(tmp_path / "a.jar", "w") as archive:
        archive.writestr("any-q.onnx", b"small")
        archive.writestr("any-tokenizer.json", b"{}")
    assert weights.load(str(tmp_path / "a.jar")).digest == found.digest


@pytest.mark.parametrize("location", ["", "absent", "package:no_such_package", "package:json.decoder", __file__])
def test_weights_that_are_not_there_are_a_wrong_setting(location: str) -> None:
    with pytest.raises(SettingsError, match="encoder_weights"):
        weights.load(location)


def test_what_is_no_encoder_and_a_head_that_is_none_are_wrong_settings(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not onnx")
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    path = tmp_path / "head.json"
    settings = NewsSignalSettings(
        pipeline="p", provider="encoder", encoder_head=path, encoder_weights=str(tmp_path), coins=list(COINS)
    )
    with pytest.raises(SettingsError, match="pricecast news train"):
        open_extractor(settings)
    path.write_text("[]")
    with pytest.raises(SettingsError, match="is no head"):
        open_extractor(settings)
    examples, vectors = labelled()
    head.save(head.train(examples, vectors, COINS, weights.load(str(tmp_path)).digest), path)
    with pytest.raises(SettingsError, match="not an encoder"):
        open_extractor(settings)
