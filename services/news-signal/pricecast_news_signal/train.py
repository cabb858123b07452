"""`train`: a head for the encoder from labelled headlines, in seconds, and how well it reads what it hasn't seen."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from rich.console import Console

from pricecast_core.news import dataset, lexicon, titles
from pricecast_core.news.dataset import Example
from pricecast_core.news.evaluation import Scores, score
from pricecast_news_signal.encoder import head, weights
from pricecast_news_signal.encoder.sentences import SentenceEncoder

FOLDS = 5


def run(data: Sequence[Path], out: Path, *, location: str, coins: Sequence[str]) -> None:
    """Trains a head, writes it, and says how well it reads headlines that were kept from it.

    Raises:
        SettingsError: If the encoder or the labels can't be used.
    """
    console = Console(stderr=True)
    started = time.perf_counter()
    examples = _distinct([example for path in data for example in dataset.load(path, coins)])
    files = weights.load(location)
    encode = SentenceEncoder(files)
    vectors = np.array([encode(example.headline) for example in examples])
    encoded = time.perf_counter() - started
    scores, baseline = cross_validated(examples, vectors, coins, files.digest)
    learnt = head.train(examples, vectors, coins, files.digest)
    where = str(Path(location).expanduser().resolve()) if Path(location).expanduser().exists() else location
    head.save(msgspec.structs.replace(learnt, weights=where, f1=scores.f1, lexicon_f1=baseline.f1), out)
    console.print(
        f"learnt from {len(examples)} headlines in {time.perf_counter() - started:.1f} s"
        f" ({encoded / len(examples) * 1000:.1f} ms a headline to encode); written to {out}"
    )
    console.print(
        f"on headlines kept from it, {FOLDS} folds: F1 {scores.f1:.3f}, exact {scores.exact_match:.3f};"
        f" the lexicon on the same: F1 {baseline.f1:.3f}, exact {baseline.exact_match:.3f}"
    )


def cross_validated(
    examples: Sequence[Example], vectors: npt.NDArray[np.float32], coins: Sequence[str], encoder: str
) -> tuple[Scores, Scores]:
    """Returns the scores of a head on headlines that it hasn't seen, and the lexicon's on the same ones."""
    fold_of = np.array([_fold(example.headline) for example in examples])
    answers: list[dict[str, lexicon.Signal]] = [{} for _ in examples]
    for fold in range(FOLDS):
        kept = np.flatnonzero(fold_of != fold).tolist()
        reader = head.Reader(head.train([examples[place] for place in kept], vectors[kept], coins, encoder), coins)
        for place in np.flatnonzero(fold_of == fold).tolist():
            answers[place] = reader.read(examples[place].headline, vectors[place])
    scores = score((example.signals, answer) for example, answer in zip(examples, answers, strict=True))
    return scores, score((example.signals, lexicon.read(example.headline, coins)) for example in examples)


def _fold(headline: str) -> int:
    """Returns a headline's fold, which follows from its words alone: the same sentence is never on both sides."""
    return int.from_bytes(hashlib.sha256(titles.template(headline).encode()).digest()[:8], "big") % FOLDS


def _distinct(examples: Sequence[Example]) -> list[Example]:
    return list({titles.normalise(example.headline): example for example in examples}.values())
