"""The supervisor with real processes: order, restarts, health, an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from pricecast_cli.local import supervisor as supervising
from pricecast_cli.local.folder import DataFolder
from pricecast_cli.local.programs import API_STAGE, SERVICE_STAGE, Program
from pricecast_cli.local.supervisor import Supervisor

SERVICE = """
import os, signal, sys, time
from pathlib import Path
from pricecast_core.errors import SettingsError, StoreError
from pricecast_core.service import run
from pricecast_core.settings import ServiceSettings

how, folder = sys.argv[1], Path(sys.argv[2])
name = os.environ["NAME"]

def note(what):
    with (folder / "events").open("a") as file:
        file.write(f"{name} {what}\\n")

def work(settings, health, stop):
    note("started")
    since = time.monotonic()
    warm = 1.0 if how == "slow" else 0.0
    health.ready("warm", lambda: None if time.monotonic() - since >= warm else "is warming up")
    if how == "refused": raise SettingsError("PAIRS: 'x' is no pair; write BTC/USD")
    if how == "crash-once" and not (folder / name).exists():
        (folder / name).touch()
        raise StoreError("store: is not there yet")
    if how == "sick-once" and not (folder / name).exists():
        (folder / name).touch()
        health.alive("work", lambda: "does not move")
    if how == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how != "done": stop.wait(120)
    note("stopped")

run(name, ServiceSettings, work)
"""


class Case:
    """A data folder and programs that note what happens to them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = DataFolder(path / "data")
        self.folder.lock()
        self.log: list[str] = []

    def program(self, name: str, how: str = "runs", **fields: Any) -> Program:
        command = (sys.executable, "-c", SERVICE, how, str(self.path))
        env = {"NAME": name, "PIPELINE": "test"}
        return Program(name, command, env=env, **{"stage": SERVICE_STAGE, "grace_seconds": 10.0, **fields})

    def events(self) -> list[str]:
        file = self.path / "events"
        return file.read_text().splitlines() if file.exists() else []

    @asynccontextmanager
    async def running(self, *programs: Program) -> Any:
        supervisor = Supervisor(programs, self.folder, log=lambda *event: self.log.append(" ".join(event)))
        task = asyncio.create_task(supervisor.run())
        try:
            yield supervisor, task
        finally:
            supervisor.stop()
            await task


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


async def eventually(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.05)
    return value


async def test_the_api_starts_once_the_services_are_ready(case: Case) -> None:
    programs = [case.program("slow", "slow"), case.program("api", stage=API_STAGE)]
    async with case.running(*programs) as (supervisor, _):
        assert await supervisor.wait_for("api", "starting") == "starting"
        assert supervisor.watched["slow"].state == "ready"
        assert await supervisor.wait_for("api", "ready") == "ready"


async def test_a_crash_is_followed_by_a_restart_and_its_reason_is_kept(case: Case) -> None:
    async with case.running(case.program("a", "crash-once")) as (supervisor, _):
        await eventually(lambda: supervisor.watched["a"].restarts == 1)
        assert await supervisor.wait_for("a", "ready") == "ready"
    assert any("a ended exit code 1: store: is not there yet" in line for line in case.log)


async def test_a_killed_service_comes_back_with_a_port_of_its_own(case: Case) -> None:
    async with case.running(case.program("a")) as (supervisor, _):
        await supervisor.wait_for("a", "ready")
        os.kill(supervisor.watched["a"].child.id.pid, signal.SIGKILL)
        await eventually(lambda: supervisor.watched["a"].restarts == 1)
        assert await supervisor.wait_for("a", "ready") == "ready"


async def test_a_service_that_says_it_is_not_alive_is_restarted(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "HEALTH_SECONDS", 0.1)
    async with case.running(case.program("a", "sick-once")) as (supervisor, _):
        await eventually(lambda: supervisor.watched["a"].restarts == 1)
        assert await supervisor.wait_for("a", "ready") == "ready"
    assert any("is not healthy: work: does not move" in line for line in case.log)


async def test_a_wrong_setting_stops_everything_and_says_what_is_wrong(case: Case) -> None:
    async with case.running(case.program("good"), case.program("bad", "refused")) as (supervisor, task):
        assert await task == 78
        assert supervisor.watched["bad"].message == "PAIRS: 'x' is no pair; write BTC/USD"
        assert supervisor.watched["good"].state == "stopped"


async def test_a_service_that_is_not_installed_is_a_wrong_setting(case: Case) -> None:
    missing = Program("gone", (str(case.path / "pricecast-gone"),))
    async with case.running(missing) as (supervisor, task):
        assert await task == 78
        assert "install it: uv sync" in supervisor.watched["gone"].message


async def test_an_optional_service_never_takes_the_others_down(case: Case) -> None:
    optional = [
        case.program("news", "refused", optional=True),
        case.program("unset", optional=True, problem="API_KEY: is not set"),
    ]
    async with case.running(case.program("prices"), *optional) as (supervisor, task):
        assert await supervisor.wait_for("news", "refused") == "refused"
        assert await supervisor.wait_for("prices", "ready") == "ready"
        assert supervisor.watched["unset"].message == "API_KEY: is not set"
        assert not task.done()


async def test_a_source_that_ends_is_done_and_stays_so(case: Case) -> None:
    async with case.running(case.program("source", "done", ends=True)) as (supervisor, task):
        assert await supervisor.wait_for("source", "done") == "done"
        assert supervisor.watched["source"].restarts == 0
        assert not task.done()


async def test_a_job_runs_when_it_is_told_to(case: Case) -> None:
    async with case.running(case.program("train", "done", ends=True, job=True)) as (supervisor, _):
        assert case.events() == []
        assert await supervisor.run_job("train")
        assert await supervisor.run_job("train")
    assert case.events().count("train stopped") == 2


async def test_services_end_in_the_order_in_which_data_flows(case: Case) -> None:
    names = ["one", "two", "three"]
    async with case.running(*map(case.program, names)) as (supervisor, _):
        for name in names:
            await supervisor.wait_for(name, "ready")
    assert [event for event in case.events() if event.endswith("stopped")] == [f"{name} stopped" for name in names]


async def test_a_service_that_does_not_end_is_killed_after_its_grace_period(case: Case) -> None:
    async with case.running(case.program("a", "deaf", grace_seconds=0.5)) as (supervisor, task):
        await supervisor.wait_for("a", "ready")
        await eventually(lambda: "a started" in case.events())
        supervisor.stop()
        assert await task == 1
    assert any(line.startswith("a killed has not stopped within 0.5 s") for line in case.log)


async def test_asked_twice_it_ends_at_once(case: Case) -> None:
    async with case.running(case.program("a", "deaf", grace_seconds=100)) as (supervisor, task):
        await supervisor.wait_for("a", "ready")
        supervisor.stop()
        await asyncio.sleep(0)
        supervisor.stop()
        await asyncio.wait_for(task, 30)


async def test_a_defect_of_the_supervisor_itself_ends_everything(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError("a defect")

    supervisor = Supervisor([case.program("good"), case.program("done", "done", ends=True)], case.folder)
    task = asyncio.create_task(supervisor.run())
    monkeypatch.setattr(supervising.policy, "after_exit", broken)
    with pytest.raises(ZeroDivisionError):
        await task
    assert case.folder.strays() == {}


async def test_the_state_file_tells_others_what_runs(case: Case) -> None:
    async with case.running(case.program("a")) as (supervisor, _):
        await supervisor.wait_for("a", "ready")
        assert case.folder.supervisor() == psutil.Process()
        assert case.folder.strays()["a"].pid == supervisor.watched["a"].child.id.pid
    assert case.folder.supervisor() is None
    assert case.folder.strays() == {}


OWNER = """
import asyncio, sys
from pathlib import Path
from pricecast_cli.local.folder import DataFolder
from pricecast_cli.local.programs import Program
from pricecast_cli.local.supervisor import Supervisor

folder = DataFolder(Path(sys.argv[1]))
folder.lock()
program = Program("a", (sys.executable, "-c", "import time; time.sleep(600)"))
asyncio.run(Supervisor([program], folder).run())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next `pricecast up` ends what was left running")
async def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, str(tmp_path))
    try:
        program = await eventually(lambda: folder.strays().get("a"))
    finally:
        owner.kill()
        await owner.wait()
    await eventually(lambda: not program.is_running() or program.status() == psutil.STATUS_ZOMBIE)
    folder.lock()  # the lock ended with it
    assert folder.strays() == {}
