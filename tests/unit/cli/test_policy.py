"""What follows the end of a program."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_cli.local.policy import (
    FIRST_DELAY_SECONDS,
    HEALTHY_SECONDS,
    LONGEST_DELAY_SECONDS,
    Again,
    End,
    after_exit,
)


def after(code: int, *, ends: bool = False, attempts: int = 0, ran: float = 0.0, failures: int = 0) -> Again | End:
    return after_exit(code, ends=ends, attempts=attempts, ran_seconds=ran, failures=failures)


def test_a_wrong_setting_is_not_tried_again() -> None:
    assert after(78) == End("refused", "a setting is wrong")


def test_success_ends_only_what_may_end() -> None:
    assert after(0, ends=True) == End("done", "")
    assert isinstance(after(0), Again)


def test_not_possible_yet_is_tried_again_without_counting_as_a_failure() -> None:
    verdict = after(75, attempts=1, failures=3)
    assert isinstance(verdict, Again)
    assert verdict.failures == 3


@given(code=st.sampled_from([1, 2, -9, -11, 139]))
def test_pauses_grow_to_a_bound_while_crashes_follow_each_other(code: int) -> None:
    delays, failures = [], 0
    for _ in range(40):
        verdict = after(code, failures=failures)
        assert isinstance(verdict, Again)
        failures = verdict.failures
        delays.append(verdict.delay_seconds)
    assert delays[0] == FIRST_DELAY_SECONDS
    assert all(later >= earlier for earlier, later in pairwise(delays))
    assert delays[-1] == LONGEST_DELAY_SECONDS


def test_a_healthy_while_forgives_earlier_failures() -> None:
    verdict = after(1, ran=HEALTHY_SECONDS, failures=7)
    assert verdict == Again(FIRST_DELAY_SECONDS, 1, "exit code 1")


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_a_job_that_keeps_crashing_fails_after_its_attempts(attempts: int) -> None:
    failures, runs = 0, 0
    while True:
        runs += 1
        verdict = after(1, ends=True, attempts=attempts, failures=failures)
        if isinstance(verdict, End):
            break
        failures = verdict.failures
    assert (runs, verdict.state) == (attempts, "failed")


def test_a_signal_is_told_as_one() -> None:
    verdict = after(-9)
    assert isinstance(verdict, Again)
    assert verdict.reason == "killed by signal 9"
