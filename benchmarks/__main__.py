"""`make bench`: all benchmarks of this machine, one after the other, as one table.

Each benchmark is a program of its own that prints its figures as JSON; this module runs them and lays the figures side
by side with what is aimed at. Every figure is the median of several runs, and every ratio is taken within one run.

    uv run --no-sync python -m benchmarks [streams trades pipeline many api training] [--json FILE]

benchmarks/bench_operator.py needs a control plane and bench_finetune_gpu.py a GPU; they are run by themselves.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        figure: What was measured.
        value: The figure, with `unit`.
        aim: What is aimed at, in words; empty where nothing is.
        met: Whether it is reached; None where nothing is aimed at.
    """

    figure: str
    value: float
    unit: str
    aim: str = ""
    met: bool | None = None


def at_least(figure: str, value: float, unit: str, aim: float) -> Row:
    """Returns a row whose value should be at least `aim`."""
    return Row(figure, value, unit, f">= {aim:g}", value >= aim)


def at_most(figure: str, value: float, unit: str, aim: float) -> Row:
    """Returns a row whose value should be at most `aim`."""
    return Row(figure, value, unit, f"<= {aim:g}", value <= aim)


def streams(found: dict[str, Any]) -> Iterator[Row]:
    """Yields the rows of bench_streams."""
    rates = found["rates"]
    for name, rate in rates.items():
        row = Row(f"{name}, per second", rate["per_second"], "/s")
        yield at_least(row.figure, row.value, row.unit, 50_000) if name == "candles" else row
        if rate.get("memory_mib"):
            yield Row(f"{name}, memory", rate["memory_mib"], "MiB")
    key = "candles_to_passthrough_exactly_once"
    yield at_least("candles / passthrough, per CPU second", found[f"{key}_per_cpu_second"], "x", 0.8)
    yield at_least("candles / passthrough, per second", found[f"{key}_per_second"], "x", 0.8)


def trades(found: dict[str, Any]) -> Iterator[Row]:
    """Yields the rows of bench_trades."""
    for name, rate in found["rates"].items():
        yield Row(f"{name}, trades", rate["per_second"], "/s")
        if rate.get("memory_mib"):
            yield Row(f"{name}, memory", rate["memory_mib"], "MiB")


def pipeline(found: dict[str, Any]) -> Iterator[Row]:
    """Yields the rows of bench_pipeline."""
    rate = found["trades_per_second"]
    yield Row(f"candle closed -> prediction at a client, {rate} trades/s, p50", found["p50_ms"], "ms")
    yield at_most(f"candle closed -> prediction at a client, {rate} trades/s, p99", found["p99_ms"], "ms", 500)
    for name, mib in sorted(found["memory_mib"].items()):
        yield Row(f"{name} in a running pipeline, memory", mib, "MiB")


def many(found: dict[str, Any]) -> Iterator[Row]:
    """Yields the rows of bench_pipeline with hundreds of pairs."""
    name = f"candle closed -> prediction at a client, {found['pairs']} pairs"
    yield Row(f"{name}, p50", found["p50_ms"], "ms")
    yield at_most(f"{name}, p99", found["p99_ms"], "ms", 2_000)
    yield at_most(
        f"{found['pairs']} pairs, memory of the largest process", max(found["memory_mib"].values()), "MiB", 400
    )
    half = len(found["lag_messages"]) // 2
    before, after = found["lag_messages"][:half], found["lag_messages"][half:]
    yield Row(f"{found['pairs']} pairs, most messages behind, first half of the time", max(before, default=0), "")
    yield Row(f"{found['pairs']} pairs, most messages behind, second half", max(after, default=0), "")


def api(found: list[dict[str, Any]]) -> Iterator[Row]:
    """Yields the rows of bench_api."""
    for row in found:
        name = f"{row['protocol']}, 50 callers, answered from {row['answers_from']}"
        yield Row(f"{name}, requests", row["requests_per_second"], "/s")
        yield Row(f"{name}, p99", row["p99_ms"], "ms")
        if row["memory_times"] > 1:
            aim = 5 if row["protocol"] == "grpc" else 10
            yield at_least(f"{row['protocol']}: memory / {row['answers_from']}", row["memory_times"], "x", aim)


def training(found: dict[str, Any]) -> Iterator[Row]:
    """Yields the rows of bench_training."""
    for count, figures in found["rows"].items():
        for name in ("features", "fit", "training"):
            yield Row(f"training on {int(count):,} rows, {name}", figures[f"{name}_seconds"], "s")
    yield Row("forecast of one new row, p50", found["live"]["p50_ms"], "ms")
    yield Row("training, memory", found["memory_mib"], "MiB")


BENCHMARKS: dict[str, tuple[list[str], Callable[[Any], Iterator[Row]]]] = {
    "streams": (["bench_streams"], streams),
    "trades": (["bench_trades"], trades),
    "pipeline": (["bench_pipeline"], pipeline),
    "many": (["bench_pipeline", "--pairs", "500", "--candle-seconds", "10"], many),
    "api": (["bench_api"], api),
    "training": (["bench_training"], training),
}
"""By name: the module with its arguments, and what makes rows of its answer."""


def main() -> int:
    """Runs the chosen benchmarks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="all by default")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    console, rows, failed = Console(), list[Row](), list[str]()
    for name in options.names or BENCHMARKS:
        (module, *arguments), read = BENCHMARKS[name]
        console.print(f"[dim]running {name} ...")
        command = [sys.executable, "-m", f"benchmarks.{module}", "--json", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            failed.append(name)
            continue
        rows += read(json.loads(done.stdout.splitlines()[-1]))
    table = Table("figure", "value", "unit", "aim", "reached", box=None)
    for row in rows:
        met = "" if row.met is None else "yes" if row.met else "no"
        table.add_row(
            row.figure, f"{row.value:,.2f}" if row.value < 100 else f"{row.value:,.0f}", row.unit, row.aim, met
        )
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    if failed:
        console.print(f"[red]failed: {', '.join(failed)}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
