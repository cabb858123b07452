"""How well and how fast a provider reads labelled headlines."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pricecast_core.errors import SettingsError
from pricecast_core.news import dataset, titles
from pricecast_core.news.evaluation import Scores, score
from pricecast_core.news.lexicon import Signal
from pricecast_core.news.prompt import Answer
from pricecast_core.settings import NewsSignalSettings
from pricecast_news_signal.extractor import Extractor
from pricecast_news_signal.reader import Reader, Result

_CHUNK = 8
MOST_FAULTS = 3


async def evaluate(
    reader: Reader, examples: Sequence[dataset.Example], progress: Progress | None = None
) -> tuple[Scores, dict[str, int]]:
    """Returns the scores of a reader on labelled headlines, and why some answers weren't valid.

    The reader has no cache: what is timed is the model. It is left open.

    Raises:
        UnavailableError: If the provider can't be asked.
    """
    task = progress.add_task(f"reading {len(examples)} headlines", total=len(examples)) if progress else None
    size = max(_CHUNK * reader.concurrency, len(examples) // 100)
    results: list[Result] = []
    started = time.perf_counter()
    for start in range(0, len(examples), size):
        chunk = examples[start : start + size]
        results += await reader.read([example.headline for example in chunk])
        if progress is not None and task is not None:
            progress.advance(task, len(chunk))
    seconds = time.perf_counter() - started
    faults = Counter(str(result) for result in results if not isinstance(result, Answer))
    scores = score(zip((example.signals for example in examples), map(_signals, results), strict=True), seconds)
    return scores, dict(faults.most_common(MOST_FAULTS))


def hostile(coins: Sequence[str]) -> list[dataset.Example]:
    """Returns the posts that come with this package to try a reader, labelled by hand.

    Injected prompts, advertisements and airdrops, other scripts, texts far too long.
    """
    with resources.as_file(resources.files(__package__).joinpath("hostile.jsonl")) as path:
        return dataset.load(path, coins)


def _signals(result: Result) -> Mapping[str, Signal] | None:
    return {item.coin: item.signal for item in result.news_signals} if isinstance(result, Answer) else None


def run(
    settings: NewsSignalSettings, extractor: Extractor, examples: Sequence[dataset.Example], *, as_json: bool
) -> None:
    """Evaluates, on hostile posts too, with a progress bar on standard error; prints a table or one line of JSON."""
    provider, model = settings.provider, settings.model
    reader = Reader(extractor, model=model, concurrency=settings.concurrency, attempts=settings.attempts)

    async def both(progress: Progress) -> tuple[tuple[Scores, dict[str, int]], tuple[Scores, dict[str, int]]]:
        try:
            return (
                await evaluate(reader, examples, progress),
                await evaluate(reader, hostile(settings.coins), progress),
            )
        finally:
            await reader.close()

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        (scores, faults), (hostile_scores, hostile_faults) = asyncio.run(both(progress))
    if as_json:
        line = {"provider": provider, "model": model, **msgspec.to_builtins(scores), "faults": faults}
        line["hostile"] = {**msgspec.to_builtins(hostile_scores), "faults": hostile_faults}
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        return
    table = Table(title=f"{model} on {scores.headlines} headlines and {hostile_scores.headlines} hostile posts")
    table.add_column("measure")
    table.add_column("headlines", justify="right")
    table.add_column("hostile posts", justify="right")
    for (name, value), (_, other) in zip(_measures(scores), _measures(hostile_scores), strict=True):
        table.add_row(name, _told(value), _told(other))
    Console().print(table)
    for fault, count in [*faults.items(), *hostile_faults.items()]:
        Console(stderr=True).print(f"{count} without a valid answer: {fault}", markup=False, highlight=False)


def agree(ours: Sequence[dataset.Example], theirs: Sequence[dataset.Example]) -> Scores:
    """Returns how far two teachers agree on the headlines that both labelled: the scores of the second by the first.

    F1 and exact matches are the same the other way round; precision and recall change places.

    Raises:
        SettingsError: If they have no headline in common.
    """
    known = {titles.normalise(example.headline): example.signals for example in theirs}
    pairs = [(example.signals, known[key]) for example in ours if (key := titles.normalise(example.headline)) in known]
    if not pairs:
        raise SettingsError("with: the two files have no headline in common; label the same headlines twice")
    return score(pairs)


def print_agreement(scores: Scores) -> None:
    """Prints how far two teachers agree."""
    Console().print(
        f"on {scores.headlines} headlines that both labelled: F1 {scores.f1:.3f} either way (precision"
        f" {scores.precision:.3f}, recall {scores.recall:.3f}; the other way round they change places), exact"
        f" {scores.exact_match:.3f}, F1 of -1 {scores.f1_by_signal['-1']:.3f}, of 1 {scores.f1_by_signal['1']:.3f}",
        highlight=False,
    )


def _measures(scores: Scores) -> Iterator[tuple[str, float]]:
    for name, value in msgspec.to_builtins(scores).items():
        if name == "f1_by_signal":
            yield from ((f"f1 of signal {signal}", f1) for signal, f1 in value.items())
        elif name != "headlines":
            yield name, value


def _told(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:,.0f}"
