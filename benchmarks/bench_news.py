"""The news: how well and how fast each provider reads headlines, and what the news costs the prices.

    uv run --no-sync python -m benchmarks.bench_news [--data FILE.jsonl] [--ollama URL --model M ...] [--prices] [--json]

Readers are measured on labelled headlines: those of the file, else those that come with pricecast-finetune. With
`--ollama`, each `--model` is asked too; `--limit` bounds what slow models are asked. `through the topic` is the whole
service: headlines on the broker to signals on the broker. `--prices` measures the price path's latency without news,
and with an archive of headlines being read on the same cores all the while.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer

from benchmarks import bench_pipeline
from pricecast_core import topics
from pricecast_core.health import Health
from pricecast_core.news import dataset, lexicon
from pricecast_core.news.evaluation import Scores
from pricecast_core.service import Stop
from pricecast_core.settings import NewsSignalSettings
from pricecast_core.settings.news_signal import DEFAULT_COINS
from pricecast_core.streaming import Publisher
from pricecast_core.topics import topic_name
from pricecast_embedded_broker import running
from pricecast_news import times
from pricecast_news.source import headline
from pricecast_news_signal.evaluate import evaluate
from pricecast_news_signal.reader import Reader
from pricecast_news_signal.registry import open_extractor

NEWS = """  news:
    archive: {{location: {path}}}
    signals: {signals}
"""


def reader(examples: Sequence[dataset.Example], provider: str, model: str, url: str, concurrency: int) -> Scores:
    """Returns the scores of one provider and model."""
    settings = NewsSignalSettings(
        pipeline="bench", provider=provider, model=model, ollama_url=url or "http://127.0.0.1:11434", num_thread=1
    )

    async def run() -> Scores:
        extractor = open_extractor(settings)
        try:
            return (await evaluate(Reader(extractor, model=model, concurrency=concurrency, attempts=1), examples))[0]
        finally:
            await extractor.close()

    return asyncio.run(run())


def through_the_topic(headlines: int) -> float:
    """Returns the headlines per second of the service with the lexicon, from the broker to the broker."""
    with tempfile.TemporaryDirectory(prefix="pricecast-bench-") as temporary, running(Path(temporary) / "b") as brokers:
        settings = NewsSignalSettings(pipeline="bench", kafka_brokers=brokers)
        publisher = Publisher("news", settings, [topics.NEWS, topics.NEWS_SIGNALS], Health(), Stop())
        for number in range(headlines):
            publisher.publish(topics.NEWS, str(number), _news(number, "Bitcoin rallies while Ethereum slides"))
        publisher.flush()
        env = {
            "PIPELINE": "bench",
            "KAFKA_BROKERS": brokers,
            "HTTP_PORT": "0",
            "BATCH_SIZE": "500",
            "LOG_LEVEL": "ERROR",
        }
        process = subprocess.Popen([Path(sys.executable).with_name("pricecast-news-signal")], env={**os.environ, **env})
        try:
            written = _written_at(brokers, topic_name("bench", topics.NEWS_SIGNALS), 2 * headlines)
            return headlines / ((max(written) - min(written)) / 1000)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def prices(headlines: int, signals: Sequence[str], rate: int, seconds: float) -> dict[str, dict[str, float]]:
    """Returns the price path's latency, ms, without news and with each way to read it."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="pricecast-bench-") as temporary:
        path = Path(temporary) / "news.jsonl"
        path.write_text(
            "".join(
                json.dumps({"id": n, "title": f"Bitcoin rallies, take {n}", "published_at": "2024-05-01T00:00:00Z"})
                + "\n"
                for n in range(headlines)
            )
        )
        for name in ("", *signals):
            more = NEWS.format(path=path, signals=name) if name else ""
            result = bench_pipeline.measure(rate, seconds, more)
            found[name or "no news"] = {key: result[key] for key in ("p50_ms", "p99_ms", "predictions")}
    return found


def _news(number: int, title: str) -> Any:
    return headline(
        identity=f"bench:{number}",
        title=f"{title} {number}",
        source="bench",
        published=times.parse("2024-05-01T00:00:00Z"),
    )


def _written_at(brokers: str, topic: str, count: int) -> list[int]:
    """Returns the broker's times, ms, of so many messages of a topic."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "bench", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[int] = []
    while len(found) < count:
        found += [message.timestamp()[1] for message in consumer.consume(5_000, timeout=1) if not message.error()]
    consumer.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="labelled headlines, JSON lines")
    parser.add_argument("--ollama", default="", metavar="URL", help="an Ollama server")
    parser.add_argument("--model", action="append", default=[], help="a model of it; several may be given")
    parser.add_argument("--limit", type=int, default=60, help="headlines that a model of Ollama is asked about")
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--headlines", type=int, default=20_000, help="headlines sent through the topic")
    parser.add_argument("--prices", action="store_true", help="also the price path's latency with and without news")
    parser.add_argument("--seconds", type=float, default=40, help="how long the price path is watched")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    with resources.as_file(resources.files("pricecast_finetune").joinpath("data", "headlines.jsonl")) as own:
        examples = dataset.load(options.data or own, DEFAULT_COINS)
    readers = {"lexicon": reader(examples, "lexicon", lexicon.MODEL_NAME, "", 1)}
    for model in options.model:
        readers[model] = reader(examples[: options.limit], "ollama", model, options.ollama, options.concurrency)
    result: dict[str, Any] = {
        "readers": {name: msgspec.to_builtins(scores) for name, scores in readers.items()},
        "through_the_topic_per_second": through_the_topic(options.headlines),
    }
    if options.prices:
        ways = ["{provider: Lexicon}"]
        ways += [f"{{provider: Ollama, model: {model!r}, url: {options.ollama!r}}}" for model in options.model[:1]]
        result["prices"] = prices(50_000, ways, 1_000, options.seconds)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'reader':30}{'F1':>8}{'exact':>8}{'valid':>8}{'headlines':>11}{'per second':>12}")
    for name, s in readers.items():
        rate = s.headlines_per_second
        print(f"{name:30}{s.f1:8.3f}{s.exact_match:8.3f}{s.valid:8.3f}{s.headlines:11}{rate:12,.2f}")
    print(f"through the topic, lexicon: {result['through_the_topic_per_second']:,.0f} headlines/s")
    for name, found in result.get("prices", {}).items():
        print(f"prices with {name}: p50 {found['p50_ms']:.0f} ms, p99 {found['p99_ms']:.0f} ms")


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    main()
