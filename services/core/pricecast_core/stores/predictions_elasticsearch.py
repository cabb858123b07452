"""The prediction store in Elasticsearch.

Two indices, made from one composable template with a strict mapping. `<prefix>-predictions` holds every prediction
under its id; `<prefix>-latest` one document for each pipeline, pair and horizon. Which of two documents of one id
stays is decided by the server, by external versions: a scored prediction is of version 2 and an unscored one of
version 1, and the version of a latest document is its feature time. So replays, retries and concurrent writers
need neither a script nor a lock.

The latest documents are read by realtime `mget`, which sees a write as soon as it is acknowledged, before any
refresh; history is searched, and follows within the index's refresh interval of a second.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from pricecast_core.errors import SettingsError, StoreError
from pricecast_core.messages import Prediction
from pricecast_core.stores.predictions import Page, Series, newest
from pricecast_core.stores.scores import Score
from pricecast_core.stores.tokens import decode_token, encode_token

_BULK_PREDICTIONS = 1_000
_SEARCH_SIZE = 1_000
_MAX_LATEST = 10_000
_KEYS_SECONDS = 1.0
"""How long the list of latest documents is taken to be complete; their contents are read anew each time."""

_READ_TIMEOUT_SECONDS = 5.0
_WRITE_TIMEOUT_SECONDS = 30.0
_WRITE_RETRIES = 4
_BACKOFF_SECONDS = 0.5
_BACKOFF_CAP_SECONDS = 5.0
_RETRIED_STATUSES = (429, 502, 503, 504)
_CONFLICT = 409
_REMEDIES = (
    ("flood-stage", "its disk is full: free space or add a node"),
    ("read-only", "the index is read-only: free space, or lift index.blocks.read_only"),
    ("security_exception", "check the API key and its privileges"),
)

_FIELDS = msgspec.structs.fields(Prediction)
_NAMES = tuple(field.name for field in _FIELDS)
_UNSCORED: dict[str, Any] = {"bool": {"must_not": {"exists": {"field": "actual_price"}}}}


class ElasticsearchPredictionStore:
    """A `PredictionStore` in Elasticsearch 9 (or 8).

    Args:
        url: `http(s)://HOST:PORT`, or several of one cluster, comma separated. The certificate of an https server is
            checked against the machine's authorities, or those in the file that `SSL_CERT_FILE` names.
        api_key: An API key, where security is on.
        prefix: First part of the names of the indices.
        refresh: When history can be searched after a write: `False` within a second, `wait_for` and `True` before
            `write` returns.

    Raises:
        SettingsError: If the URL can't be used.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        prefix: str = "pricecast",
        refresh: bool | Literal["wait_for"] = False,
    ) -> None:
        self._history_index = f"{prefix}-predictions"
        self._latest_index = f"{prefix}-latest"
        self._template = f"{prefix}-predictions"
        self._refresh = refresh
        self._keys: dict[str, str] = {}  # id of a latest document -> its pipeline
        self._keys_complete_until = 0.0
        self._lock = threading.Lock()
        try:
            client = Elasticsearch(
                [part.strip() for part in url.split(",")],
                api_key=api_key,
                ssl_context=ssl.create_default_context() if "https://" in url else None,
                retry_on_status=_RETRIED_STATUSES,
                retry_on_timeout=True,
                retry_backoff_base=_BACKOFF_SECONDS,
                retry_backoff_cap=_BACKOFF_CAP_SECONDS,
            )
        except (TypeError, ValueError) as error:
            raise SettingsError(
                f"PREDICTION_STORE_URL: can't be used for Elasticsearch: {error}; write http(s)://HOST:PORT"
            ) from None
        self._client = client
        self._reader = client.options(request_timeout=_READ_TIMEOUT_SECONDS, max_retries=1)
        self._writer = client.options(request_timeout=_WRITE_TIMEOUT_SECONDS, max_retries=_WRITE_RETRIES)

    def ensure(self) -> None:
        """Creates the index template and the indices, and adds fields that are new. Safe to call at once by several."""
        with _errors("ensure"):
            self._writer.indices.put_index_template(
                name=self._template,
                index_patterns=[self._history_index, self._latest_index],
                priority=200,
                template={"settings": _settings(), "mappings": mappings()},
                meta={"managed_by": "pricecast"},
            )
            for index in (self._history_index, self._latest_index):
                created = self._writer.options(ignore_status=400).indices.create(index=index)
                if "error" in created:
                    if created["error"]["type"] != "resource_already_exists_exception":
                        raise StoreError(f"index {index} can't be created: {created['error']['reason']}")
                    self._writer.indices.put_mapping(index=index, properties=mappings()["properties"])

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Stores predictions by their ids, scored ones over unscored ones, the latest in the same bulk requests."""
        for start in range(0, len(predictions), _BULK_PREDICTIONS):
            self._write_batch(predictions[start : start + _BULK_PREDICTIONS])

    def latest(self, pipeline: str | None = None) -> list[Prediction]:
        """Returns the latest prediction of each pipeline, pair and horizon."""
        with _errors("latest"):
            if time.monotonic() >= self._keys_complete_until:
                self._find_keys()
            ids = [key for key, owner in self._keys.copy().items() if pipeline in (None, owner)]
            if not ids:
                return []
            answer = self._reader.mget(index=self._latest_index, ids=ids)
        return newest(_prediction(document["_source"]) for document in answer["docs"] if document.get("found"))

    def history(
        self,
        pair: str,
        *,
        pipeline: str | None = None,
        horizon_seconds: int | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 100,
        token: str = "",
    ) -> Page:
        """Returns predictions of a pair by target time, newest first.

        Raises:
            PageTokenError: If the token isn't one of this query.
            StoreError: If Elasticsearch can't be read.
        """
        filters = (pair, pipeline, horizon_seconds, start_ms, end_ms)
        terms: dict[str, Any] = {"pair": pair, "pipeline": pipeline, "horizon_seconds": horizon_seconds}
        query: list[dict[str, Any]] = [{"term": {name: value}} for name, value in terms.items() if value is not None]
        bounds = {name: value for name, value in (("gte", start_ms), ("lte", end_ms)) if value is not None}
        if bounds:
            query.append({"range": {"target_time_ms": bounds}})
        after = decode_token(token, filters) if token else None
        predictions = self._search(query, "desc", limit + 1, after)
        if len(predictions) <= limit:
            return Page(predictions, "")
        last = predictions[limit - 1]
        return Page(predictions[:limit], encode_token((last.target_time_ms, last.id), filters))

    def unscored(self, pipeline: str, until_ms: int) -> list[Prediction]:
        """Returns predictions whose target time is at or before `until_ms` and that have no actual price yet."""
        query: list[dict[str, Any]] = [
            {"term": {"pipeline": pipeline}},
            {"range": {"target_time_ms": {"lte": until_ms}}},
            _UNSCORED,
        ]
        found: list[Prediction] = []
        after: tuple[int, str] | None = None
        while True:
            page = self._search(query, "asc", _SEARCH_SIZE, after)
            found += page
            if len(page) < _SEARCH_SIZE:
                return found
            after = page[-1].target_time_ms, page[-1].id

    def scores(self, pairs: Sequence[str], since_ms: int, pipeline: str | None = None) -> dict[Series, Score]:
        """Returns the sums over the scored predictions of each series since a target time, in one query."""
        query: list[dict[str, Any]] = [
            {"terms": {"pair": list(pairs)}},
            {"range": {"target_time_ms": {"gte": since_ms}}},
            {"exists": {"field": "actual_price"}},
        ]
        if pipeline is not None:
            query.append({"term": {"pipeline": pipeline}})
        compared = [{"exists": {"field": name}} for name in ("pinball_loss", "naive_pinball_loss")]
        sums: dict[str, Any] = {
            "error": _sum("absolute_error"),
            "naive_error": _sum("naive_absolute_error"),
            "inside": {"filter": {"term": {"inside_interval": True}}},
            "compared": {
                "filter": {"bool": {"filter": compared}},
                "aggs": {"pinball": _sum("pinball_loss"), "naive_pinball": _sum("naive_pinball_loss")},
            },
        }
        keys = [{name: {"terms": {"field": name}}} for name in ("pipeline", "pair", "horizon_seconds")]
        with _errors("scores"):
            answer = self._reader.search(
                index=self._history_index,
                query={"bool": {"filter": query}},
                size=0,
                track_total_hits=False,
                ignore_unavailable=True,
                aggs={"series": {"composite": {"size": _MAX_LATEST, "sources": keys}, "aggs": sums}},
            )
        buckets = answer.get("aggregations", {}).get("series", {}).get("buckets", [])
        return {_series(bucket): _score(bucket) for bucket in buckets}

    def close(self) -> None:
        """Gives back connections."""
        self._client.close()

    def _write_batch(self, predictions: Sequence[Prediction]) -> None:
        operations = [
            (_action(self._history_index, prediction.id, 2 if prediction.is_scored else 1), _document(prediction))
            for prediction in predictions
        ]
        keys: dict[str, str] = {}
        for prediction in newest(predictions):
            key = f"{prediction.pipeline}:{prediction.pair}:{prediction.horizon_seconds}"
            version = 2 * prediction.feature_time_ms + prediction.is_scored
            operations.append((_action(self._latest_index, key, version), _document(prediction)))
            keys[key] = prediction.pipeline
        # The first document of a key is made searchable at once: readers find keys by search, contents by `mget`.
        refresh = True if not keys.keys() <= self._keys.keys() else self._refresh
        with _errors("write"):
            for attempt in range(_WRITE_RETRIES + 1):
                operations, reason = self._bulk(operations, refresh)
                if not operations:
                    break
                time.sleep(_backoff_seconds(attempt))
            else:
                raise StoreError(
                    f"write: Elasticsearch rejected {len(operations)} documents {_WRITE_RETRIES + 1} times: {reason}; "
                    "they are written again once it takes them"
                )
        with self._lock:
            self._keys |= keys

    def _bulk(
        self, operations: Sequence[tuple[dict[str, Any], dict[str, Any]]], refresh: bool | Literal["wait_for"]
    ) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], str]:
        """Sends the operations and returns those to send again, and why."""
        lines = [line for operation in operations for line in operation]
        answer = self._writer.bulk(operations=lines, refresh=refresh)
        if not answer["errors"]:
            return [], ""
        again, reason = [], ""
        for operation, item in zip(operations, answer["items"], strict=True):
            result = item["index"]
            if result["status"] in _RETRIED_STATUSES:
                again.append(operation)
                reason = reason or _reason(result)
            elif "error" in result and result["status"] != _CONFLICT:  # a conflict: what is there is newer, or scored
                raise StoreError(f"write: {result['_id']} was refused by index {result['_index']}: {_reason(result)}")
        return again, reason

    def _find_keys(self) -> None:
        answer = self._reader.search(
            index=self._latest_index,
            query={"match_all": {}},
            source=False,
            docvalue_fields=[{"field": "pipeline"}],
            size=_MAX_LATEST,
            ignore_unavailable=True,
        )
        found = {hit["_id"]: str(hit["fields"]["pipeline"][0]) for hit in answer["hits"]["hits"]}
        with self._lock:
            self._keys |= found
            self._keys_complete_until = time.monotonic() + _KEYS_SECONDS

    def _search(
        self, query: list[dict[str, Any]], order: str, size: int, after: tuple[int, str] | None
    ) -> list[Prediction]:
        with _errors("search"):
            answer = self._reader.search(
                index=self._history_index,
                query={"bool": {"filter": query}},
                sort=[{"target_time_ms": {"order": order}}, {"id": {"order": order}}],
                search_after=list(after) if after is not None else None,
                size=size,
                track_total_hits=False,
                ignore_unavailable=True,
            )
        return [_prediction(hit["_source"]) for hit in answer["hits"]["hits"]]


def mappings() -> dict[str, Any]:
    """Returns the mapping of predictions, made from the message: an unknown field is refused by the server."""
    properties: dict[str, Any] = {"id": {"type": "keyword"}}
    for field in _FIELDS:
        properties[field.name] = _property(field)
    return {"dynamic": "strict", "properties": properties}


def _property(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    names = _kinds(msgspec.inspect.type_info(field.type))
    if msgspec.inspect.StrType in names:
        return {"type": "keyword"}
    if msgspec.inspect.BoolType in names:
        return {"type": "boolean"}
    if msgspec.inspect.FloatType in names:
        return {"type": "double"}
    return {"type": "date", "format": "epoch_millis"} if field.name.endswith("_ms") else {"type": "integer"}


def _kinds(info: msgspec.inspect.Type) -> set[type[msgspec.inspect.Type]]:
    if isinstance(info, msgspec.inspect.Metadata):
        return _kinds(info.type)
    if isinstance(info, msgspec.inspect.UnionType):
        return {kind for option in info.types for kind in _kinds(option)}
    if isinstance(info, msgspec.inspect.VarTupleType):  # a field of Elasticsearch holds one value or many
        return _kinds(info.item_type)
    return {type(info)}


def _settings() -> dict[str, Any]:
    return {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "1s"}


def _action(index: str, key: str, version: int) -> dict[str, Any]:
    return {"index": {"_index": index, "_id": key, "version": version, "version_type": "external_gte"}}


def _document(prediction: Prediction) -> dict[str, Any]:
    values = {name: getattr(prediction, name) for name in _NAMES}
    return {"id": prediction.id, **{name: value for name, value in values.items() if value is not None}}


def _prediction(source: Any) -> Prediction:
    return msgspec.convert(source, Prediction)


def _sum(field: str) -> dict[str, Any]:
    return {"sum": {"field": field}}


def _series(bucket: Any) -> Series:
    key = bucket["key"]
    return str(key["pipeline"]), str(key["pair"]), int(key["horizon_seconds"])


def _score(bucket: Any) -> Score:
    return Score(
        count=int(bucket["doc_count"]),
        error=float(bucket["error"]["value"]),
        naive_error=float(bucket["naive_error"]["value"]),
        inside=int(bucket["inside"]["doc_count"]),
        pinball=float(bucket["compared"]["pinball"]["value"]),
        naive_pinball=float(bucket["compared"]["naive_pinball"]["value"]),
    )


def _reason(result: Any) -> str:
    """Returns what Elasticsearch says of an operation or request that it refused, and what to do where that is plain."""
    error = result.get("error") if isinstance(result, dict) else None
    if not isinstance(error, dict):
        return str(error or f"status {result.get('status')}" if isinstance(result, dict) else result)
    cause = (error.get("root_cause") or [error])[0]
    text = f"{cause.get('type', 'error')}: {cause.get('reason', 'no reason given')}"
    for sign, remedy in _REMEDIES:
        if sign in text:
            return f"{text} ({remedy})"
    return text


def _backoff_seconds(attempt: int) -> float:
    return float(min(_BACKOFF_SECONDS * 2**attempt, _BACKOFF_CAP_SECONDS) * random.uniform(0.5, 1.0))  # noqa: S311


@contextmanager
def _errors(operation: str) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        said = _reason(error.body) if isinstance(error.body, dict) and "error" in error.body else str(error)
        raise StoreError(f"{operation}: Elasticsearch refused: {said}") from error
    except (TransportError, msgspec.ValidationError) as error:
        raise StoreError(f"{operation}: Elasticsearch failed: {error}; check that it runs and lets us in") from error
