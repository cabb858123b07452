"""A deterministic reader of headlines: the baseline that a language model has to beat.

It knows words, not language. A headline is cut into clauses; coins are found by name, ticker or by what stands for
them; words of gain and loss are counted per clause, turned around after a negation; and each coin gets the sign of
its clause, else of the whole headline, else +1, for to be in the news at all is more often good than bad. The words
are data, in `lexicon.toml`.

It has no state and draws on nothing outside, so the same headline gives the same signals for ever: replays are exact,
tests need no server, and a pipeline without a language model still has a news signal.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

MODEL_NAME = "lexicon-v2"
MAX_CHARACTERS = 2_000
"""A headline says what it has to say in the beginning; the rest of a longer text is not read."""
NEGATION_REACH = 4
"""A negation turns the words of sentiment among so many words after it."""

Signal = Literal[-1, 0, 1]
Phrase = tuple[str, ...]

CLUES = (
    "named",
    "by what stands for it",
    "by its group",
    "has a signal",
    "signal",
    "balance of its clause",
    "balance",
    "promotion",
    "nobody is named",
    "another of ours is named",
    "post",
    "a coin that is none of ours",
)
"""What the numbers of `clues` say."""

_NOT_TEXT = re.compile(r"https?://\S+|&\w+;|^RT @\w+:\s*")
_TOKEN = re.compile(r"(/?)([$#@]?)([^\W_]+(?:'[^\W_]+)?)|([;:!?,.|…](?=\s|$)|\s[-\u2013\u2014]\s|[\u2013\u2014\n])")
_POST = re.compile(r"^RT @|(?<!\w)[@#]\w|\u2026\s*$")
"""Posts of social media are full of labels: `#crypto` there is no statement about the market."""
_TICKER = re.compile(r"\(\$?([A-Z]{2,6})\)|(?<!\w)\$([A-Z]{2,6})\b")
_ROBOT = re.compile(r"\s*cryptocurrency .{1,60} more than \d+(?:\.\d+)?%", re.IGNORECASE)
_QUOTES = str.maketrans("\u2018\u2019", "''")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@dataclass(slots=True)
class _Entry:
    """What a phrase can mean."""

    coin: str = ""
    related: list[str] = field(default_factory=list)
    group: list[str] = field(default_factory=list)
    sentiment: int = 0
    negation: bool = False
    comparison: bool = False
    clause: bool = False
    promotion: bool = False
    other: bool = False
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class _Lexicon:
    """The data file, ready for look-up."""

    phrases: dict[Phrase, _Entry]
    tickers: dict[str, str]
    longest: int


@dataclass(slots=True)
class _Reading:
    """What a headline holds: the balance of each clause, and where each coin is spoken of."""

    balance: list[int] = field(default_factory=lambda: [0])
    direct: dict[str, tuple[int, int]] = field(default_factory=dict)
    related: dict[str, tuple[int, int]] = field(default_factory=dict)
    group: dict[str, tuple[int, int]] = field(default_factory=dict)
    promotion: bool = False
    foreign: bool = False
    side: int = 1
    negated: int = 0

    def next_clause(self) -> None:
        self.balance.append(0)
        self.side, self.negated = 1, 0

    def mention(self, found: dict[str, tuple[int, int]], coins: Iterable[str]) -> None:
        for coin in coins:
            found.setdefault(coin, (len(self.balance) - 1, self.side))


def read(headline: str, coins: Sequence[str]) -> dict[str, Signal]:
    """Returns the signal of each coin that the headline is about.

    Args:
        headline: Any text at all.
        coins: The coins that signals may be about. One that the data file doesn't know is found by its ticker.

    Returns:
        Coin to -1 or 1, in the order of `coins`; empty where the headline says nothing about them.
    """
    reading = _scan(headline, frozenset(coins))
    found = reading.direct
    if not found and not reading.promotion:
        found = reading.related or reading.group
        if found is reading.group and (_POST.search(headline) or reading.foreign or _names_another(headline, coins)):
            found = {}  # what says `crypto` in a post, or of another coin, is not about the market
    total = sum(reading.balance)
    signals: dict[str, Signal] = {}
    for coin in coins:
        if coin in found:
            clause, side = found[coin]
            balance = side * (reading.balance[clause] or total or 1)
            signals[coin] = 1 if balance > 0 else -1
    return signals


def clues(headline: str, coins: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Returns what the lexicon found about each coin, as numbers between -1 and 1 that a model can learn from.

    `len(CLUES)` for each coin, in the order of `CLUES`.
    """
    reading = _scan(headline, frozenset(coins))
    signals = read(headline, coins)
    total = sum(reading.balance)
    found: dict[str, tuple[float, ...]] = {}
    for coin in coins:
        mention = reading.direct.get(coin) or reading.related.get(coin) or reading.group.get(coin)
        balance = mention[1] * (reading.balance[mention[0]] or total) if mention else 0
        found[coin] = (
            coin in reading.direct,
            coin in reading.related,
            coin in reading.group,
            coin in signals,
            signals.get(coin, 0),
            max(-2, min(2, balance)) / 2,
            max(-2, min(2, total)) / 2,
            reading.promotion,
            not reading.direct,
            bool(reading.direct) and coin not in reading.direct,
            _POST.search(headline) is not None,
            _names_another(headline, coins) or reading.foreign,
        )
    return {coin: tuple(map(float, values)) for coin, values in found.items()}


def _names_another(headline: str, coins: Sequence[str]) -> bool:
    """Returns whether a text is about a coin outside the list: by its ticker, or as robots write."""
    tickers = (found for pair in _TICKER.findall(headline) for found in pair if found)
    return any(ticker not in coins for ticker in tickers) or _ROBOT.match(headline) is not None


def _scan(headline: str, coins: frozenset[str]) -> _Reading:
    lexicon = _load()
    reading = _Reading()
    found = list(_words(headline))
    words = [word for word, _ in found]
    i = 0
    while i < len(words):
        entry, length = _longest(lexicon, words, i)
        ticker = lexicon.tickers.get(found[i][1], found[i][1])
        if words[i] == "":
            reading.next_clause()
        elif ticker in coins and length == 1:
            reading.mention(reading.direct, [ticker])
        elif entry is not None:
            _apply(entry, reading, coins)
        if entry is None or not entry.negation:
            reading.negated -= length
        i += length
    return reading


def _apply(entry: _Entry, reading: _Reading, coins: frozenset[str]) -> None:
    if entry.clause:
        reading.next_clause()
    if entry.coin in coins:
        reading.mention(reading.direct, [entry.coin])
    reading.mention(reading.related, coins.intersection(entry.related))
    reading.mention(reading.group, coins.intersection(entry.group))
    reading.balance[-1] += -entry.sentiment if reading.negated > 0 else entry.sentiment
    reading.promotion |= entry.promotion
    reading.foreign |= entry.foreign and not entry.group
    if entry.comparison:
        reading.side = -1
    if entry.negation:
        reading.negated = NEGATION_REACH


def _longest(lexicon: _Lexicon, words: list[str], start: int) -> tuple[_Entry | None, int]:
    for length in range(min(lexicon.longest, len(words) - start), 0, -1):
        entry = lexicon.phrases.get(tuple(words[start : start + length]))
        if entry is not None:
            return entry, length
    return None, 1


def _words(headline: str) -> Iterator[tuple[str, str]]:
    """Yields each word in lower case beside its form as a ticker, if it has one; `""` where a clause ends."""
    text = unicodedata.normalize("NFKC", headline[:MAX_CHARACTERS]).translate(_QUOTES)
    lexicon = _load()
    for slash, prefix, word, stop in _TOKEN.findall(_NOT_TEXT.sub(" ", text)):
        if stop:
            yield "", ""
            continue
        lower = word.lower().removesuffix("'s")
        if slash and not prefix:  # the quote of a pair, such as XLM/BTC, is not what the headline is about
            yield "/", ""
        elif (lower,) in lexicon.phrases or not (prefix in ("#", "@") or word[1:].lower() != word[1:]):
            yield lower, (word.upper() if prefix in ("$", "#") or word.isupper() else "")
        elif word.isupper():
            yield lower, word
        else:  # #SolanaNFTs and MicroStrategy are words run together
            parts = _CAMEL.findall(word)
            for part in parts:
                yield part.lower(), (word.upper() if prefix and len(parts) == 1 else "")


@cache
def _load() -> _Lexicon:
    data: dict[str, Any] = tomllib.loads(resources.files(__package__).joinpath("lexicon.toml").read_text("utf-8"))
    phrases: defaultdict[Phrase, _Entry] = defaultdict(_Entry)
    for coin, words in data["coins"].items():
        for phrase in _phrases(words["names"]):
            phrases[phrase].coin = coin
        for phrase in _phrases(words["related"]):
            phrases[phrase].related.append(coin)
    for group in data["groups"]:
        for phrase in _phrases(group["terms"]):
            phrases[phrase].group.extend(group["coins"])
    for section, value in (("up", 1), ("down", -1)):
        forms = [form for verb in data[section]["verbs"] for form in _forms(verb)]
        for phrase in _phrases(data[section]["words"] + forms):
            phrases[phrase].sentiment = value
    for role in ("negation", "comparison", "clause", "promotion", "other", "foreign"):
        for phrase in _phrases(data[role]["words"]):
            setattr(phrases[phrase], role, True)
    tickers = {ticker: coin for coin, words in data["coins"].items() for ticker in words["tickers"]}
    return _Lexicon(dict(phrases), tickers, max(map(len, phrases)))


def _phrases(texts: Iterable[str]) -> Iterator[Phrase]:
    return (tuple(re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())) for text in texts)


def _forms(verb: str) -> tuple[str, str, str, str]:
    """Returns a regular verb's forms: `drop`, `drops`, `dropped`, `dropping`."""
    stem = verb
    if verb.endswith("e"):
        stem = verb[:-1]
    elif re.fullmatch(r"[^aeiou]*[aeiou][bdglmnpt]", verb):
        stem = verb + verb[-1]
    if re.search(r"[^aeiou]y$", verb):
        return verb, verb[:-1] + "ies", verb[:-1] + "ied", verb + "ing"
    third = verb + ("es" if re.search(r"(s|sh|ch|x|z)$", verb) else "s")
    return verb, third, stem + "ed", stem + "ing"
