"""`pricecast topics` and `pricecast deadletters`: what is on a pipeline's topics, and what could not be used."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pricecast_cli.commands.options import DataDirOption, PipelineOption, find_folder
from pricecast_core.errors import SettingsError
from pricecast_resources.manifest import load_manifest

if TYPE_CHECKING:
    from pricecast_core.kafka import Brokers
    from pricecast_core.streaming.letters import Letter

BrokersOption = Annotated[
    str, typer.Option("--brokers", help="Kafka's bootstrap servers, of a cluster for instance; then name --pipeline.")
]
KafkaOfOption = Annotated[
    Path | None,
    typer.Option(
        "--manifest",
        help="The Kafka that this manifest names, as it says; then name --pipeline. Credentials come from the variables "
        "that services read, such as KAFKA_PASSWORD.",
    ),
]
ServiceOption = Annotated[str, typer.Option(help="Only letters of this service.")]
ReasonOption = Annotated[str, typer.Option(help="Only letters with this reason, such as malformed or late.")]
PlacesArgument = Annotated[list[str] | None, typer.Argument(help="Letters by their places, such as 0-17.")]
deadletters = typer.Typer(help="Look at messages that could not be used, and replay them.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(topics)
    app.add_typer(deadletters, name="deadletters")


def topics(
    data_dir: DataDirOption = None,
    pipeline: PipelineOption = "",
    brokers: BrokersOption = "",
    manifest: KafkaOfOption = None,
) -> None:
    """Lists the topics of a pipeline: how much is on them, who writes and reads them."""
    from pricecast_core import services
    from pricecast_core import topics as specs
    from pricecast_core.streaming.positions import sizes

    with _connected(data_dir, pipeline, brokers, manifest) as (address, name):
        held = sizes(address, [specs.topic_name(name, spec) for spec in specs.ALL])
    table = Table(box=None, header_style="dim")
    for column in ("topic", "partitions", "offsets", "kept", "flow"):
        table.add_column(column, justify="right" if column in ("partitions", "offsets") else "left", overflow="fold")
    for spec in specs.ALL:
        size = held.get(specs.topic_name(name, spec))
        days = "for ever" if spec.retention_ms < 0 else f"{spec.retention_ms // specs.DAY_MS} days"
        partitions, offsets = ("-", "-") if size is None else (str(size.partitions), f"{size.offsets:,}")
        table.add_row(specs.topic_name(name, spec), partitions, offsets, days, services.flow(spec))
    Console().print(table)


@deadletters.command("list")
def list_letters(
    service: ServiceOption = "",
    reason: ReasonOption = "",
    limit: Annotated[int, typer.Option(min=0, help="So many of the newest.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each letter.")] = False,
    data_dir: DataDirOption = None,
    pipeline: PipelineOption = "",
    brokers: BrokersOption = "",
    manifest: KafkaOfOption = None,
) -> None:
    """Counts dead letters by service and reason, and lists the newest."""
    counts: dict[tuple[str, str], int] = {}
    newest: deque[Letter] = deque(maxlen=limit)
    with _connected(data_dir, pipeline, brokers, manifest) as (address, name):
        for letter in _chosen(address, name, service, reason):
            kind = letter.content.service, letter.content.reason
            counts[kind] = counts.get(kind, 0) + 1
            newest.append(letter)
    if as_json:
        for letter in newest:
            typer.echo(json.dumps(_as_dict(letter)))
        return
    for (of, why), count in sorted(counts.items(), key=lambda item: -item[1]):
        typer.echo(f"{count:>8,}  {of}: {why}")
    typer.echo("" if counts else "no dead letters")
    for letter in newest:
        content = letter.content
        typer.echo(f"{letter.place:>8}  {_time(letter)}  {content.service}: {content.error}  [{_origin(letter)}]")


@deadletters.command("show")
def show(
    places: PlacesArgument = None,
    data_dir: DataDirOption = None,
    pipeline: PipelineOption = "",
    brokers: BrokersOption = "",
    manifest: KafkaOfOption = None,
) -> None:
    """Shows letters whole: where they came from, why they were refused, what was in them."""
    if not places:
        raise SettingsError("place: is missing; name a letter by its place, as `pricecast deadletters list` shows it")
    with _connected(data_dir, pipeline, brokers, manifest) as (address, name):
        found = _by_place(address, name, places)
    for letter in found:
        typer.echo(json.dumps(_as_dict(letter), indent=2))


@deadletters.command("replay")
def replay(
    places: PlacesArgument = None,
    service: ServiceOption = "",
    reason: ReasonOption = "",
    every: Annotated[bool, typer.Option("--all", help="All that the other options leave.")] = False,
    data_dir: DataDirOption = None,
    pipeline: PipelineOption = "",
    brokers: BrokersOption = "",
    manifest: KafkaOfOption = None,
) -> None:
    """Writes letters once more to the topics that they came from, each once however often this is asked.

    For after the cause was mended: a reader that was too old, a message that a newer version takes.
    """
    from pricecast_core.streaming.letters import replay as replay_letters

    if not (places or service or reason or every):
        raise SettingsError("place: is missing; name letters by their places, by --service or --reason, or give --all")
    with _connected(data_dir, pipeline, brokers, manifest) as (address, name):
        chosen = _by_place(address, name, places) if places else list(_chosen(address, name, service, reason))
        result = replay_letters(address, name, chosen)
    for letter, why in result.impossible:
        typer.echo(f"{letter.place}: can't be replayed: {why}", err=True)
    typer.echo(
        f"{len(result.written):,} replayed, {len(result.before):,} were before, {len(result.impossible):,} can't be"
    )


@contextlib.contextmanager
def _connected(
    data_dir: Path | None, pipeline: str, brokers: str, manifest: Path | None
) -> Iterator[tuple[Brokers, str]]:
    """Gives the brokers and the name of the pipeline that are meant; what lets one in is in the services' variables."""
    from pricecast_cli.local.broker import brokers_of
    from pricecast_core.settings import StreamSettings, load

    if manifest is not None or brokers:
        if not pipeline:
            raise SettingsError("--pipeline: is missing; name the pipeline, in a cluster as NAMESPACE.NAME")
        named = {} if manifest is None else load_manifest(manifest).spec.storage.kafka.settings
        given = {**named, **({"kafka_brokers": brokers} if brokers else {})}
        yield load(StreamSettings, os.environ, pipeline=pipeline, **given).kafka, pipeline
        return
    folder = find_folder(data_dir, pipeline)
    with brokers_of(folder) as address:
        yield address, str(folder.read_state().get("pipeline", folder.path.name))


def _chosen(brokers: Brokers, pipeline: str, service: str, reason: str) -> Iterator[Letter]:
    from pricecast_core.streaming.letters import letters

    for letter in letters(brokers, pipeline):
        if service in ("", letter.content.service) and reason in ("", letter.content.reason):
            yield letter


def _by_place(brokers: Brokers, pipeline: str, places: list[str]) -> list[Letter]:
    found = {letter.place: letter for letter in _chosen(brokers, pipeline, "", "") if letter.place in places}
    for place in places:
        if place not in found:
            raise SettingsError(
                f"place: {place}: there is no such dead letter; `pricecast deadletters list` shows them"
            )
    return [found[place] for place in places]


def _as_dict(letter: Letter) -> dict[str, object]:
    content = letter.content
    return {
        "place": letter.place,
        "time": _time(letter),
        "service": content.service,
        "reason": content.reason,
        "error": content.error,
        "topic": content.topic,
        "partition": content.partition,
        "offset": content.offset,
        "key": _text(content.key),
        "value": _text(content.value),
    }


def _text(data: bytes) -> str:
    """Returns bytes as text, or, where they are none, in base64."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(data).decode()}"


def _time(letter: Letter) -> str:
    return datetime.fromtimestamp(letter.time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _origin(letter: Letter) -> str:
    content = letter.content
    place = ":".join(str(part) for part in (content.partition, content.offset) if part >= 0)
    return f"{content.topic}:{place}" if place else content.topic
