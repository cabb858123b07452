"""How well and how fast a provider reads labelled headlines."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pricecast_core.news import dataset
from pricecast_core.news.evaluation import Scores, score
from pricecast_core.news.lexicon import Signal
from pricecast_core.news.prompt import Answer
from pricecast_news_signal.extractor import Extractor
from pricecast_news_signal.reader import Reader, Result

_CHUNK = 8
MOST_FAULTS = 3


async def evaluate(
    extractor: Extractor,
    examples: Sequence[dataset.Example],
    *,
    model: str,
    concurrency: int,
    attempts: int,
    progress: Progress | None = None,
) -> tuple[Scores, dict[str, int]]:
    """Returns the scores of an extractor on labelled headlines, and why some answers weren't valid.

    No cache: what is timed is the model.

    Raises:
        UnavailableError: If the provider can't be asked.
    """
    reader = Reader(extractor, model=model, concurrency=concurrency, attempts=attempts)
    task = progress.add_task(f"reading {len(examples)} headlines", total=len(examples)) if progress else None
    size = max(_CHUNK * concurrency, len(examples) // 100)
    results: list[Result] = []
    started = time.perf_counter()
    for start in range(0, len(examples), size):
        chunk = examples[start : start + size]
        results += await reader.read([example.headline for example in chunk])
        if progress is not None and task is not None:
            progress.advance(task, len(chunk))
    seconds = time.perf_counter() - started
    await reader.close()
    faults = Counter(str(result) for result in results if not isinstance(result, Answer))
    scores = score(zip((example.signals for example in examples), map(_signals, results), strict=True), seconds)
    return scores, dict(faults.most_common(MOST_FAULTS))


def _signals(result: Result) -> Mapping[str, Signal] | None:
    return {item.coin: item.signal for item in result.news_signals} if isinstance(result, Answer) else None


def run(
    extractor: Extractor,
    examples: Sequence[dataset.Example],
    *,
    provider: str,
    model: str,
    concurrency: int,
    attempts: int,
    as_json: bool,
) -> None:
    """Evaluates, with a progress bar on standard error, and prints a table or one line of JSON."""
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        scores, faults = asyncio.run(
            evaluate(extractor, examples, model=model, concurrency=concurrency, attempts=attempts, progress=progress)
        )
    if as_json:
        line = {"provider": provider, "model": model, **msgspec.to_builtins(scores), "faults": faults}
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
        return
    table = Table(title=f"{model} on {scores.headlines} headlines")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for name, value in msgspec.to_builtins(scores).items():
        if name == "f1_by_signal":
            for signal, f1 in value.items():
                table.add_row(f"f1 of signal {signal}", f"{f1:.3f}")
        elif name != "headlines":
            table.add_row(name, f"{value:.3f}" if value < 10 else f"{value:,.0f}")
    Console().print(table)
    for fault, count in faults.items():
        Console(stderr=True).print(f"{count} without a valid answer: {fault}", markup=False, highlight=False)
