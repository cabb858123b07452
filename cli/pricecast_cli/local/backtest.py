"""`pricecast backtest`: the pipeline's own services over files, then the predictor's judgement of the later ones.

Features come out of the very processes that make them live; only the source is a replay. The services run on stores
of their own, in a folder of their own, and end before the model is trained.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from confluent_kafka import TopicPartition
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pricecast_cli.local.drain import QUIET, drained
from pricecast_cli.local.folder import DataFolder
from pricecast_cli.local.logs import readable, tail
from pricecast_cli.local.ports import free_port
from pricecast_cli.local.programs import (
    TRAINING,
    LocalBackends,
    broker_program,
    on_embedded_stores,
    programs_of,
    with_best_reader,
)
from pricecast_cli.local.replay import read_files, replaying
from pricecast_cli.local.supervisor import Supervisor
from pricecast_cli.local.threads import in_thread
from pricecast_core import services, topics
from pricecast_core.errors import BadMessageError, PricecastError, SettingsError
from pricecast_core.files import MarketFile, survey
from pricecast_core.messages import FeatureRowStored, decode
from pricecast_core.services import TRADES
from pricecast_core.streaming.positions import reader
from pricecast_resources.manifest import Manifest
from pricecast_resources.news import ArchiveNews, News
from pricecast_resources.plan import PAIRS_EACH, Plan, plan
from pricecast_resources.pricepipeline import PricePipelineSpec
from pricecast_resources.storage import KafkaStorage

INGEST = tuple(service.name for service in (*services.upstream(topics.FEATURES), *services.news_path()))
"""The services that make features: all that runs before the model is trained."""
REQUIRED = ("distribution_skill", "point_skill", "coverage", "mae", "naive_mae", "rows")
"""What the JSON line says at least."""
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Output:
    """What a backtest writes.

    Attributes:
        as_json: One line of JSON to standard output, instead of tables.
        plots: Folder for the pages with plots; none writes none.
        forecasts: File for the forecasts row by row, CSV or Parquet; none writes none.
    """

    as_json: bool = False
    plots: Path | None = None
    forecasts: Path | None = None


def backtest(
    manifest: Manifest,
    train: Sequence[Path],
    evaluate: Sequence[Path],
    *,
    news: Path | None,
    data_dir: Path | None,
    output: Output,
    console: Console,
) -> int:
    """Trains on one set of files and measures on a later one; returns the exit code of the predictor.

    Args:
        manifest: The pipeline; its source is replaced, and so are those of its news.
        train: One file for each pair, companions last.
        evaluate: As many, later.
        news: Archive of headlines, in which case skill is measured with and without them; none leaves news out.
        data_dir: Folder for stores and logs, new; a temporary one by default.
        output: What it writes.
        console: For progress; standard error.

    Raises:
        PricecastError: If the files can't be used or a service fails.
    """
    if len(train) != len(evaluate):
        raise SettingsError(f"--evaluate: {len(evaluate)} files, but {len(train)} to train on; give as many")
    spec = replaying(on_embedded_stores(manifest.spec), [*train, *evaluate])
    spec = with_archive(spec, news)
    learned, judged = [survey(file) for file in train], [survey(file) for file in evaluate]
    from_ms = first_judged_ms(learned, judged)
    with contextlib.ExitStack() as stack:
        path = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pricecast-backtest-")))
        folder = DataFolder(path)
        if folder.broker.exists():
            raise SettingsError(f"--data-dir: {path} holds an earlier run; name a new folder")
        folder.lock()
        stack.callback(folder.unlock)
        whole = range(min(file.first_ms for file in learned), max(file.last_ms for file in judged))
        planned = asyncio.run(_ingest(manifest.name, spec, folder, whole, console))
        if read := read_files(folder.log_of(TRADES.name)):
            console.print(f"files: {read}", highlight=False, soft_wrap=True)
        return _judge(planned, folder, from_ms, output)


def with_archive(spec: PricePipelineSpec, archive: Path | None) -> PricePipelineSpec:
    """Returns the spec whose news comes from an archive alone, read as the manifest says; without one it has no news."""
    if archive is None:
        return spec.model_copy(update={"news": None})
    if not archive.is_file():
        raise SettingsError(f"--news: {archive} is no file; give an archive of headlines (.csv, .jsonl, .zip or .rar)")
    news = News(archive=ArchiveNews(location=str(archive.absolute())))
    if spec.news is not None:
        news = news.model_copy(update={"signals": spec.news.signals, "coins": spec.news.coins})
    return with_best_reader(spec.model_copy(update={"news": news}))


def first_judged_ms(learned: Sequence[MarketFile], judged: Sequence[MarketFile]) -> int:
    """Returns the time from which on rows are judged: no row of a file to train on is, where files overlap.

    Args:
        learned: The files to train on.
        judged: The files to measure on, in the same order of pairs.

    Raises:
        SettingsError: If a file to measure on has no later row.
    """
    for early, late in zip(learned, judged, strict=True):
        if late.last_ms <= early.last_ms:
            raise SettingsError(
                f"--evaluate: {late.path} ends before the training file {early.path} does; give a later one"
            )
    ends = [file.last_ms + max(1, file.spacing_ms) for file in learned]
    return max(*ends, min(file.first_ms for file in judged))


async def _ingest(name: str, spec: PricePipelineSpec, folder: DataFolder, whole: range, console: Console) -> Plan:
    """Runs the services over the files until all features are stored.

    Raises:
        SettingsError: If there are more pairs than one training takes.
    """
    if len(spec.pairs) > PAIRS_EACH:
        raise SettingsError(f"spec.pairs: are {len(spec.pairs)}; a backtest takes {PAIRS_EACH} at a time")
    port = free_port()
    brokers = f"127.0.0.1:{port}"
    planned = plan(name, spec, LocalBackends(folder, KafkaStorage(brokers=brokers)))
    programs = [replace(p, attempts=_ATTEMPTS) for p in programs_of(planned, folder) if p.name in INGEST]
    supervisor = Supervisor([broker_program(folder, port, partitions=1), *programs], folder)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    through = False

    async def wait() -> None:
        nonlocal through
        through = await drained(supervisor, name, brokers)
        if through and spec.news is not None:
            through = await drained(supervisor, name, brokers, services.news_path())
        supervisor.stop()

    with _progress(console, whole) as report:
        waiting = asyncio.create_task(wait())
        watching = asyncio.create_task(_watch_features(brokers, topics.topic_name(name, topics.FEATURES), report))
        code = await supervisor.run()
        for task in (waiting, watching):
            task.cancel()
        await asyncio.gather(waiting, watching, return_exceptions=True)
    broken = [w for w in supervisor.watched.values() if w.state in ("refused", "failed")]
    if broken and broken[0].state == "refused":
        raise SettingsError(f"{broken[0].program.name}: {broken[0].message}")
    if broken:
        last = "\n".join(readable(line) for line in tail(folder.log_of(broken[0].program.name), 10))
        raise PricecastError(f"{broken[0].program.name}: {broken[0].message}\n{last}")
    if not through or code:
        raise PricecastError("stopped before all features were stored")
    return planned


@contextlib.contextmanager
def _progress(console: Console, whole: range) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("computing features", total=max(1, whole.stop - whole.start))
        yield lambda event_time_ms: progress.update(task, completed=event_time_ms - whole.start)


async def _watch_features(brokers: str, topic: str, report: Callable[[int], None]) -> None:
    """Reports the event time of the rows stored, as they are, until cancelled."""
    loop = asyncio.get_running_loop()
    await in_thread(
        lambda ended: _follow_features(brokers, topic, ended, lambda ms: loop.call_soon_threadsafe(report, ms))
    )


def _follow_features(brokers: str, topic: str, ended: threading.Event, report: Callable[[int], object]) -> None:
    """Follows the markers of stored rows until `ended`."""
    consumer = reader(brokers, "pricecast-backtest", **QUIET)
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        while not ended.is_set():
            messages = consumer.consume(5_000, 0.5)
            values = [message.value() for message in messages if message.error() is None]
            if values and values[-1]:
                with contextlib.suppress(BadMessageError):
                    report(decode(FeatureRowStored, values[-1]).event_time_ms)
    finally:
        consumer.close()


def _judge(planned: Plan, folder: DataFolder, from_ms: int, output: Output) -> int:
    """Has the predictor train on the rows before a time and measure from there on."""
    program = next(program for program in programs_of(planned, folder) if program.name == TRAINING)
    folder.write_settings(program.name, program.document or {})
    env = {"LOG_LEVEL": "WARNING", "LOG_STYLE": "text", **program.environment(os.environ), "HTTP_PORT": "0"}
    command = [program.command[0], "backtest", "--evaluate-from-ms", str(from_ms)]
    if output.plots is not None:
        command += ["--plots", str(output.plots)]
    if output.forecasts is not None:
        command += ["--out", str(output.forecasts.absolute())]
    if not output.as_json:
        return subprocess.run(command, env=env, check=False).returncode
    done = subprocess.run([*command, "--json"], env=env, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return done.returncode
    print(json.dumps(result_of(done.stdout)))  # noqa: T201 - the command's one line of output
    return 0


def result_of(output: str) -> dict[str, object]:
    """Returns the result in the predictor's output: its last line that is a JSON object.

    Raises:
        PricecastError: If there is none, or it lacks something.
    """
    for line in reversed(output.splitlines()):
        with contextlib.suppress(json.JSONDecodeError):
            result = json.loads(line)
            if isinstance(result, dict):
                if missing := [key for key in REQUIRED if key not in result]:
                    raise PricecastError(f"backtest: the predictor's result lacks {', '.join(missing)}")
                return result
    raise PricecastError("backtest: the predictor printed no result")
