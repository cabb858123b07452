"""`pricecast-price-predictor`: `train` a model, `serve` forecasts, `backtest` on later rows. Settings by environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from pricecast_core import service
from pricecast_core.health import Health
from pricecast_core.settings import PricePredictorSettings


def main() -> None:
    """Entry point of the console script."""
    arguments = _parser().parse_args()

    def work(settings: PricePredictorSettings, health: Health, stop: service.Stop) -> None:
        # each command imports only what it needs: serving has no use for the plots and the search
        if arguments.command == "serve":
            from pricecast_price_predictor.serve import serve  # noqa: PLC0415

            serve(settings, health, stop)
        elif arguments.command == "train":
            from pricecast_price_predictor.train import train  # noqa: PLC0415

            train(settings, health, stop)
        else:
            from pricecast_price_predictor.backtest import backtest  # noqa: PLC0415

            plots = arguments.plots or (None if arguments.json else Path(f"backtest-{settings.pipeline}"))
            backtest(settings, arguments.evaluate_from_ms, as_json=arguments.json, plots=plots)

    service.run("price-predictor", PricePredictorSettings, work)


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
    return parser
