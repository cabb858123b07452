"""The contract of `ModelRegistry`. A subclass gives the fixture `registry`: empty."""

from __future__ import annotations

import threading

import pytest

from pricecast_core.errors import StoreError
from pricecast_core.stores.models import Lineage, ModelRegistry, TrainingRun

NAME = "btc-btc-usd-300s"


def a_run(name: str = NAME, artifact: bytes = b"\x00model\xff", parent: int = 0) -> TrainingRun:
    return TrainingRun(
        model_name=name,
        parameters={"max_depth": 4, "eta": 0.05, "booster": "gbtree", "calibrated": True},
        metrics={"distribution_skill": 0.031, "coverage": 0.8},
        trained_through_ms=1_767_225_600_000,
        artifact=artifact,
        report_html="<h1>report é</h1>",
        lineage=Lineage(trained_from_ms=1_764_547_200_000, feature_set="a1b2c3", code_version="0.1.0", parent=parent),
    )


class ModelRegistryContract:
    def test_versions_are_numbered_from_one_within_a_model(self, registry: ModelRegistry) -> None:
        assert [registry.register(a_run()).version for _ in range(3)] == [1, 2, 3]
        assert registry.register(a_run("other")).version == 1
        assert [version.version for version in registry.versions(NAME)] == [3, 2, 1]
        assert registry.versions("unknown") == []

    def test_a_run_comes_back_as_it_was_registered(self, registry: ModelRegistry) -> None:
        registered = registry.register(a_run())
        assert registered.stage == "registered"
        assert registered.parameters == a_run().parameters
        assert registered.metrics == a_run().metrics
        assert registered.trained_through_ms == a_run().trained_through_ms
        assert registry.versions(NAME) == [registered]
        assert registry.artifact(NAME, 1) == a_run().artifact
        assert registry.report(NAME, 1) == a_run().report_html

    def test_what_a_version_was_made_of_is_told_wherever_it_is(self, registry: ModelRegistry) -> None:
        first, second = registry.register(a_run()), registry.register(a_run(parent=1))
        assert (first.lineage, second.lineage) == (a_run().lineage, a_run(parent=1).lineage)
        assert [version.lineage for version in registry.versions(NAME)] == [second.lineage, first.lineage]
        assert registry.promote(NAME, 2, "").lineage == second.lineage
        assert registry.reject(NAME, 1, "").lineage == first.lineage
        assert registry.production([NAME])[NAME].lineage == second.lineage

    def test_one_version_follows_another_in_production(self, registry: ModelRegistry) -> None:
        for _ in range(3):
            registry.register(a_run())
        assert registry.production([NAME]) == {}
        registry.promote(NAME, 1, "beats naive")
        promoted = registry.promote(NAME, 3, "better still")
        assert (promoted.stage, promoted.reason) == ("production", "better still")
        assert [version.stage for version in registry.versions(NAME)] == ["production", "registered", "archived"]
        assert registry.production([NAME]) == {NAME: promoted}

    def test_a_rollback_and_a_second_promotion_are_promotions(self, registry: ModelRegistry) -> None:
        for _ in range(2):
            registry.register(a_run())
        for version in (1, 2, 1, 1):
            registry.promote(NAME, version, "")
        assert [version.stage for version in registry.versions(NAME)] == ["archived", "production"]

    def test_who_served_when_and_why_is_kept(self, registry: ModelRegistry) -> None:
        for _ in range(2):
            registry.register(a_run())
        registry.register(a_run("other"))
        assert registry.promotions([NAME, "other"], 10) == []
        for name, version, reason in ((NAME, 1, "the first"), ("other", 1, "its own"), (NAME, 2, "better")):
            registry.promote(name, version, reason)
        made = registry.promotions([NAME, "other"], 10)
        told = [(each.model_name, each.version, each.former, each.reason) for each in made]
        assert told == [(NAME, 2, 1, "better"), ("other", 1, 0, "its own"), (NAME, 1, 0, "the first")]
        times = [each.at_ms for each in made]
        assert times == sorted(times, reverse=True)
        assert registry.promotions([NAME, "other"], 1) == made[:2]
        assert registry.promotions(["other"], 10) == [made[1]]
        registry.promote(NAME, 1, "worse than the former")
        [rollback] = registry.promotions([NAME], 1)
        assert (rollback.version, rollback.former, rollback.reason) == (1, 2, "worse than the former")

    def test_the_newest_version_of_many_models_is_told_at_once(self, registry: ModelRegistry) -> None:
        for _ in range(3):
            registry.register(a_run())
        registry.register(a_run("other"))
        registry.request_training("third", "none yet")
        assert registry.newest([NAME, "other", "third", "fourth"]) == {NAME: 3, "other": 1}
        assert registry.newest([]) == {}

    def test_production_answers_for_many_models_at_once(self, registry: ModelRegistry) -> None:
        names = [f"model-{number}" for number in range(5)]
        for name in names:
            registry.register(a_run(name))
        for name in names[:3]:
            registry.promote(name, 1, "")
        assert set(registry.production(names[1:])) == set(names[1:3])
        assert registry.production([]) == {}

    def test_a_rejection_keeps_its_reason_and_changes_no_stage(self, registry: ModelRegistry) -> None:
        registry.register(a_run())
        rejected = registry.reject(NAME, 1, "doesn't beat naive: skill -0.01")
        assert (rejected.stage, rejected.reason) == ("registered", "doesn't beat naive: skill -0.01")
        assert registry.production([NAME]) == {}

    def test_an_unknown_version_is_refused_by_name_and_production_stays(self, registry: ModelRegistry) -> None:
        registry.register(a_run())
        registry.promote(NAME, 1, "")
        for call in (
            lambda: registry.promote(NAME, 9, ""),
            lambda: registry.reject(NAME, 9, ""),
            lambda: registry.artifact(NAME, 9),
            lambda: registry.report(NAME, 9),
        ):
            with pytest.raises(StoreError, match=f"9 of model '{NAME}'"):
                call()
        assert registry.production([NAME])[NAME].version == 1

    def test_an_early_training_is_asked_for_once_and_met_by_the_next_version(self, registry: ModelRegistry) -> None:
        registry.request_training(NAME, "skill fell below zero")
        registry.request_training(NAME, "again")
        registry.request_training("other", "drift")
        assert registry.training_requests([NAME, "third"]) == {NAME: "skill fell below zero"}
        assert registry.register(a_run()).version == 1
        assert registry.training_requests([NAME, "other"]) == {"other": "drift"}
        registry.request_training(NAME, "later")
        assert registry.training_requests([NAME]) == {NAME: "later"}

    def test_concurrent_registrations_and_promotions_leave_one_in_production(self, registry: ModelRegistry) -> None:
        errors: list[Exception] = []

        def train() -> None:
            try:
                for _ in range(5):
                    registry.promote(NAME, registry.register(a_run()).version, "")
            except Exception as error:
                errors.append(error)

        trainers = [threading.Thread(target=train) for _ in range(4)]
        for trainer in trainers:
            trainer.start()
        for trainer in trainers:
            trainer.join()
        assert errors == []
        versions = registry.versions(NAME)
        assert sorted(version.version for version in versions) == list(range(1, 21))
        assert [version.stage for version in versions].count("production") == 1
