"""What is learnt on top of the encoder: logistic regressions from a headline's vector and the lexicon's clues.

Whether a coin is moved is asked first, by a regression for each coin with enough examples, on top of one over all coins
that sees the clues alone; which way it is moved is asked by one over all coins. Each is convex and small, solved exactly
in a second or two, so that the same labels always give the same head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from pricecast_core.errors import SettingsError
from pricecast_core.news import lexicon
from pricecast_core.news.dataset import Example
from pricecast_core.news.lexicon import Signal

FEWEST_EXAMPLES = 12
"""A coin that fewer headlines move has no regression of its own."""
THRESHOLD = 0.4
"""A coin is given a signal from this probability on: below one half, since a missed pair costs F1 as much as a false one."""
PENALTY = 1.0
ITERATIONS = 25

Array = npt.NDArray[np.float64]


class Head(msgspec.Struct, frozen=True):
    """What was learnt, as it is kept in a file.

    Attributes:
        coins: The coins of the labels.
        shared: Weights of the regression over all coins: clues, one for each coin, a constant.
        own: Weights of those with enough examples: vector, clues, the shared one's answer, a constant.
        sign: Weights of the direction: vector, clues, a constant.
        encoder: Digest of the encoder's files.
        clues: The lexicon whose clues were learnt from.
        headlines: How many it was learnt from.
        weights: Where the encoder was then.
        f1: Cross-validated micro F1; 0 where it wasn't measured.
        lexicon_f1: The lexicon's on the same headlines.
    """

    coins: list[str]
    shared: list[float]
    own: dict[str, list[float]]
    sign: list[float]
    encoder: str
    clues: str
    headlines: int
    weights: str = ""
    f1: float = 0.0
    lexicon_f1: float = 0.0


def train(examples: Sequence[Example], vectors: npt.NDArray[np.float32], coins: Sequence[str], encoder: str) -> Head:
    """Returns the head that these labels teach.

    Args:
        examples: Labelled headlines.
        vectors: The encoder's vector of each.
        coins: The coins that labels may be about.
        encoder: Digest of the encoder's files.

    Raises:
        SettingsError: If there are too few labels to learn from.
    """
    found = [lexicon.clues(example.headline, coins) for example in examples]
    moved = np.array([[coin in example.signals for coin in coins] for example in examples], dtype=float)
    if moved.sum() < FEWEST_EXAMPLES:
        raise SettingsError(f"data: {int(moved.sum())} signals are too few to learn from; label more headlines")
    clues = np.array([[each[coin] for coin in coins] for each in found])
    shared_rows = np.concatenate(
        [clues, np.broadcast_to(np.eye(len(coins)), (len(examples), len(coins), len(coins)))], 2
    )
    shared = _fit(shared_rows.reshape(-1, shared_rows.shape[2]), moved.reshape(-1))
    answers = _with_constant(shared_rows) @ shared
    own = {}
    for number, coin in enumerate(coins):
        if moved[:, number].sum() >= FEWEST_EXAMPLES:
            rows = np.concatenate([vectors, clues[:, number], answers[:, number, None]], 1)
            own[coin] = _fit(rows, moved[:, number]).tolist()
    pairs = [(row, coins.index(coin)) for row, each in enumerate(examples) for coin in each.signals]
    rows = np.array([np.concatenate([vectors[row], clues[row, number]]) for row, number in pairs])
    up = np.array([float(examples[row].signals[coins[number]] > 0) for row, number in pairs])
    return Head(
        coins=list(coins),
        shared=shared.tolist(),
        own=own,
        sign=_fit(rows, up).tolist(),
        encoder=encoder,
        clues=lexicon.MODEL_NAME,
        headlines=len(examples),
    )


class Reader:
    """Reads headlines by what was learnt.

    Args:
        head: What was learnt.
        coins: The coins that signals may be about; one without labels is judged by the lexicon's clues.
    """

    def __init__(self, head: Head, coins: Sequence[str]) -> None:
        self._coins = tuple(coins)
        self._places = [head.coins.index(coin) if coin in head.coins else None for coin in coins]
        self._labelled = len(head.coins)
        self._shared = np.array(head.shared)
        self._own = {coin: np.array(weights) for coin, weights in head.own.items()}
        self._sign = np.array(head.sign)

    def read(self, headline: str, vector: npt.NDArray[np.float32]) -> dict[str, Signal]:
        """Returns the signal of each coin that the headline moves."""
        signals: dict[str, Signal] = {}
        for place, (coin, clues) in zip(self._places, lexicon.clues(headline, self._coins).items(), strict=True):
            which = np.zeros(self._labelled)
            if place is not None:
                which[place] = 1.0
            answer = float(_with_constant(np.concatenate([clues, which])) @ self._shared)
            own = self._own.get(coin)
            if own is not None:
                answer = float(_with_constant(np.concatenate([vector, clues, [answer]])) @ own)
            if _probability(answer) >= THRESHOLD:
                up = float(_with_constant(np.concatenate([vector, clues])) @ self._sign)
                signals[coin] = 1 if up > 0 else -1
        return signals


def save(head: Head, path: Path) -> None:
    """Writes a head to a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(head), indent=0))
    unfinished.replace(path)


def load(path: Path) -> Head:
    """Returns the head in a file.

    Raises:
        SettingsError: If it isn't there or is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Head)
    except OSError as error:
        raise SettingsError(
            f"encoder_head: {path} can't be read ({error.strerror}); make it by `pricecast news train`"
        ) from None
    except msgspec.MsgspecError as error:
        raise SettingsError(f"encoder_head: {path} is no head ({error}); make it by `pricecast news train`") from None


def check(head: Head, encoder: str) -> None:
    """Checks that a head was learnt with this encoder and this lexicon.

    Args:
        head: What was learnt.
        encoder: Digest of the encoder that is to be used with it.

    Raises:
        SettingsError: If it was learnt with others.
    """
    if head.encoder != encoder:
        raise SettingsError("encoder_head: it was learnt with other encoder_weights; train again with these")
    if head.clues != lexicon.MODEL_NAME:
        raise SettingsError(
            f"encoder_head: it was learnt with {head.clues}, this is {lexicon.MODEL_NAME}; run `pricecast news train` again"
        )


def _fit(rows: Array, truth: Array) -> Array:
    """Returns the weights of a regularised logistic regression, by Newton's method; the last is the constant's."""
    inputs = _with_constant(rows)
    penalty = np.full(inputs.shape[1], PENALTY)
    penalty[-1] = 1e-6  # the constant is free
    weights = np.zeros(inputs.shape[1])
    for _ in range(ITERATIONS):
        guess = _probability(inputs @ weights)
        gradient = inputs.T @ (guess - truth) + penalty * weights
        curvature = (inputs * (guess * (1 - guess) + 1e-9)[:, None]).T @ inputs + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        weights -= step * min(1.0, 10.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-4:
            break
    return weights


def _with_constant(rows: Array) -> Array:
    return np.concatenate([rows, np.ones((*rows.shape[:-1], 1))], -1)


def _probability(logits: Array | float) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))))
