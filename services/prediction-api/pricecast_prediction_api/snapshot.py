"""The latest predictions at one moment, indexed for every question that a caller may ask.

A snapshot is immutable. What goes over the wire is serialised once, when a prediction is first seen, for both
protocols: an answer then is one dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
from google.protobuf import json_format
from google.protobuf.message import Message

from pricecast_core.messages import Prediction
from pricecast_core.values import namespace_and_name
from pricecast_prediction_api.access.caller import Caller
from pricecast_prediction_api.convert import is_over, to_proto
from pricecast_prediction_api.gen.pricecast.v1 import prediction_pb2 as pb
from pricecast_prediction_api.gen.pricecast.v1 import prediction_service_pb2 as service_pb

Key = tuple[str, str, int]
"""Pipeline, pair and horizon in seconds. Of a caller, the pipeline may be any of `ways_to_name`, the horizon zero."""

_STOPPED_MS = 86_400_000
"""A pipeline whose last prediction is so much older than another's doesn't predict any more."""

_MAX_SCOPES = 256
"""For how many different scopes of callers a snapshot keeps what they see."""
_MAX_BATCHES = 256
"""How many different answers to `BatchPredict` a snapshot keeps serialised."""


def ways_to_name(pipeline: str) -> frozenset[str]:
    """Returns what a caller may call a pipeline: its id, its name, `NAMESPACE.` for any of its namespace, or nothing."""
    namespace, name = namespace_and_name(pipeline)
    return frozenset({pipeline, name, f"{namespace}." if namespace else "", ""})


def named(pipeline: str, namespace: str) -> str:
    """Returns the one way to name a pipeline that two fields of a request make: NAME or NAMESPACE.NAME, and NAMESPACE."""
    if not namespace or pipeline.startswith(f"{namespace}."):
        return pipeline
    return f"{namespace}.{pipeline}"


def to_json(message: Message) -> bytes:
    """Returns the message in protobuf's JSON mapping, compact, fields at their defaults included."""
    return msgspec.json.encode(json_format.MessageToDict(message, always_print_fields_with_no_presence=True))


def to_dict(message: Message) -> dict[str, Any]:
    """Returns the message as plain values, with the names of the proto."""
    values: dict[str, Any] = json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return values


class Reply:
    """A response, serialised for each protocol when first asked for, and never again.

    Attributes:
        message: The response.
        is_large: Whether serialising it as JSON would hold up the event loop.
    """

    def __init__(self, message: Message, *, is_large: bool = False) -> None:
        self.message = message
        self.is_large = is_large
        self._json: dict[str, bytes] = {}

    @cached_property
    def wire(self) -> bytes:
        """The response in protobuf's binary form."""
        return self.message.SerializeToString()

    def json(self, field: str = "") -> bytes:
        """Returns the response, or the one field of it that HTTP answers with, in JSON."""
        data = self._json.get(field)
        if data is None:
            data = self._json[field] = to_json(getattr(self.message, field) if field else self.message)
        return data


class Entry:
    """A prediction with its serialised forms: those until its target time, and those from then on.

    Args:
        prediction: The prediction as stored.
    """

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction
        self.key: Key = (prediction.pipeline, prediction.pair, prediction.horizon_seconds)
        self._forms: _Forms | None = None

    @property
    def is_over(self) -> bool:
        """Whether its target time has passed."""
        return is_over(self.prediction)

    @property
    def proto(self) -> pb.Prediction:
        """The prediction as the API gives it."""
        return self._now().proto

    @property
    def reply(self) -> Reply:
        """The answer to `Predict`."""
        return self._now().reply

    @property
    def event(self) -> Reply:
        """The event of `WatchPredictions`, where none was skipped before it."""
        return self._now().event

    def _now(self) -> _Forms:
        forms = self._forms
        if forms is None or forms.proto.is_over != self.is_over:
            forms = self._forms = _Forms(to_proto(self.prediction))
        return forms


class _Forms:
    """A prediction as the API gives it, each form made when first asked for."""

    def __init__(self, proto: pb.Prediction) -> None:
        self.proto = proto

    @cached_property
    def reply(self) -> Reply:
        return Reply(service_pb.PredictResponse(prediction=self.proto))

    @cached_property
    def event(self) -> Reply:
        return Reply(service_pb.WatchPredictionsResponse(prediction=self.proto))


class Snapshot:
    """An index over the latest predictions.

    Args:
        predictions: The latest prediction of each pipeline, pair and horizon.
        before: The snapshot before: what didn't change keeps its serialised forms.
    """

    def __init__(self, predictions: Iterable[Prediction] = (), before: Snapshot | None = None) -> None:
        known: Mapping[Key, Entry] = before.entries if before is not None else {}
        self.entries: dict[Key, Entry] = {}
        self.changed: list[Entry] = []
        for prediction in predictions:
            entry = Entry(prediction)
            old = known.get(entry.key)
            if old is not None and old.prediction == prediction:
                entry = old
            else:
                self.changed.append(entry)
            self.entries[entry.key] = entry
        self.pairs = sorted({pair for _, pair, _ in self.entries})
        self._index: dict[Key, Entry]
        self._several: dict[Key, Sequence[str]]
        if before is not None and not self.changed and len(self.entries) == len(before.entries):
            self._index, self._several = before._index, before._several
        else:
            self._index, self._several = self._build_index()
        self._batches: dict[tuple[tuple[Key, bool], ...], Reply] = {}
        self._seen_by: dict[tuple[str, ...], Snapshot] = {}

    def seen_by(self, caller: Caller) -> Snapshot:
        """Returns what of it a caller may see."""
        found = self._seen_by.get(caller.pipelines)
        if found is None:
            visible = (e.prediction for (name, _, _), e in self.entries.items() if caller.may_see(name))
            found = Snapshot(visible, self)
            if len(self._seen_by) < _MAX_SCOPES:
                self._seen_by[caller.pipelines] = found
        return found

    def find(self, pair: str, horizon_seconds: int = 0, pipeline: str = "") -> Entry | None:
        """Returns the latest prediction for the pair; see the proto for what 0 and an empty pipeline mean.

        None where there is none, and where several pipelines could be meant.
        """
        return self._index.get((pipeline, pair, horizon_seconds))

    def several(self, pair: str, horizon_seconds: int = 0, pipeline: str = "") -> Sequence[str]:
        """Returns the pipelines that could be meant, where more than one could."""
        return self._several.get((pipeline, pair, horizon_seconds), ())

    def horizons(self, pair: str, pipeline: str = "") -> list[int]:
        """Returns the horizons predicted for the pair, shortest first."""
        return sorted({h for name, p, h in self.entries if p == pair and pipeline in ways_to_name(name)})

    def pipelines(self, pair: str | None = None, pipeline: str = "") -> list[str]:
        """Returns the ids of the pipelines that predict the pair, or any; those that could be meant."""
        found = {name for name, p, _ in self.entries if pair in (None, p)}
        return sorted(name for name in found if pipeline in ways_to_name(name))

    def feature_time_ms(self, pair: str) -> int:
        """Returns the event time of the newest features that a prediction for the pair used."""
        return max(entry.prediction.feature_time_ms for (_, p, _), entry in self.entries.items() if p == pair)

    @cached_property
    def every_pair(self) -> Reply:
        """The answer to `ListPairs` without a pipeline."""
        return self.list_pairs("")

    def list_pairs(self, pipeline: str) -> Reply:
        """Returns the answer to `ListPairs`."""
        of_pair: dict[str, list[Entry]] = {}
        for (name, pair, _), entry in self.entries.items():
            if pipeline in ways_to_name(name):
                of_pair.setdefault(pair, []).append(entry)
        return Reply(service_pb.ListPairsResponse(pairs=[_predicted(*each) for each in sorted(of_pair.items())]))

    def batch(self, entries: Sequence[Entry]) -> Reply:
        """Returns the answer to `BatchPredict` with these predictions."""
        key = tuple((entry.key, entry.is_over) for entry in entries)
        reply = self._batches.get(key)
        if reply is None:
            reply = Reply(service_pb.BatchPredictResponse(predictions=[entry.proto for entry in entries]))
            if len(self._batches) < _MAX_BATCHES:
                self._batches[key] = reply
        return reply

    def _build_index(self) -> tuple[dict[Key, Entry], dict[Key, Sequence[str]]]:
        """Returns what to answer, and where several pipelines could be meant, which."""
        groups: dict[Key, list[Entry]] = {}
        for (pipeline, pair, horizon), entry in self.entries.items():
            for way in ways_to_name(pipeline):
                groups.setdefault((way, pair, horizon), []).append(entry)
                groups.setdefault((way, pair, 0), []).append(entry)
        index: dict[Key, Entry] = {}
        several: dict[Key, Sequence[str]] = {}
        for key, entries in groups.items():
            since = max(entry.prediction.issued_at_ms for entry in entries) - _STOPPED_MS
            running = [entry for entry in entries if entry.prediction.issued_at_ms >= since]
            pipelines = {entry.prediction.pipeline for entry in running}
            if len(pipelines) == 1:
                index[key] = min(running, key=lambda entry: entry.prediction.horizon_seconds)
            else:
                several[key] = sorted(pipelines)
        return index, several


def _predicted(pair: str, entries: Sequence[Entry]) -> service_pb.PredictedPair:
    pipelines = {entry.prediction.pipeline for entry in entries}
    return service_pb.PredictedPair(
        pair=pair,
        horizons_seconds=sorted({entry.prediction.horizon_seconds for entry in entries}),
        pipelines=sorted({namespace_and_name(pipeline)[1] for pipeline in pipelines}),
        pipeline_ids=sorted(pipelines),
        simulated=any(entry.prediction.simulated for entry in entries),
    )
