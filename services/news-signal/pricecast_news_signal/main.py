"""`pricecast-news-signal`: the service, and the two tools that share its providers."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pricecast_core import logs
from pricecast_core.errors import PricecastError, SettingsError
from pricecast_core.news import dataset, lexicon
from pricecast_core.service import EX_CONFIG, EX_FAILED, run
from pricecast_core.settings import NewsSignalSettings, load
from pricecast_core.settings.news_signal import DEFAULT_COINS, ENCODER, ENCODER_HEAD
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
    if options.command == "train":
        _train(options)
        return
    if options.command == "agree":
        coins = options.coins or DEFAULT_COINS
        evaluate.print_agreement(evaluate.agree(dataset.load(options.data, coins), dataset.load(options.other, coins)))
        return
    settings = _settings(options)
    extractor = open_extractor(settings)
    if options.command == "evaluate":
        evaluate.run(settings, extractor, dataset.load(options.data, settings.coins), as_json=options.json)
    else:
        from pricecast_news_signal.readers.typed_llm import instructions  # noqa: PLC0415 (its clients take seconds)

        label.run(
            settings,
            extractor,
            options.data,
            options.out,
            instructions="" if settings.guidelines is None else instructions(settings.coins, settings.guidelines),
            limit=options.limit,
            agreed=options.yes,
        )


def _train(options: argparse.Namespace) -> None:
    try:
        from pricecast_news_signal import train  # noqa: PLC0415 (numpy comes with an extra)
    except ImportError as error:
        raise SettingsError(f"train: needs {error.name}; install pricecast-news-signal[encoder]") from None

    given: dict[str, Any] = {"pipeline": options.command, "provider": "encoder"}
    given |= {"coins": options.coins} if options.coins else {}
    given |= {"encoder_weights": options.weights} if options.weights else {}
    given |= {"encoder_head": options.out} if options.out else {}
    settings = load(NewsSignalSettings, **given)
    train.run(options.data, settings.encoder_head, location=settings.encoder_weights, coins=settings.coins)


def _default_provider() -> str:
    """Returns the best reader that needs no server: the encoder where one was trained, else the lexicon."""
    return "encoder" if Path(os.environ.get("ENCODER_HEAD") or ENCODER_HEAD).exists() else "lexicon"


def _settings(options: argparse.Namespace) -> NewsSignalSettings:
    """The environment's settings, with what the command line says instead."""
    provider = options.provider or _default_provider()
    given: dict[str, Any] = {"pipeline": options.command, "provider": provider}
    if provider == "lexicon":
        given["model"] = lexicon.MODEL_NAME
    elif provider == "encoder":
        given["model"] = options.model or ENCODER
        given |= {"encoder_weights": options.weights} if options.weights else {}
    elif options.model:
        given["model"] = options.model
    if options.url:
        given[f"{provider}_url"] = options.url
    if options.coins:
        given["coins"] = options.coins
    if getattr(options, "guidelines", None):
        given["guidelines"] = options.guidelines
    if options.concurrency:
        given["concurrency"] = options.concurrency
    settings = load(NewsSignalSettings, **given)
    if "model" not in settings.model_fields_set:
        raise SettingsError(f"--model: is missing; name the model of {provider}")
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
        default="",
        help="who reads them (default: the encoder where one was trained, else the lexicon)",
    )
    common.add_argument("--model", default="", metavar="M", help="model, as the provider calls it")
    common.add_argument(
        "--weights", default="", metavar="W", help="the encoder, where it isn't where it was in training"
    )
    common.add_argument("--url", default="", help="address of the provider, where it isn't the usual one")
    common.add_argument("--coins", type=_names, default=[], metavar="BTC,ETH", help="coins that signals are about")
    common.add_argument("--concurrency", type=int, default=0, metavar="N", help="headlines read at the same time")
    epilog = "The provider's API key is taken from the environment variable API_KEY."

    tool = commands.add_parser(
        "evaluate", parents=[common], help="measure a provider on labelled headlines (JSON lines)", epilog=epilog
    )
    tool.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    tool = commands.add_parser("agree", help="measure how far two teachers agree on the headlines that both labelled")
    tool.add_argument("--data", type=Path, required=True, metavar="FILE", help="headlines labelled by one")
    tool.add_argument("--with", type=Path, required=True, metavar="FILE", dest="other", help="by the other")
    tool.add_argument("--coins", type=_names, default=[], metavar="BTC,ETH", help="coins that signals are about")
    tool = commands.add_parser("train", help="train the encoder's head on labelled headlines (JSON lines), in seconds")
    tool.add_argument("--data", type=Path, required=True, nargs="+", metavar="FILE", help="labelled headlines")
    tool.add_argument("--weights", default="", metavar="W", help="folder, .zip, .jar, package:NAME or hub:OWNER/NAME")
    tool.add_argument("--out", type=Path, metavar="FILE", help="the head (default: .pricecast/encoder/head.json)")
    tool.add_argument("--coins", type=_names, default=[], metavar="BTC,ETH", help="coins that signals are about")
    tool = commands.add_parser(
        "label", parents=[common], help="label headlines by a teacher model, resumably", epilog=epilog
    )
    tool.add_argument("--out", type=Path, required=True, metavar="FILE", help="dataset to write or go on with")
    tool.add_argument(
        "--guidelines", type=Path, metavar="FILE", help="what the teacher is told; {coins} stands for the coins"
    )
    tool.add_argument("--limit", type=int, default=0, metavar="N", help="label so many at most")
    tool.add_argument("--yes", action="store_true", help="don't ask whether the cost is fine")
    return parser
