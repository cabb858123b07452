"""A golden dataset from headlines: a teacher model labels them, and a smaller one can learn from it.

The output is the JSON lines that `dataset` reads. Each line is written as it comes, so a run that is cut off, or out
of money, goes on where it stopped: what is in the file already is not asked again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from pricecast_core.errors import SettingsError
from pricecast_core.news import dataset, prompt
from pricecast_core.news.prompt import Answer
from pricecast_core.settings import NewsSignalSettings
from pricecast_news_signal.extractor import Extractor
from pricecast_news_signal.reader import Reader

CHARACTERS_PER_TOKEN = 3.6
ANSWER_TOKENS = 60
_PROVIDER_IDS = {"anthropic": "anthropic", "openai": "openai"}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What labelling will take.

    Attributes:
        headlines: How many will be asked about.
        input_tokens: Tokens sent, estimated from the characters.
        output_tokens: Tokens received, estimated.
        dollars: Their price; None where it isn't known.
    """

    headlines: int
    input_tokens: int
    output_tokens: int
    dollars: float | None

    def __str__(self) -> str:
        cost = "price unknown" if self.dollars is None else f"about ${self.dollars:,.2f}"
        return f"{self.headlines} headlines, {self.input_tokens:,} tokens in, {self.output_tokens:,} out: {cost}"


def headlines_of(path: Path) -> list[str]:
    """Returns the headlines in a file, each once: JSON lines with `input` or `title`, or plain lines.

    Raises:
        SettingsError: If the file can't be read or a line holds no headline.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"data: {path} can't be read: {error}") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if path.suffix == ".jsonl":
        lines = [_headline(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    if not lines:
        raise SettingsError(f"data: {path} holds no headline")
    return list(dict.fromkeys(lines))


def _headline(line: str, where: str) -> str:
    try:
        fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        for name in ("input", "title"):
            if name in fields:
                return msgspec.json.decode(fields[name], type=str)
    except msgspec.MsgspecError as error:
        raise SettingsError(f"data: {where} is not a JSON object: {error}") from None
    raise SettingsError(f"data: {where} has neither input nor title")


def estimate(
    headlines: Sequence[str], coins: Sequence[str], provider: str, model: str, instructions: str = ""
) -> Estimate:
    """Returns what labelling these will take, before anything is asked."""
    told = len(instructions or prompt.instruction(coins))
    asked = (told + len(prompt.messages(headline, coins)[1]["content"]) for headline in headlines)
    tokens_in = round(sum(asked) / CHARACTERS_PER_TOKEN)
    tokens_out = ANSWER_TOKENS * len(headlines)
    return Estimate(len(headlines), tokens_in, tokens_out, _price(tokens_in, tokens_out, provider, model))


def _price(tokens_in: int, tokens_out: int, provider: str, model: str) -> float | None:
    if provider not in _PROVIDER_IDS:
        return 0.0  # the machine's own model
    from genai_prices import Usage, calc_price  # noqa: PLC0415 (comes with pydantic-ai; needed here alone)

    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    try:
        return float(calc_price(usage, model, provider_id=_PROVIDER_IDS[provider]).total_price)
    except LookupError:
        return None


def labelled(path: Path) -> set[str]:
    """Returns the headlines labelled already, and cuts off a last line that was torn."""
    if not path.exists():
        return set()
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    decoder = msgspec.json.Decoder(dataset.Line)
    try:
        return {decoder.decode(line).input for line in whole.splitlines() if line.strip()}
    except msgspec.MsgspecError as error:
        raise SettingsError(f"out: {path} is not a dataset ({error}); give another file") from None


async def label(
    reader: Reader,
    headlines: Sequence[str],
    out: Path,
    *,
    coins: Sequence[str],
    teacher: str,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Labels headlines and appends them to a file; closes the reader.

    Returns:
        How many were labelled, and how many got no valid answer and were left out.

    Raises:
        UnavailableError: If the teacher can't be asked; what was labelled is in the file.
    """
    task = progress.add_task("labelling", total=len(headlines)) if progress else None
    done = refused = 0
    with out.open("ab") as file:
        for chunk in _chunks(headlines, reader.concurrency):
            for headline, result in zip(chunk, await reader.read(chunk), strict=True):
                if not isinstance(result, Answer):
                    refused += 1
                    continue
                output = prompt.render({item.coin: item.signal for item in result.news_signals})
                line = dataset.Line(
                    instruction=prompt.instruction(coins), input=headline, output=output, teacher_model_name=teacher
                )
                file.write(msgspec.json.encode(line) + b"\n")
                done += 1
            file.flush()
            os.fsync(file.fileno())
            if progress is not None and task is not None:
                progress.advance(task, len(chunk))
    await reader.close()
    return done, refused


def _chunks(headlines: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(headlines), size):
        yield headlines[start : start + size]


def run(
    settings: NewsSignalSettings,
    extractor: Extractor,
    data: Path,
    out: Path,
    *,
    instructions: str = "",
    limit: int,
    agreed: bool,
) -> None:
    """Says what it will cost, asks, labels with a progress bar, and says what came of it.

    Raises:
        SettingsError: If there is nobody to ask and it costs money.
    """
    console = Console(stderr=True)
    known = labelled(out)
    todo = [headline for headline in headlines_of(data) if headline not in known]
    todo = todo[:limit] if limit else todo
    expected = estimate(todo, settings.coins, settings.provider, settings.model, instructions)
    console.print(f"{len(known)} are labelled already in {out}; to do: {expected}")
    if not todo:
        return
    if expected.dollars != 0 and not agreed:
        if not sys.stdin.isatty():
            raise SettingsError(f"label: {expected}; agree with --yes")
        if console.input("go on? [y/N] ").strip().lower() not in ("y", "yes"):
            return
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        reader = Reader(extractor, model=settings.model, concurrency=settings.concurrency, attempts=settings.attempts)
        done, refused = asyncio.run(
            label(reader, todo, out, coins=settings.coins, teacher=settings.model, progress=progress)
        )
    console.print(f"labelled {done}, {refused} got no valid answer, {len(known) + done} in {out}")
