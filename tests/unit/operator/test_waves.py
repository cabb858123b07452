"""A new version reaches pipelines some at a time, and stops at the first that fails on it."""

from __future__ import annotations

from typing import Any

import pytest

from pricecast_operator.controllers.waves import Waves
from pricecast_operator.render.pods import RenderOptions

OLD, NEW = "p/{service}:1", "p/{service}:2"


class Fleet:
    """Pipelines whose status is what was told last; `works` says how each does on the new images."""

    def __init__(self, count: int, works: dict[int, str] | None = None) -> None:
        self.works = works or {}
        self.statuses: dict[tuple[str, str], dict[str, Any]] = {
            ("ns", f"p{number:02}"): status("True", OLD) for number in range(count)
        }

    def round(self, waves: Waves) -> int:
        """Has each pipeline reconciled once; returns how many were on their way at the same time."""
        moving = 0
        for number, (name, before) in enumerate(self.statuses.items()):
            images = waves.images(name, before, NEW)
            changed = images != before["images"]
            bad = images == NEW and number in self.works
            now = status("True", images, settled=not changed, degraded=self.works[number] if bad else "")
            found = waves.finding(name, now)
            if found is not None:
                told = {"type": found.type, "status": found.status, "reason": found.reason, "message": found.message}
                now["conditions"].append(told)
                moving += found.reason == "Upgrading"
            self.statuses[name] = now
        return moving

    def on(self, images: str) -> int:
        return sum(each["images"] == images for each in self.statuses.values())

    def reasons(self) -> list[str]:
        return [each["conditions"][-1]["reason"] for each in self.statuses.values()]


def status(ready: str, images: str, *, settled: bool = True, degraded: str = "") -> dict[str, Any]:
    conditions = [
        {"type": "Ready", "status": ready, "reason": "x", "message": "m"},
        {"type": "Progressing", "status": "False" if settled else "True", "reason": "x", "message": "m"},
        {"type": "Degraded", "status": str(bool(degraded)), "reason": degraded or "AsExpected", "message": "m"},
    ]
    return {"images": images, "conditions": conditions}


def test_no_more_than_the_bound_are_on_their_way_and_all_arrive() -> None:
    fleet, waves = Fleet(20), Waves(at_once=3)
    for _ in range(20):
        assert fleet.round(waves) <= 3
    assert fleet.on(NEW) == 20


def test_the_first_that_fails_holds_up_those_that_wait_and_its_mending_frees_them() -> None:
    fleet, waves = Fleet(20, {2: "ImagePullFailed"}), Waves(at_once=3, patience=0)
    for _ in range(20):
        fleet.round(waves)
    assert fleet.on(NEW) == 3
    assert fleet.reasons().count("UpgradeFailed") == 1
    assert fleet.reasons().count("UpgradeWaits") == 17
    fleet.works.clear()
    for _ in range(20):
        fleet.round(waves)
    assert fleet.on(NEW) == 20


def test_one_that_takes_too_long_has_failed() -> None:
    fleet, waves = Fleet(5, {0: "Starting"}), Waves(at_once=1, seconds=-1)
    for _ in range(3):
        fleet.round(waves)
    assert fleet.on(NEW) == 1
    assert fleet.reasons()[0] == "UpgradeFailed"


def test_no_other_is_moved_while_one_ails() -> None:
    fleet, waves = Fleet(20, {2: "ImagePullFailed"}), Waves(at_once=3)
    for _ in range(20):
        fleet.round(waves)
    assert fleet.on(NEW) <= 5  # the two beside it arrive, and may have been followed before it ailed
    assert "UpgradeFailed" not in fleet.reasons()
    fleet.works.clear()
    for _ in range(20):
        fleet.round(waves)
    assert fleet.on(NEW) == 20


def test_a_pod_that_fails_once_while_it_rolls_is_no_failure() -> None:
    fleet, waves = Fleet(3, {0: "CrashLoop"}), Waves(at_once=1)
    for _ in range(3):
        fleet.round(waves)
    assert "UpgradeFailed" not in fleet.reasons()
    fleet.works.clear()
    for _ in range(6):
        fleet.round(waves)
    assert fleet.on(NEW) == 3


def test_a_rollout_that_kubernetes_calls_stuck_has_failed() -> None:
    fleet, waves = Fleet(3, {0: "RolloutStuck"}), Waves(at_once=1)
    for _ in range(2):
        fleet.round(waves)
    assert fleet.reasons() == ["UpgradeFailed", "UpgradeWaits", "UpgradeWaits"]


def test_an_operator_that_restarts_goes_on_where_it_was() -> None:
    fleet, waves = Fleet(20, {2: "ImagePullFailed"}), Waves(at_once=3, patience=0)
    for _ in range(5):
        fleet.round(waves)
    waves = Waves(at_once=3, patience=0)
    for _ in range(5):
        fleet.round(waves)
    assert fleet.on(NEW) == 3


def test_one_that_was_not_ready_is_not_waited_for() -> None:
    waves = Waves(at_once=1)
    assert waves.images(("ns", "broken"), status("False", OLD), NEW) == NEW
    assert waves.finding(("ns", "broken"), status("False", NEW)) is None


def test_a_new_pipeline_runs_the_operators_images() -> None:
    assert Waves(at_once=1).images(("ns", "new"), {}, NEW) == NEW


@pytest.mark.parametrize("digests", [(), (("trades", "sha256:ab"), ("candles", "sha256:cd"))])
def test_images_are_kept_as_a_text(digests: tuple[tuple[str, str], ...]) -> None:
    options = RenderOptions(image="r:5000/p/{service}:1", digests=digests)
    assert RenderOptions().with_images(options.images).image_of("trades") == options.image_of("trades")
    assert options.pinned("0.9").image_of("trades") == "r:5000/p/trades:0.9"
