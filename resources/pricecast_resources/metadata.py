"""`metadata` of a resource, as far as the API server checks it before anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_KEY = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_LONGEST_PREFIX = 253
_LARGEST_ANNOTATIONS = 256 * 1024
_FIELDS = frozenset(
    {
        "name",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "generateName",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
    }
)


def problems(metadata: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields what is wrong with a resource's metadata, but for its name: where, and what to write."""
    for field in metadata.keys() - _FIELDS:
        yield (str(field),), "is not a field of metadata; labels and annotations take what is your own"
    for field in ("labels", "annotations"):
        yield from _entries(field, metadata.get(field))


def _entries(field: str, entries: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    if entries is None:
        return
    if not isinstance(entries, dict):
        yield (field,), "is not a mapping; write KEY: VALUE"
        return
    for key, value in entries.items():
        prefix, _, name = str(key).rpartition("/")
        if not isinstance(key, str) or _KEY.fullmatch(key) is None or len(prefix) > _LONGEST_PREFIX or not name:
            yield (
                (field, str(key)),
                f"{key!r}: write a key of letters, digits, -, _ and ., at most 63 after any prefix/",
            )
        if not isinstance(value, str):
            yield (field, str(key)), f"{value!r}: is no text; put it in quotes"
        elif field == "labels" and _LABEL.fullmatch(value) is None:
            yield (field, str(key)), f"{value!r}: write letters, digits, -, _ and ., at most 63"
    if field == "annotations" and sum(len(f"{key}{value}".encode()) for key, value in entries.items()) > (
        _LARGEST_ANNOTATIONS
    ):
        yield (field,), "is larger than 256 KiB in all; keep less in it"
