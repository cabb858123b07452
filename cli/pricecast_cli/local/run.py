"""`pricecast up`: a manifest as a running pipeline on this machine, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.live import Live

from pricecast_cli.local import screen, words
from pricecast_cli.local.child import kill_group, rotate
from pricecast_cli.local.drain import drained
from pricecast_cli.local.folder import ROOT, DataFolder
from pricecast_cli.local.logs import brief, tail
from pricecast_cli.local.ports import free_port
from pricecast_cli.local.programs import (
    TRAINING,
    LocalBackends,
    Program,
    api_program,
    broker_program,
    kafka_of,
    on_embedded_stores,
    programs_of,
    with_best_reader,
)
from pricecast_cli.local.replay import read_files, settled
from pricecast_cli.local.scores import Scores
from pricecast_cli.local.signals import on_signals
from pricecast_cli.local.snapshot import Row, Snapshot
from pricecast_cli.local.supervisor import Supervisor, Watched
from pricecast_cli.local.training_schedule import Training, WarmUp, keep_trained
from pricecast_core.errors import PricecastError, SettingsError, StoreError
from pricecast_core.services import TRADES
from pricecast_core.settings import PricePredictorSettings
from pricecast_core.stores.features import group_name, missing_history
from pricecast_core.stores.features_sql import SqlFeatureStore
from pricecast_core.stores.models_sql import SqlModelRegistry
from pricecast_core.stores.predictions_sql import SqlPredictionStore
from pricecast_resources.manifest import Manifest
from pricecast_resources.plan import Plan, ServiceProcess, plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage

BROKER_PORT, GRPC_PORT, HTTP_PORT = 19092, 50051, 8000
SCREEN_SECONDS = 1.0
LINE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a pipeline is run.

    Attributes:
        grpc_port: Port of gRPC, or the next free one.
        http_port: Port of HTTP, or the next free one.
        host: Address that the API listens on.
        screen: True for the live view, False for lines.
        exit_when_drained: End once a finite source has gone through, and a model was trained on it.
    """

    grpc_port: int = GRPC_PORT
    http_port: int = HTTP_PORT
    host: str = "127.0.0.1"
    screen: bool = False
    exit_when_drained: bool = False


@dataclass(slots=True)
class Setup:
    """A pipeline made ready to run.

    Attributes:
        plan: Its plan.
        folder: Its data.
        programs: What runs.
        kafka: The broker, and what lets one in.
        addresses: gRPC and HTTP addresses.
        notes: What a person should know: ports that were taken, and the like.
    """

    plan: Plan
    folder: DataFolder
    programs: list[Program]
    kafka: KafkaStorage
    addresses: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def set_up(manifest: Manifest, folder: DataFolder, options: Options) -> Setup:
    """Returns a pipeline made ready to run. The folder is locked by the caller.

    Raises:
        SettingsError: If the pipeline is suspended or its replay files can't be used.
    """
    if manifest.spec.suspend:
        raise SettingsError(f"{manifest.path}: spec.suspend: true: nothing is to run; remove it to start the pipeline")
    spec = settled(with_best_reader(on_embedded_stores(manifest.spec)))
    notes: list[str] = []
    kafka = kafka_of(manifest.spec.storage.kafka, os.environ)
    programs: list[Program] = []
    if kafka is None:
        port = free_port(BROKER_PORT)
        kafka = KafkaStorage(brokers=f"127.0.0.1:{port}")
        programs.append(broker_program(folder, port, spec.topics.partitions or 1))
    backends = LocalBackends(folder, kafka)
    planned = plan(manifest.name, spec, backends)
    grpc, http = free_port(options.grpc_port), free_port(options.http_port)
    for what, wanted, given in (("gRPC", options.grpc_port, grpc), ("HTTP", options.http_port, http)):
        if wanted and wanted != given:
            notes.append(f"port {wanted} is taken: {what} listens on {given}")
    programs += programs_of(planned, folder)
    programs.append(api_program(planned, folder, backends, grpc_port=grpc, http_port=http, host=options.host))
    addresses = {"grpc": f"{options.host}:{grpc}", "http": f"{options.host}:{http}"}
    return Setup(planned, folder, programs, kafka, addresses, notes)


def holdings(spec: PricePipelineSpec) -> dict[str, str | int]:
    """Returns what a folder's data are of: data of two markets, or of two candle lengths, must never mix."""
    source = spec.source
    market: str = source.kind
    if source.kind == "Simulated":
        market += f" (seed {source.simulated.seed}, from {source.simulated.start_price:g})"
    return {"source": market, "candles.seconds": spec.candles.seconds}


def check_holdings(folder: DataFolder, spec: PricePipelineSpec) -> None:
    """Checks that a folder's data are of this pipeline.

    Raises:
        SettingsError: If they are of another market or of other candles.
    """
    held = folder.read_state().get("holds", {})
    for name, value in holdings(spec).items():
        if held.get(name, value) != value:
            raise SettingsError(
                f"spec.{name}: {value}, but {_short(folder.path)} holds data of {held[name]}; "
                "name another --data-dir, or delete that folder"
            )


def end_strays(folder: DataFolder) -> list[str]:
    """Kills what a supervisor that is gone has left behind; returns the names."""
    strays = folder.strays()
    for process in strays.values():
        kill_group(process.pid)
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(list(strays.values()), timeout=10)
    return sorted(strays)


def up(manifest: Manifest, folder: DataFolder, options: Options, console: Console) -> int:
    """Runs a pipeline until it is stopped, drained or refused; returns the exit code.

    Raises:
        PricecastError: If it can't be started: the folder is in use, a setting is wrong.
    """
    folder.lock()
    try:
        strays = end_strays(folder)
        check_holdings(folder, manifest.spec)
        setup = set_up(manifest, folder, options)
        if strays:
            setup.notes.append(f"ended what a killed `pricecast up` left running: {', '.join(strays)}")
        return asyncio.run(_Run(manifest, setup, options, console).run())
    finally:
        folder.unlock()


class _Run:
    """One `pricecast up`: the supervisor, and beside it training, the view and the end of a finite source."""

    def __init__(self, manifest: Manifest, setup: Setup, options: Options, console: Console) -> None:
        self._manifest = manifest
        self._setup = setup
        self._options = options
        self._console = console
        self._events: deque[str] = deque(maxlen=20)
        self._log_file = setup.folder.log_of("supervisor")
        self._supervisor = Supervisor(
            setup.programs,
            setup.folder,
            about={
                "pipeline": manifest.name,
                "manifest": str(manifest.path),
                "addresses": setup.addresses,
                "kafka": setup.kafka.brokers,
                "kafka_protocol": setup.kafka.protocol,
                "kafka_mechanism": setup.kafka.mechanism,
                "holds": holdings(manifest.spec),
            },
            log=self._log,
        )
        self._scores = Scores(SqlPredictionStore(setup.folder.database("predictions")), manifest.name)
        self._memory: dict[int, psutil.Process] = {}
        self._drained, self._trained = asyncio.Event(), asyncio.Event()

    async def run(self) -> int:
        on_signals(self._on_signal, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        rotate(self._log_file)
        for note in self._setup.notes:
            self._log("pricecast", "note", note)
        await asyncio.to_thread(self._scores.store.ensure)
        beside = [asyncio.create_task(self._guard(work())) for work in self._beside()]
        try:
            code = await self._supervisor.run()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        await self._say_goodbye(code)
        self._scores.store.close()
        return code

    def _beside(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        work: list[Callable[[], Coroutine[Any, Any, None]]] = [self._screen if self._options.screen else self._lines]
        if TRAINING in self._supervisor.watched:
            work.append(self._train)
        if self._options.exit_when_drained:
            work.append(self._stop_when_drained)
        return work

    async def _guard(self, work: Awaitable[None]) -> None:
        """Reports what breaks beside the supervisor instead of losing it; the services go on."""
        try:
            await work
        except PricecastError as error:
            self._log("pricecast", "failed", str(error))

    async def _train(self) -> None:
        try:
            await self._supervisor.serving.wait()
            turn = asyncio.Lock()
            trainings = [process for process in self._setup.plan.processes if process.declared == TRAINING]
            await asyncio.gather(*(self._keep_trained(process, turn) for process in trainings))
        finally:
            self._trained.set()

    async def _keep_trained(self, process: ServiceProcess, turn: asyncio.Lock) -> None:
        assert isinstance(process.settings, PricePredictorSettings)
        url = self._setup.folder.database("models")
        training = Training(
            process.name,
            self._manifest.spec.training.schedule,
            WarmUp(process.settings, self._feature_rows),
            lambda: SqlModelRegistry(url),
        )
        await keep_trained(self._supervisor, training, self._log, drained=self._drained, turn=turn)

    async def _stop_when_drained(self) -> None:
        if await drained(self._supervisor, self._manifest.name, self._setup.kafka.reached(os.environ)):
            self._log("pricecast", "drained", "the source has ended and all of it has gone through")
            self._drained.set()
            if TRAINING in self._supervisor.watched:
                if missing := await asyncio.to_thread(self._missing_history):
                    self._log(TRAINING, "left out", f"{missing}; lower spec.training.minRows")
                else:
                    await self._trained.wait()
            self._supervisor.stop()

    def _missing_history(self) -> str | None:
        """Says which pair has too few feature rows to be trained on, which training would wait for; or None."""
        spec = self._manifest.spec
        with contextlib.closing(SqlFeatureStore(self._setup.folder.database("features"))) as store:
            group = group_name(self._manifest.name, "technical_indicators")
            return missing_history(store, group, spec.pairs, spec.training.min_rows)

    def _feature_rows(self, pair: str) -> int:
        """Returns how many feature rows a pair has."""
        with contextlib.closing(SqlFeatureStore(self._setup.folder.database("features"))) as store:
            return store.count(group_name(self._manifest.name, "technical_indicators"), pair)

    async def _screen(self) -> None:
        with Live(console=self._console, screen=True, auto_refresh=False, transient=True) as live:
            while True:
                await self._supervisor.refresh()
                live.update(screen.render(await self._snapshot()), refresh=True)
                await asyncio.sleep(SCREEN_SECONDS)

    async def _lines(self) -> None:
        while True:
            await asyncio.sleep(LINE_SECONDS)
            await self._supervisor.refresh()
            self._console.print(words.line(await self._snapshot()), highlight=False, markup=False, soft_wrap=True)

    async def _snapshot(self) -> Snapshot:
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(self._scores.refresh)
        spec = self._manifest.spec
        return Snapshot(
            pipeline=self._manifest.name,
            market={"Replay": "a replay", "Simulated": "simulated trades"}.get(
                spec.source.kind, f"trades of {spec.source.kind}"
            ),
            simulated=spec.source.kind == "Simulated",
            started=self._supervisor.started,
            now=time.time(),
            rows=[
                Row(
                    name=name,
                    state=watched.state,
                    since=watched.since,
                    restarts=watched.restarts,
                    message=self._message(watched),
                    info=watched.info,
                    job=watched.program.job,
                    memory_bytes=self._memory_of(watched.child.id.pid) if watched.child is not None else 0,
                )
                for name, watched in self._supervisor.watched.items()
            ],
            predictions=[(prediction, self._scores.score(prediction)) for prediction in self._scores.latest],
            addresses=self._setup.addresses,
            pair=spec.pairs[0],
            pairs=len(spec.pairs),
            command=_predict_command(self._setup.folder, self._manifest.name),
            events=list(self._events),
        )

    def _message(self, watched: Watched) -> str:
        """Returns what is wrong with a program; of a job at work, the last line of its log."""
        if watched.program.job and watched.child is not None:
            log = self._setup.folder.log_of(watched.program.name)
            return next((brief(line) for line in tail(log, 1, watched.log_start)), "")
        return watched.message

    def _memory_of(self, pid: int) -> int:
        try:
            process = self._memory.setdefault(pid, psutil.Process(pid))
            return int(process.memory_info().rss)
        except psutil.Error:
            self._memory.pop(pid, None)
            return 0

    async def _say_goodbye(self, code: int) -> None:
        refused = [w for w in self._supervisor.watched.values() if w.state == "refused" and not w.program.optional]
        for watched in refused:
            self._console.print(
                f"{watched.program.name}: {watched.message}", style="bold red", highlight=False, markup=False
            )
        trades = self._supervisor.watched.get(TRADES.name)
        if trades is not None and (read := read_files(self._setup.folder.log_of(TRADES.name), trades.log_start)):
            self._console.print(f"replay: {read}", highlight=False, markup=False, soft_wrap=True)
        for text in words.summary(await self._snapshot()):
            self._console.print(text, highlight=False, markup=False)
        if not code:
            kept = _short(self._setup.folder.path)
            self._console.print(
                f"stopped; everything is kept in {kept}: the next `pricecast up` goes on from there",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    def _on_signal(self, number: int) -> None:
        if not self._supervisor.stopping:
            self._log("pricecast", "stopping", f"{signal.Signals(number).name}; once more ends it at once")
        self._supervisor.stop()

    def _log(self, program: str, event: str, detail: str) -> None:
        text = f"{words.clock(time.time())} {program} {event}" + (f": {detail}" if detail else "")
        self._events.append(text)
        with contextlib.suppress(OSError), self._log_file.open("a") as file:
            file.write(text + "\n")
        if not self._options.screen:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _predict_command(folder: DataFolder, pipeline: str) -> str:
    """Returns how a person in the same working directory asks this pipeline."""
    program = "pricecast" if shutil.which("pricecast") else _short(Path(sys.argv[0]).absolute())
    where = "" if folder.path == (ROOT / pipeline).absolute() else f" --data-dir {_short(folder.path)}"
    return f"{program} predict{where}"


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def is_terminal() -> bool:
    """Returns whether a person is looking."""
    return sys.stdout.isatty()
