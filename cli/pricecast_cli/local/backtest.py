"""`pricecast backtest`: the pipeline's own services over files, then the predictor's judgement of the later ones.

Features come out of the very processes that make them live; only the source is a replay. The services run on stores
of their own, in a folder of their own, and end before the model is trained.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
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
)
from pricecast_cli.local.replay import replaying
from pricecast_cli.local.supervisor import Supervisor
from pricecast_core import topics
from pricecast_core.errors import BadMessageError, PricecastError, SettingsError
from pricecast_core.messages import FeatureRowStored, decode
from pricecast_resources.manifest import Manifest
from pricecast_resources.plan import Plan, plan
from pricecast_resources.pricepipeline import PricePipelineSpec

INGEST = ("trades", "candles", "technical-indicators", "to-feature-store")
"""The services that make features: all that runs before the model is trained."""
REQUIRED = ("distribution_skill", "point_skill", "coverage", "mae", "naive_mae", "rows")
"""What the JSON line says at least."""
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Span:
    """The time that files cover, Unix milliseconds.

    Attributes:
        first_ms: First timestamp.
        last_ms: Last timestamp.
    """

    first_ms: int
    last_ms: int


def backtest(
    manifest: Manifest,
    train: Sequence[Path],
    evaluate: Sequence[Path],
    *,
    data_dir: Path | None,
    as_json: bool,
    plots: Path | None,
    console: Console,
) -> int:
    """Trains on one set of files and measures on a later one; returns the exit code of the predictor.

    Args:
        manifest: The pipeline; its source is replaced, its news left out.
        train: One file for each pair, companions last.
        evaluate: As many, later.
        data_dir: Folder for stores and logs, new; a temporary one by default.
        as_json: Print one line of JSON to standard output.
        plots: Folder for the pages with plots; none writes none.
        console: For progress; standard error.

    Raises:
        PricecastError: If the files can't be used or a service fails.
    """
    if len(train) != len(evaluate):
        raise SettingsError(f"--evaluate: {len(evaluate)} files, but {len(train)} to train on; give as many")
    with contextlib.ExitStack() as stack:
        path = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pricecast-backtest-")))
        folder = DataFolder(path)
        if folder.broker.exists():
            raise SettingsError(f"--data-dir: {path} holds an earlier run; name a new folder")
        folder.lock()
        stack.callback(folder.unlock)
        later = [later_rows(last.last_ms, file, path) for last, file in zip(map(span, train), evaluate, strict=True)]
        spans = [span(file) for file in later]
        spec = replaying(on_embedded_stores(manifest.spec), [*train, *later])
        spec = spec.model_copy(update={"news": None})
        whole = Span(min(span(file).first_ms for file in train), max(s.last_ms for s in spans))
        planned = asyncio.run(_ingest(manifest.name, spec, folder, whole, console))
        return _judge(planned, folder, min(s.first_ms for s in spans), as_json=as_json, plots=plots)


def span(file: Path) -> Span:
    """Returns the time that a file covers.

    Raises:
        SettingsError: If its first or last row has no timestamp.
    """
    with file.open(newline="") as lines:
        first = next((row for row in csv.reader(lines) if row and _is_number(row[0])), None)
    columns = len(first or ())
    last = next(
        (row for row in csv.reader(reversed(tail(file, 5))) if len(row) == columns and _is_number(row[0])), None
    )
    if first is None or last is None:  # a last line that was cut off doesn't count
        raise SettingsError(f"{file}: has no timestamp, Unix seconds, in the first column; give a Kraken CSV file")
    return Span(int(float(first[0]) * 1000), int(float(last[0]) * 1000))


def _is_number(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def later_rows(last_ms: int, file: Path, folder: Path) -> Path:
    """Returns the file, or a copy of its rows after `last_ms` where it begins before: no row is learned and judged.

    Args:
        last_ms: The last timestamp of the file to train on.
        file: The file to measure on.
        folder: Where a copy is put.

    Raises:
        SettingsError: If it has no later row.
    """
    found = span(file)
    if found.first_ms > last_ms:
        return file
    if found.last_ms <= last_ms:
        raise SettingsError(f"--evaluate: {file} ends before the training file does; give a later one")
    trimmed = folder / f"later-{file.name}"
    with file.open(newline="") as lines, trimmed.open("w", newline="") as kept:
        rows = (row for row in csv.reader(lines) if row and _is_number(row[0]))
        csv.writer(kept).writerows(row for row in rows if float(row[0]) * 1000 > last_ms)
    return trimmed


async def _ingest(name: str, spec: PricePipelineSpec, folder: DataFolder, whole: Span, console: Console) -> Plan:
    """Runs the services over the files until all features are stored."""
    port = free_port()
    brokers = f"127.0.0.1:{port}"
    planned = plan(name, spec, LocalBackends(folder, brokers))
    programs = [replace(p, attempts=_ATTEMPTS) for p in programs_of(planned, folder) if p.name in INGEST]
    supervisor = Supervisor([broker_program(folder, port, partitions=1), *programs], folder)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    through = False

    async def wait() -> None:
        nonlocal through
        through = await drained(supervisor, name, brokers)
        supervisor.stop()

    with _progress(console, whole) as report:
        waiting = asyncio.create_task(wait())
        watching = asyncio.create_task(_watch_features(brokers, topics.topic_name(name, topics.FEATURES), report))
        code = await supervisor.run()
        for task in (waiting, watching):
            task.cancel()
        await asyncio.gather(waiting, watching, return_exceptions=True)
    broken = [w for w in supervisor.watched.values() if w.state in ("refused", "failed")]
    if broken:
        last = "\n".join(readable(line) for line in tail(folder.log_of(broken[0].program.name), 10))
        raise PricecastError(f"{broken[0].program.name}: {broken[0].message}\n{last}")
    if not through or code:
        raise PricecastError("stopped before all features were stored")
    return planned


@contextlib.contextmanager
def _progress(console: Console, whole: Span) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("computing features", total=max(1, whole.last_ms - whole.first_ms))
        yield lambda event_time_ms: progress.update(task, completed=event_time_ms - whole.first_ms)


async def _watch_features(brokers: str, topic: str, report: Callable[[int], None]) -> None:
    """Reports the event time of the rows stored, as they are."""
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": "pricecast-backtest", "enable.auto.commit": False, **QUIET}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        while True:
            messages = await asyncio.to_thread(consumer.consume, 5_000, 0.5)
            values = [message.value() for message in messages if message.error() is None]
            if values and values[-1]:
                with contextlib.suppress(BadMessageError):
                    report(decode(FeatureRowStored, values[-1]).event_time_ms)
    finally:
        consumer.close()


def _judge(planned: Plan, folder: DataFolder, from_ms: int, *, as_json: bool, plots: Path | None) -> int:
    """Has the predictor train on the rows before a time and measure from there on."""
    program = next(program for program in programs_of(planned, folder) if program.name == TRAINING)
    folder.write_settings(program.name, program.document or {})
    env = {"LOG_LEVEL": "WARNING", "LOG_STYLE": "text", **program.environment(os.environ), "HTTP_PORT": "0"}
    command = [program.command[0], "backtest", "--evaluate-from-ms", str(from_ms)]
    if plots is not None:
        command += ["--plots", str(plots)]
    if not as_json:
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
