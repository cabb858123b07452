"""`pricecast report PAIR`: the versions of a pair's model, why each was promoted or not, and the page kept with one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pricecast_cli.commands.options import DataDirOption, PipelineOption, find_folder
from pricecast_core.errors import StoreError
from pricecast_core.values import read_pair, slug

if TYPE_CHECKING:
    from pricecast_core.stores.models import ModelVersion


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(report)


def report(
    pair: Annotated[str, typer.Argument(help="Trading pair: BTC/USD.")],
    horizon: Annotated[int, typer.Option(min=0, help="Horizon in seconds; 0: the shortest one predicted.")] = 0,
    version: Annotated[int, typer.Option(min=0, help="Version; 0: the one in production, else the newest.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the page; reports/ in the data folder by default.")
    ] = None,
    data_dir: DataDirOption = None,
    pipeline: PipelineOption = "",
) -> None:
    """Lists the versions of a pair's model, and writes the training report of one to a file."""
    from pricecast_core.stores.models import model_name
    from pricecast_core.stores.models_sql import SqlModelRegistry

    folder = find_folder(data_dir, pipeline)
    of = str(folder.read_state().get("pipeline", folder.path.name))
    pair = read_pair(pair)
    seconds = horizon or _shortest_horizon(folder.database("predictions"), of, pair)
    name = model_name(of, slug(pair), seconds)
    registry = SqlModelRegistry(folder.database("models"))
    try:
        versions = registry.versions(name)
        chosen = _choose(name, versions, version)
        page = registry.report(name, chosen.version)
    finally:
        registry.close()
    path = output or folder.path / "reports" / f"{name}-v{chosen.version}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    console = Console()
    console.print(_table(name, versions))
    if chosen.lineage.code_version:
        typer.echo(_lineage(chosen))
    if rivals := _rivals(chosen):
        console.print(rivals)
    typer.echo(f"report of version {chosen.version}: {path}")


def _shortest_horizon(url: str, pipeline: str, pair: str) -> int:
    from pricecast_core.stores.predictions_sql import SqlPredictionStore

    store = SqlPredictionStore(url)
    try:
        store.ensure()
        latest = store.latest(pipeline)
    finally:
        store.close()
    found = [one.horizon_seconds for one in latest if one.pair == pair]
    if not found:
        known = ", ".join(sorted({one.pair for one in latest})) or "none yet"
        raise StoreError(f"pair: {pair} has no prediction; there are predictions of: {known}")
    return min(found)


def _choose(name: str, versions: list[ModelVersion], number: int) -> ModelVersion:
    if not versions:
        raise StoreError(f"model: {name} has no version yet; it is trained once there is enough history")
    if not number:
        return next((one for one in versions if one.stage == "production"), versions[0])
    for one in versions:
        if one.version == number:
            return one
    there_are = ", ".join(str(one.version) for one in versions)
    raise StoreError(f"version: {name} has no version {number}; there are {there_are}")


def _table(name: str, versions: list[ModelVersion]) -> Table:
    """Returns a row of figures for each version, and why it is where it is below them: it fits 80 columns."""
    table = Table(title=name, caption_justify="left")
    for column in ("version", "stage", "trained through", "skill", "point", "coverage"):
        table.add_column(column, no_wrap=True, justify="right" if column in ("skill", "point", "coverage") else "left")
    for one in versions:
        figures = [one.metrics.get(metric) for metric in ("distribution_skill", "point_skill", "coverage")]
        table.add_row(
            str(one.version),
            one.stage,
            datetime.fromtimestamp(one.trained_through_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC"),
            *("" if figure is None else f"{figure:.2%}" for figure in figures),
        )
    table.caption = "\n".join(f"{one.version}: {one.reason}" for one in versions)
    return table


def _lineage(version: ModelVersion) -> str:
    """Returns what a version was made of, in one line."""
    made = version.lineage
    since = datetime.fromtimestamp(made.trained_from_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    follows = f"follows version {made.parent}" if made.parent else "none served before it"
    features, code = made.feature_set, made.code_version
    return f"version {version.version}: rows since {since}, features {features}, code {code}, {follows}"


def _rivals(version: ModelVersion) -> Table | None:
    """Returns how a version did beside its rivals on the same rows; None where none were evaluated."""
    metrics = version.metrics
    kinds = [name.removesuffix(".lead") for name in metrics if name.endswith(".lead")]
    if not kinds:
        return None
    table = Table(
        title=f"version {version.version} ({version.parameters.get('kind', '')}) beside its rivals, in points of skill"
    )
    for column in ("rival", "its skill", "ahead of it by", "95% interval", ""):
        table.add_column(column, no_wrap=True, justify="left" if column in ("rival", "") else "right")
    for kind in kinds:
        skill, ahead, low, high = (
            metrics[f"{kind}.{name}"] * 100 for name in ("distribution_skill", "lead", "lead_low", "lead_high")
        )
        verdict = "ahead" if low > 0 else "behind" if high < 0 else "level"
        table.add_row(kind, f"{skill:.2f}", f"{ahead:+.2f}", f"{low:+.2f} to {high:+.2f}", verdict)
    return table
