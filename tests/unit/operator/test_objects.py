"""Whether a live object is what it should be, whatever the API server and others added to it."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pricecast_operator.cluster.objects import (
    Child,
    Wanted,
    contains,
    controller_of,
    fields_as_applied,
    is_as_wanted,
    job_patch,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def deployment(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "candles", "namespace": "prices", "labels": {"a": "b"}},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "candles", "image": "x"}]}}, **spec},
    }


def as_live(manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns the manifest as an API server gives it back: with defaults, bookkeeping and others' additions."""
    live = copy.deepcopy(manifest)
    live["metadata"] |= {
        "uid": "1",
        "resourceVersion": "42",
        "generation": 3,
        "managedFields": [{"manager": "pricecast-operator"}],
        "annotations": {**live["metadata"].get("annotations", {}), "deployment.kubernetes.io/revision": "7"},
    }
    live["spec"]["progressDeadlineSeconds"] = 600
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    live["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "mesh"})
    live["status"] = {"readyReplicas": 1}
    return live


def test_what_others_add_is_no_difference() -> None:
    wanted = Wanted.of(deployment())
    assert is_as_wanted(wanted, Child.of(as_live(wanted.manifest)))


def test_what_was_wanted_once_and_is_no_more_is_a_difference() -> None:
    before = Wanted.of(deployment(paused=True))
    live = Child.of(as_live(before.manifest))
    assert is_as_wanted(before, live)
    assert not is_as_wanted(Wanted.of(deployment()), live)


def test_a_changed_field_is_a_difference() -> None:
    live = as_live(deployment())
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "y"
    assert not is_as_wanted(Wanted.of(deployment()), Child.of(live))


def test_a_removed_label_is_a_difference() -> None:
    live = as_live(deployment())
    live["metadata"]["labels"] = {}
    assert not is_as_wanted(Wanted.of(deployment()), Child.of(live))


def test_status_and_bookkeeping_leave_the_digest_alone() -> None:
    first = as_live(deployment())
    second = copy.deepcopy(first)
    second["status"] = {"readyReplicas": 0}
    second["metadata"] |= {"resourceVersion": "43", "managedFields": []}
    assert Child.of(first).digest == Child.of(second).digest
    second["spec"]["replicas"] = 2
    assert Child.of(first).digest != Child.of(second).digest


def test_lists_without_names_are_compared_whole() -> None:
    assert contains([{"port": 1}, {"port": 2}], [{"port": 1}, {"port": 2}])
    assert not contains([{"port": 1}, {"port": 2}], [{"port": 1}])
    assert not contains([{"port": 2}, {"port": 1}], [{"port": 1}, {"port": 2}])


def test_of_a_job_only_what_may_change_is_compared() -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "t"},
        "spec": {"suspend": False, "template": {"a": 1}},
    }
    live = {**job, "metadata": {"name": "t", "uid": "1"}, "spec": {"suspend": False, "template": {"a": 2}}}
    assert is_as_wanted(Wanted.of(job), Child.of(live))
    live["spec"] = {"suspend": True, "template": {"a": 1}}
    assert not is_as_wanted(Wanted.of(job), Child.of(live))
    assert job_patch(Wanted.of(job)) == {"spec": {"suspend": False}}


@given(JSON)
def test_everything_contains_itself(value: Any) -> None:
    assert contains(value, value)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4), st.text(min_size=6, max_size=8))
def test_an_added_field_is_no_difference(value: dict[str, Any], name: str) -> None:
    assert contains({**value, name: 1}, value)


def test_what_was_created_becomes_what_was_applied_and_others_keep_theirs() -> None:
    theirs = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {}}}
    status = {"manager": "pricecast-operator", "operation": "Update", "subresource": "status", "fieldsV1": {}}
    created = {"manager": "pricecast-operator", "operation": "Update", "fieldsV1": {"f:spec": {}}}
    applied = {**created, "operation": "Apply"}
    assert fields_as_applied([theirs, status, created]) == [theirs, status, applied]
    assert fields_as_applied([theirs, status, applied]) is None
    assert fields_as_applied([theirs, created, applied]) == [theirs, applied]


def test_only_a_controller_owns() -> None:
    live = as_live(deployment())
    live["metadata"]["ownerReferences"] = [{"kind": "PricePipeline", "name": "btc", "uid": "7"}]
    assert controller_of(live) == ""
    live["metadata"]["ownerReferences"][0]["controller"] = True
    assert controller_of(live) == "7"
