"""`pricecast up`, `down`, `status`, `logs`, `validate`: a pipeline on this machine."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pricecast_cli.commands.options import DataDirOption, ManifestArgument, PipelineOption, find_folder, folder_of
from pricecast_cli.local.folder import DataFolder
from pricecast_core.errors import PricecastError, SettingsError
from pricecast_core.service import EX_FAILED

_DETACH_SECONDS = 180.0
_DOWN_SECONDS = 180.0
_LOOK_SECONDS = 0.2


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (up, down, status, logs, validate):
        app.command()(command)


def up(
    manifest: ManifestArgument,
    data_dir: DataDirOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it serves, and leave it running.")
    ] = False,
    replay: Annotated[
        list[Path] | None,
        typer.Option(
            help="Kraken CSV of trades or of OHLCVT bars, read instead of the source; repeat it: one for each pair "
            "in their order, companions last.",
        ),
    ] = None,
    speed: Annotated[float, typer.Option(min=0, help="Replay at so many times real time; 0: as fast as it goes.")] = 0,
    exit_when_drained: Annotated[
        bool, typer.Option("--exit-when-drained", help="End once a finite source has gone all the way through.")
    ] = False,
    view: Annotated[
        bool, typer.Option("--view/--no-view", help="Live view, where standard output is a terminal.")
    ] = True,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of gRPC, or the next free one.")] = 50051,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of HTTP, or the next free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address that the prediction API listens on.")] = "127.0.0.1",
) -> None:
    """Runs a pipeline on this machine: every service as a process, on embedded stores.

    Variables that you export reach the services; KAFKA_BROKERS uses that Kafka instead of the embedded broker.
    """
    from dataclasses import replace

    from pricecast_cli.local.replay import replaying
    from pricecast_cli.local.run import Options, is_terminal
    from pricecast_cli.local.run import up as run_up
    from pricecast_resources.manifest import load_manifest

    loaded = load_manifest(manifest)
    if replay:
        loaded = replace(loaded, spec=replaying(loaded.spec, replay, speed))
    elif speed:
        raise SettingsError("--speed: is for --replay FILE; leave it out")
    if exit_when_drained and loaded.spec.source.kind != "Replay" and loaded.spec.source.mode != "Historical":
        raise SettingsError("--exit-when-drained: the source never ends; use it with --replay or mode: Historical")
    folder = folder_of(f"{loaded.name}-replay" if replay else loaded.name, data_dir)
    if detach:
        _up_detached(folder)
        return
    options = Options(
        grpc_port=grpc_port,
        http_port=http_port,
        host=host,
        screen=view and is_terminal(),
        exit_when_drained=exit_when_drained,
    )
    raise typer.Exit(run_up(loaded, folder, options, Console()))


def _up_detached(folder: DataFolder) -> None:
    """Starts the same command once more in the background and waits until the API answers."""
    if folder.supervisor() is not None:
        folder.lock()  # says who holds it
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--detach", "-d")]
    log = folder.log_of("supervisor")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pricecast_cli", *arguments, "--no-view"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + _DETACH_SECONDS
    while time.monotonic() < deadline:
        state = folder.read_state()
        ours = (state.get("supervisor") or {}).get("pid") == process.pid
        if ours and state["programs"].get("prediction-api", {}).get("state") == "ready":
            addresses = state["addresses"]
            typer.echo(f"up: gRPC {addresses['grpc']}, HTTP http://{addresses['http']}; stop it with `pricecast down`")
            return
        if process.poll() is not None:
            tail = "\n".join(log.read_text().splitlines()[-5:])
            raise PricecastError(f"ended at once with code {process.returncode}:\n{tail}")
        time.sleep(_LOOK_SECONDS)
    raise PricecastError(
        f"not ready within {_DETACH_SECONDS:g} s; see `pricecast status` and `pricecast logs supervisor`"
    )


def down(data_dir: DataDirOption = None, pipeline: PipelineOption = "") -> None:
    """Stops a pipeline in order; what it has stored is kept."""
    from pricecast_cli.local.run import end_strays

    folder = find_folder(data_dir, pipeline)
    supervisor = folder.supervisor()
    if supervisor is None:
        ended = end_strays(folder)
        typer.echo(f"ended what was left running: {', '.join(ended)}" if ended else "nothing was running")
        return
    supervisor.terminate()
    deadline = time.monotonic() + _DOWN_SECONDS
    while folder.supervisor() is not None:  # not `wait`, which also waits for whoever started it to take note
        if time.monotonic() > deadline:
            raise PricecastError(f"process {supervisor.pid} has not stopped within {_DOWN_SECONDS:g} s")
        time.sleep(_LOOK_SECONDS / 2)
    typer.echo("stopped; everything is kept")


def status(data_dir: DataDirOption = None, pipeline: PipelineOption = "") -> None:
    """Shows what runs, and whether it is ready. Exit code 0 if all that is needed is, 1 if not."""
    import asyncio

    from pricecast_cli.local.probe import Answer, ask
    from pricecast_cli.local.words import duration

    folder = find_folder(data_dir, pipeline)
    state = folder.read_state()
    running = folder.supervisor() is not None
    programs = state.get("programs", {})

    async def ask_all() -> list[Answer | None]:
        async def one(entry: dict[str, int]) -> Answer | None:
            return await ask(entry["port"], "/readyz", 2.0) if entry.get("port") else None

        return await asyncio.gather(*(one(entry) for entry in programs.values()))

    answers = asyncio.run(ask_all()) if running else [None] * len(programs)
    console = Console()
    heading = "up" if running else "down"
    console.print(f"{state.get('pipeline', folder.path.name)}: {heading}, {folder.path}", highlight=False)
    if running:
        addresses = state.get("addresses", {})
        console.print(f"gRPC {addresses.get('grpc')}, HTTP http://{addresses.get('http')}", highlight=False)
    table = Table(box=None, header_style="dim")
    for column in ("service", "state", "for", "restarts", "pid"):
        table.add_column(column, no_wrap=True)
    table.add_column("", no_wrap=True, overflow="ellipsis")
    all_ready = running
    for (name, entry), answer in zip(programs.items(), answers, strict=True):
        shown = entry["state"] if running else "stopped"
        problem = entry["message"]
        if answer is not None and shown != "starting":
            shown, problem = ("ready", "") if answer.ok else ("not ready", answer.problem)
        all_ready &= shown in ("ready", "done", "idle")
        process = entry.get("process") or {}
        age = duration(time.time() - entry["since"])
        table.add_row(name, shown, age, str(entry["restarts"]), str(process.get("pid", "")) if running else "", problem)
    console.print(table)
    raise typer.Exit(0 if all_ready else EX_FAILED)


def logs(
    service: Annotated[str, typer.Argument(help="Name of a service; without one, the names are listed.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines to begin with.")] = 50,
    raw: Annotated[bool, typer.Option(help="The lines as they are, JSON.")] = False,
    data_dir: DataDirOption = None,
    pipeline: PipelineOption = "",
) -> None:
    """Shows a service's log."""
    from pricecast_cli.local import logs as log_files

    folder = find_folder(data_dir, pipeline)
    names = folder.logs()
    if not service:
        typer.echo("\n".join(names))
        return
    if service not in names:
        raise SettingsError(f"service: {service!r} has no log; there are {', '.join(names)}")
    shape = (lambda text: text) if raw else log_files.readable
    log = folder.log_of(service)
    coming = log_files.follow(log) if follow else ()
    for line in log_files.tail(log, lines):
        typer.echo(shape(line))
    for new in coming:
        if new is not None:
            typer.echo(shape(new))
        else:
            time.sleep(_LOOK_SECONDS)


def validate(manifest: ManifestArgument) -> None:
    """Checks a manifest as a cluster would, and shows the processes that its pipelines mean."""
    from pricecast_cli.local.programs import LocalBackends
    from pricecast_resources.manifest import load_resources
    from pricecast_resources.plan import plan
    from pricecast_resources.pricepipeline import PricePipelineSpec

    for resource in load_resources(manifest):
        typer.echo(f"{manifest}: {resource.name} is valid")
        if not isinstance(resource.spec, PricePipelineSpec):
            continue
        backends = LocalBackends(folder_of(resource.name, None), resource.spec.storage.kafka)
        for process in plan(resource.name, resource.spec, backends).processes:
            how = process.schedule if process.kind == "schedule" else process.kind
            typer.echo(f"  {process.name:24} {' '.join(process.service.command):38} {how}")
