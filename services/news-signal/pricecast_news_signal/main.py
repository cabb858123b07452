"""`pricecast-news-signal`: the service, and the two tools that share its providers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pricecast_core import logs
from pricecast_core.errors import PricecastError, SettingsError
from pricecast_core.news import dataset
from pricecast_core.news.lexicon import MODEL_NAME
from pricecast_core.service import EX_CONFIG, EX_FAILED, run
from pricecast_core.settings import NewsSignalSettings, load
from pricecast_news_signal import evaluate, label
from pricecast_news_signal.registry import READERS, open_extractor
from pricecast_news_signal.serve import SERVICE, work


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the service, or one of its tools."""
    options = _parser().parse_args(arguments)
    if options.command in (None, "serve"):
        run(SERVICE, NewsSignalSettings, work)
        return
    logs.configure(SERVICE, "WARNING", "text")
    try:
        _tool(options)
    except PricecastError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EX_CONFIG if isinstance(error, SettingsError) else EX_FAILED)


def _tool(options: argparse.Namespace) -> None:
    settings = _settings(options)
    extractor = open_extractor(settings)
    if options.command == "evaluate":
        evaluate.run(
            extractor,
            dataset.load(options.data, settings.coins),
            provider=settings.provider,
            model=settings.model,
            concurrency=settings.concurrency,
            attempts=settings.attempts,
            as_json=options.json,
        )
    else:
        label.run(
            extractor,
            options.data,
            options.out,
            coins=settings.coins,
            provider=settings.provider,
            model=settings.model,
            concurrency=settings.concurrency,
            attempts=settings.attempts,
            limit=options.limit,
            agreed=options.yes,
        )


def _settings(options: argparse.Namespace) -> NewsSignalSettings:
    """The environment's settings, with what the command line says instead."""
    given: dict[str, Any] = {"pipeline": options.command, "provider": options.provider}
    if options.provider == "lexicon":
        given["model"] = MODEL_NAME
    elif options.model:
        given["model"] = options.model
    if options.url:
        given[f"{options.provider}_url"] = options.url
    if options.coins:
        given["coins"] = options.coins
    if options.concurrency:
        given["concurrency"] = options.concurrency
    settings = load(NewsSignalSettings, **given)
    if "model" not in settings.model_fields_set:
        raise SettingsError(f"--model: is missing; name the model of {options.provider}")
    return settings


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pricecast-news-signal", description="News to signals by a language model.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="run the service, configured by the environment (the default)")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, required=True, metavar="FILE", help="the headlines")
    common.add_argument(
        "--provider",
        type=str.lower,
        choices=tuple(READERS),
        default="lexicon",
        help="who reads them (default: lexicon)",
    )
    common.add_argument("--model", default="", metavar="M", help="model, as the provider calls it")
    common.add_argument("--url", default="", help="address of the provider, where it isn't the usual one")
    common.add_argument("--coins", type=_names, default=[], metavar="BTC,ETH", help="coins that signals are about")
    common.add_argument("--concurrency", type=int, default=0, metavar="N", help="headlines read at the same time")
    epilog = "The provider's API key is taken from the environment variable API_KEY."

    tool = commands.add_parser(
        "evaluate", parents=[common], help="measure a provider on labelled headlines (JSON lines)", epilog=epilog
    )
    tool.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    tool = commands.add_parser(
        "label", parents=[common], help="label headlines by a teacher model, resumably", epilog=epilog
    )
    tool.add_argument("--out", type=Path, required=True, metavar="FILE", help="dataset to write or go on with")
    tool.add_argument("--limit", type=int, default=0, metavar="N", help="label so many at most")
    tool.add_argument("--yes", action="store_true", help="don't ask whether the cost is fine")
    return parser
