"""What requests have in common: the checks of their fields, each of which says what can be asked instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from pricecast_core.errors import SettingsError
from pricecast_core.values import LONGEST_HORIZON_SECONDS, read_pair
from pricecast_prediction_api.convert import milliseconds
from pricecast_prediction_api.problems import invalid, not_found, several
from pricecast_prediction_api.snapshot import Entry, Snapshot

MAX_PAIRS = 100


def pair_of(text: str, field: str = "pair") -> str:
    """Returns the pair that is meant."""
    if not text:
        raise invalid(field, "is empty; write BASE/QUOTE, for example BTC/USD")
    try:
        return read_pair(text)
    except SettingsError as error:
        raise invalid(field, str(error).removeprefix("pair: ")) from error


def pairs_of(texts: Sequence[str]) -> list[str]:
    """Returns the pairs that are meant."""
    if len(texts) > MAX_PAIRS:
        raise invalid("pairs", f"{len(texts)} pairs are too many; ask for {MAX_PAIRS} at most at once")
    return [pair_of(text, f"pairs[{number}]") for number, text in enumerate(texts)]


def check_horizon(seconds: int) -> None:
    """Refuses a horizon that can't be."""
    if seconds < 0:
        raise invalid("horizon_seconds", f"{seconds} is negative; give seconds, or 0 for any")
    if seconds > LONGEST_HORIZON_SECONDS:
        raise invalid("horizon_seconds", f"{seconds} is above {LONGEST_HORIZON_SECONDS}, the longest horizon there is")


def page_size(given: int, usual: int, most: int) -> int:
    """Returns how much a page is to hold."""
    if given < 0:
        raise invalid("page_size", f"{given} is negative; give 1 to {most}, or 0 for {usual}")
    return min(given or usual, most)


def time_of(request: Message, field: str) -> int | None:
    """Returns a time in milliseconds, or None where it is unset."""
    if not request.HasField(field):
        return None
    time: Timestamp = getattr(request, field)
    if not (-62_135_596_800 <= time.seconds <= 253_402_300_799 and 0 <= time.nanos < 1_000_000_000):
        raise invalid(field, "is not a time between the years 1 and 9999")
    return milliseconds(time)


def find_all(snapshot: Snapshot, wanted: Sequence[str], horizon_seconds: int, pipeline: str) -> list[Entry]:
    """Returns the latest prediction for each pair, or raises what of the request isn't known."""
    check_horizon(horizon_seconds)
    found = [snapshot.find(pair, horizon_seconds, pipeline) for pair in wanted]
    entries = [entry for entry in found if entry is not None]
    if len(entries) == len(wanted):
        return entries
    unknown = [pair for pair in wanted if pair not in snapshot.pairs]
    if unknown:
        raise not_found("pair", unknown, snapshot.pairs)
    missing = wanted[found.index(None)]
    if candidates := snapshot.several(missing, horizon_seconds, pipeline):
        raise several(missing, candidates)
    if not snapshot.pipelines(missing, pipeline):
        raise not_found("pipeline", [pipeline], snapshot.pipelines(missing))
    raise not_found("horizon", [horizon_seconds], snapshot.horizons(missing, pipeline))


def one_pipeline(snapshot: Snapshot, pair: str, pipeline: str) -> str:
    """Returns the id of the one pipeline that is meant, or raises what of the request isn't known."""
    if pair not in snapshot.pairs:
        raise not_found("pair", [pair], snapshot.pairs)
    candidates = snapshot.pipelines(pair, pipeline)
    if not candidates:
        raise not_found("pipeline", [pipeline], snapshot.pipelines(pair))
    if len(candidates) > 1:
        raise several(pair, candidates)
    return candidates[0]


def series_of(snapshot: Snapshot, request: Any, pipeline: str) -> Entry:
    """Returns the latest prediction of the one pipeline, pair and horizon that a request names."""
    [entry] = find_all(snapshot, [pair_of(request.pair)], request.horizon_seconds, pipeline)
    return entry
