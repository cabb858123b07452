"""`pricecast-price-predictor`: `train` a model, `serve` forecasts, `backtest` on later rows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pricecast_core import service
from pricecast_core.errors import PricecastError
from pricecast_core.health import Health
from pricecast_core.settings import PricePredictorSettings


def main() -> None:
    """Entry point of the console script."""
    arguments = _parser().parse_args()
    if arguments.command == "arena":
        _arena(arguments)
        return

    service.run("price-predictor", PricePredictorSettings, _work(arguments))


def _work(arguments: argparse.Namespace) -> Callable[[PricePredictorSettings, Health, service.Stop], None]:
    """Returns the work of a command, which imports only what it needs: serving has no use for plots and search."""
    if arguments.command == "serve":
        from pricecast_price_predictor.serve import serve  # noqa: PLC0415

        return serve
    if arguments.command == "train":
        from pricecast_price_predictor.train import train  # noqa: PLC0415

        return train
    from pricecast_price_predictor.backtest import backtest  # noqa: PLC0415

    def measure(settings: PricePredictorSettings, _health: Health, _stop: service.Stop) -> None:
        plots = arguments.plots or (None if arguments.json else Path(f"backtest-{settings.pipeline}"))
        backtest(settings, arguments.evaluate_from_ms, as_json=arguments.json, plots=plots, out=arguments.out)

    return measure


def _arena(arguments: argparse.Namespace) -> None:
    """Runs the arena: files in, a table out; it needs no settings, stores or streams."""
    from pricecast_price_predictor.arena import DEFAULT_HORIZONS, arena  # noqa: PLC0415
    from pricecast_price_predictor.models.kinds import KINDS  # noqa: PLC0415

    horizons, kinds = arguments.horizons or DEFAULT_HORIZONS, arguments.kinds or list(KINDS)
    try:
        arena(arguments.bars, horizons, kinds, as_json=arguments.json, out=arguments.out)
    except (PricecastError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's one line on what is wrong
        sys.exit(service.EX_CONFIG)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pricecast-price-predictor", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("train", help="train, register and, if it beats naive, promote a model; exit 75 if too early")
    commands.add_parser("serve", help="forecast each new feature row and score earlier forecasts")
    backtest = commands.add_parser("backtest", help="train on stored rows before a time, measure on those after it")
    backtest.add_argument(
        "--evaluate-from-ms", type=int, required=True, help="first moment to measure, Unix milliseconds"
    )
    backtest.add_argument("--json", action="store_true", help="print one line of JSON to standard output")
    backtest.add_argument("--plots", type=Path, help="folder for pages with plots; default backtest-<pipeline>")
    backtest.add_argument("--out", type=Path, help="file for each row's forecasts: .csv or .parquet")
    arena = commands.add_parser("arena", help="every model kind on bars of files, under one scorer")
    arena.add_argument("bars", type=Path, nargs="+", help="Kraken OHLCVT CSV")
    arena.add_argument("--horizons", type=int, nargs="+", help="seconds")
    arena.add_argument("--kinds", nargs="+", help="model kinds, the one compared first; all by default")
    arena.add_argument("--json", action="store_true", help="one line of JSON for each file and horizon")
    arena.add_argument("--out", type=Path, help="file for each row's forecasts: .csv or .parquet")
    return parser
