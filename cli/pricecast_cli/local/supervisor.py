"""Keeps the programs of a pipeline running: starts them in order, restarts them, watches their health, ends them.

Programs start by stages: the broker, the services, the API. A program that ends is started again with exponential
back-off; one that says that a setting is wrong is not, and takes the pipeline down with it unless it is optional. A
program whose `/healthz` fails several times in a row is restarted. What happens is decided in `policy`; this module
does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pricecast_cli.local import child, policy
from pricecast_cli.local.folder import DataFolder, ProcessId
from pricecast_cli.local.logs import last_words, size
from pricecast_cli.local.ports import held_port
from pricecast_cli.local.probe import Answer, ask
from pricecast_cli.local.programs import API_STAGE, BROKER_STAGE, Program, stop_order
from pricecast_core.service import EX_CONFIG, EX_FAILED, EX_OK

READY_POLL_SECONDS = 0.2
"""How often a program that has just started is asked whether it is ready."""
HEALTH_SECONDS = 10.0
"""How often a program that is ready is asked whether it is alive."""
HEALTH_TIMEOUT_SECONDS = 5.0
HEALTH_FAILURES = 3
"""Failures in a row after which a program is restarted."""
START_SECONDS = 120.0
"""A program that hasn't answered its health port once in this time is restarted."""
STAGE_SECONDS = 60.0
"""The API waits no longer than this for the services: it can serve what was stored."""
JOB_NICENESS = 10
"""Training gives way to serving."""


@dataclass(slots=True)
class Watched:
    """A program and what is known of it.

    Attributes:
        program: The program.
        state: waiting, starting, running, ready, stopping, stopped, done, due later (`idle`), restarting, refused, failed.
        child: Its process, while there is one.
        restarts: How often it was started again.
        message: Why it isn't ready, or why it ended.
        info: What it last told about itself.
        since: When it came into its state, Unix seconds.
        log_start: Where in its log its present life begins.
        settled: Set whenever its state is.
    """

    program: Program
    state: str = "waiting"
    child: child.Child | None = None
    restarts: int = 0
    message: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    since: float = field(default_factory=time.time)
    log_start: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def to_json(self) -> dict[str, Any]:
        """Returns what other terminals are told."""
        return {
            "state": self.state,
            "since": self.since,
            "restarts": self.restarts,
            "message": self.message,
            "process": self.child.id.to_json() if self.child is not None else None,
            "port": self.child.port if self.child is not None else None,
        }


class Supervisor:
    """Runs programs until it is asked to stop, they are done, or one that is needed can't run.

    Attributes:
        watched: The programs and what is known of them.
        started: When, Unix seconds.
        exit_code: What `run` will return.
        serving: Set once the services are ready, or have had time to be: what depends on them may start.

    Args:
        programs: What to run, in the order in which data flows.
        folder: The pipeline's data folder, locked by the caller.
        about: What the state file says besides: pipeline, manifest, addresses.
        log: Takes one line about each event: program, event, details.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        folder: DataFolder,
        *,
        about: dict[str, Any] | None = None,
        log: Callable[[str, str, str], None] = lambda program, event, detail: None,
    ) -> None:
        self.watched = {program.name: Watched(program) for program in programs}
        self.started = time.time()
        self.exit_code = EX_OK
        self.serving = asyncio.Event()
        self._folder = folder
        self._about = about or {}
        self._log = log
        self._stop = asyncio.Event()
        self._kill = False
        self._defect: BaseException | None = None
        self._me = ProcessId.of(os.getpid())
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def stopping(self) -> bool:
        """Whether the programs are being ended."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Asks for an orderly end; asked again, ends everything at once."""
        if self._stop.is_set():
            self._kill = True
            for watched in self.watched.values():
                if watched.child is not None:
                    watched.child.kill()
        self._stop.set()

    async def run(self) -> int:
        """Runs the programs and returns the exit code: 0 after an orderly end, 78 if a setting is wrong."""
        self._write_state()
        starter = asyncio.create_task(self._start_all())
        health = asyncio.create_task(self._watch_health())
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([starter, stop], return_when=asyncio.FIRST_COMPLETED)
            if starter.done() and (error := starter.exception()) is not None:
                raise error
            await stop
        finally:
            self._stop.set()
            for task in (starter, health, stop):
                task.cancel()
            await asyncio.gather(starter, health, stop, return_exceptions=True)
            await self._stop_all()
            self._write_state(over=True)
        if self._defect is not None:
            raise self._defect
        return self.exit_code

    async def run_job(self, name: str) -> bool:
        """Runs a job to its end, with retries. Returns whether it succeeded."""
        watched = self.watched[name]
        await self._keep(watched)
        return watched.state == "done"

    def idle(self, name: str, message: str) -> None:
        """Says on screen that a job is not due."""
        self._set(self.watched[name], "idle", message)

    async def wait_for(self, name: str, *states: str) -> str:
        """Waits until a program is in one of the states, or can't come into it any more; returns its state."""
        watched = self.watched[name]
        while watched.state not in (*states, "refused", "failed", "stopped"):
            watched.settled.clear()
            await watched.settled.wait()
        return watched.state

    # --- starting

    async def _start_all(self) -> None:
        stages = sorted({watched.program.stage for watched in self.watched.values()})
        for stage in stages:
            members = [w for w in self.watched.values() if w.program.stage == stage and not w.program.job]
            for watched in members:
                task = self._tasks[watched.program.name] = asyncio.create_task(self._keep(watched))
                task.add_done_callback(self._notice_defect)
            needed = [w for w in members if not w.program.optional]
            limited = BROKER_STAGE < stage < API_STAGE
            with contextlib.suppress(TimeoutError):
                # not wait_for: it leaves a cancelled gather's exception unread, which asyncio prints as a traceback
                async with asyncio.timeout(STAGE_SECONDS if limited else None):
                    await asyncio.gather(*(self.wait_for(w.program.name, "ready", "done") for w in needed))
            if limited:
                self.serving.set()

    def _notice_defect(self, task: asyncio.Task[None]) -> None:
        """Ends everything, and has `run` raise, where supervising itself has failed: nothing may go on unwatched."""
        if not task.cancelled() and task.exception() is not None:
            self._defect = self._defect or task.exception()
            self._stop.set()

    async def _keep(self, watched: Watched) -> None:
        """Runs a program again and again until it is done, refused, failed or stopped."""
        program = watched.program
        failures = 0
        if program.problem:
            self._end(watched, policy.End("refused", program.problem))
            return
        while not self._stop.is_set():
            began = time.monotonic()
            code = await self._run_once(watched)
            if self._stop.is_set():
                break
            ran = time.monotonic() - began
            verdict = policy.after_exit(
                code, ends=program.ends, attempts=program.attempts, ran_seconds=ran, failures=failures
            )
            if isinstance(verdict, policy.End):
                self._end(watched, verdict)
                return
            failures = verdict.failures
            watched.restarts += 1
            detail = last_words(self._folder.log_of(program.name), watched.log_start)
            self._set(watched, "restarting", f"{verdict.reason}: {detail}" if detail else verdict.reason)
            self._log(program.name, "ended", f"{watched.message}; again in {verdict.delay_seconds:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), verdict.delay_seconds)
        self._set(watched, "stopped", "")

    async def _run_once(self, watched: Watched) -> int:
        with held_port() as port:
            return await self._run_on(watched, port)

    async def _run_on(self, watched: Watched, port: int) -> int:
        program = watched.program
        log = self._folder.log_of(program.name)
        child.rotate(log)
        watched.log_start = size(log)
        self._set(watched, "starting", "")
        if program.document is not None:
            self._folder.write_settings(program.name, program.document)
        try:
            watched.child = await child.start(
                program.command,
                {**program.environment(os.environ), "HTTP_PORT": str(port)},
                log,
                port,
                nice=JOB_NICENESS if program.job else 0,
            )
        except OSError as error:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("a") as file:
                file.write(f"{program.command[0]}: {error.strerror}; install it: uv sync --all-packages\n")
            return EX_CONFIG
        if self._stop.is_set():  # asked while it was being started, when there was nothing to stop yet
            await watched.child.stop(program.grace_seconds)
        self._write_state()
        readiness = asyncio.create_task(self._become_ready(watched, watched.child))
        try:
            return await watched.child.wait()
        finally:
            readiness.cancel()
            watched.child.kill()  # what it started and left behind
            watched.child = None

    async def _become_ready(self, watched: Watched, process: child.Child) -> None:
        """Asks a starting program until it is ready: the only polling at this pace."""
        deadline = time.monotonic() + START_SECONDS
        answered = False
        while True:
            answer = await ask(process.port, "/readyz", HEALTH_TIMEOUT_SECONDS)
            watched.info = answer.info
            if answer.ok:
                self._set(watched, "ready", "")
                self._log(watched.program.name, "ready", "")
                return
            if answer.problem and not answer.problem.startswith("no answer"):
                answered = True
                self._set(watched, "running", answer.problem)
            if not answered and time.monotonic() > deadline:
                self._log(watched.program.name, "restarted", f"has not answered for {START_SECONDS:g} s")
                await process.stop(watched.program.grace_seconds)
                return
            await asyncio.sleep(READY_POLL_SECONDS)

    # --- watching

    async def _watch_health(self) -> None:
        misses: dict[ProcessId, int] = {}
        while True:
            await asyncio.sleep(HEALTH_SECONDS)
            running = [
                (watched, watched.child)
                for watched in self.watched.values()
                if watched.child is not None and watched.state in ("ready", "running")
            ]
            answers = await asyncio.gather(
                *(ask(process.port, "/healthz", HEALTH_TIMEOUT_SECONDS) for _, process in running)
            )
            misses = {
                process.id: 0 if answer.ok else misses.get(process.id, 0) + 1
                for (_, process), answer in zip(running, answers, strict=True)
            }
            for (watched, process), answer in zip(running, answers, strict=True):
                child.rotate(self._folder.log_of(watched.program.name))
                if misses[process.id] >= HEALTH_FAILURES and watched.child is process:
                    self._log(watched.program.name, "restarted", f"is not healthy: {answer.problem}")
                    await process.stop(watched.program.grace_seconds)
            await self.refresh()

    async def refresh(self) -> None:
        """Asks every running program, at the same time, whether it is ready and what it has to tell."""
        running = [
            (watched, watched.child)
            for watched in self.watched.values()
            if watched.child is not None and watched.state in ("ready", "running")
        ]
        answers = await asyncio.gather(*(ask(process.port, "/readyz", 1.0) for _, process in running))
        for (watched, process), answer in zip(running, answers, strict=True):
            if watched.child is process and watched.state in ("ready", "running"):
                self._take(watched, answer)

    def _take(self, watched: Watched, answer: Answer) -> None:
        watched.info = answer.info or watched.info
        state = "ready" if answer.ok else "running"
        if state != watched.state and not watched.program.job:
            self._log(watched.program.name, "ready" if answer.ok else "not ready", answer.problem)
        if (state, answer.problem) != (watched.state, watched.message):
            self._set(watched, state, answer.problem)

    # --- ending

    def _end(self, watched: Watched, verdict: policy.End) -> None:
        program = watched.program
        reason = verdict.reason
        if verdict.state != "done" and not program.problem:
            reason = last_words(self._folder.log_of(program.name), watched.log_start) or reason
        self._set(watched, verdict.state, reason)
        self._log(program.name, verdict.state, reason)
        if program.optional or verdict.state == "done" or (program.job and verdict.state == "failed"):
            return  # the pipeline goes on; a job is tried again when it is next due
        self.exit_code = EX_CONFIG if verdict.state == "refused" else EX_FAILED
        self._stop.set()

    async def _stop_all(self) -> None:
        for group in stop_order([watched.program for watched in self.watched.values()]):
            await asyncio.gather(*(self._stop_one(self.watched[program.name]) for program in group))
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _stop_one(self, watched: Watched) -> None:
        process = watched.child
        if process is None:
            return
        self._set(watched, "stopping", "")
        if self._kill:
            process.kill()
            await process.wait()
        elif not await process.stop(watched.program.grace_seconds) and not self._kill:
            self._log(watched.program.name, "killed", f"has not stopped within {watched.program.grace_seconds:g} s")
            self.exit_code = self.exit_code or EX_FAILED
        self._set(watched, "stopped", "")

    # --- telling

    def _set(self, watched: Watched, state: str, message: str) -> None:
        changed = state != watched.state
        if changed:
            watched.since = time.time()
        watched.state, watched.message = state, message
        watched.settled.set()
        if changed:
            self._write_state()

    def _write_state(self, *, over: bool = False) -> None:
        state = {
            **self._about,
            "started": self.started,
            "supervisor": None if over else self._me.to_json(),
            "programs": {name: watched.to_json() for name, watched in self.watched.items()},
        }
        with contextlib.suppress(OSError):  # a full disk: the services say so; what runs is still watched
            self._folder.write_state(state)
