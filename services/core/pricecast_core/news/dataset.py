"""Labelled headlines: JSON lines of {instruction, input, output, teacher_model_name}, the form that trainers read.

`input` is the headline and `output` the answer as JSON text. The `instruction` is there for other tools; ours ask by
`prompt.messages`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pricecast_core.errors import SettingsError
from pricecast_core.news import prompt, titles
from pricecast_core.news.lexicon import Signal


class Line(msgspec.Struct, frozen=True):
    """One line of the file."""

    input: str
    output: str
    instruction: str = ""
    teacher_model_name: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """A headline and the signals that are right for it."""

    headline: str
    signals: dict[str, Signal]


def load(path: Path, coins: Sequence[str]) -> list[Example]:
    """Returns the examples of a file. Labels of coins outside `coins` are left out.

    Raises:
        SettingsError: If the file can't be read or a line isn't a labelled headline; the message names the line.
    """
    decoder = msgspec.json.Decoder(Line)
    examples = []
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    examples.append(_example(decoder.decode(text), coins, f"{path}:{number}"))
    except OSError as error:
        raise SettingsError(f"data: {path} can't be read ({error.strerror}); give a JSON lines file") from None
    except msgspec.MsgspecError as error:
        raise SettingsError(
            f"data: {path}:{number} is not a labelled headline ({error}); expected {{input, output}}"
        ) from None
    if not examples:
        raise SettingsError(f"data: {path} holds no labelled headline")
    return examples


def _example(line: Line, coins: Sequence[str], where: str) -> Example:
    try:
        answer = msgspec.json.decode(line.output, type=prompt.Answer)
    except msgspec.MsgspecError as error:
        raise SettingsError(f"data: {where}: output is not an answer ({error})") from None
    return Example(line.input, {item.coin: item.signal for item in answer.news_signals if item.coin in coins})


def split(examples: Iterable[Example], held_out: float, seed: int = 0) -> tuple[list[Example], list[Example]]:
    """Splits into a training and a held-out part, so that no headline is in both, not even in other numbers.

    A headline's part follows from its own words alone: adding examples moves none to the other side.

    Args:
        examples: In any order; the parts keep it.
        held_out: Share of the headlines to hold out, 0 to 1.
        seed: Gives another split.

    Returns:
        The training part and the held-out part.
    """
    training: list[Example] = []
    held: list[Example] = []
    for example in examples:
        digest = hashlib.sha256(f"{seed}:{titles.template(example.headline)}".encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        (held if share < held_out else training).append(example)
    return training, held
