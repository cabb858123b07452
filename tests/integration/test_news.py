"""The news services as processes, against the embedded broker: every headline once, every signal, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer

from pricecast_core import topics
from pricecast_core.errors import PricecastError
from pricecast_core.messages import CLOCK_TOLERANCE_MS, DeadLetter, Message, News, NewsSignal, decode, encode
from pricecast_core.news import lexicon
from pricecast_core.settings.news_signal import DEFAULT_COINS
from pricecast_core.streaming import tail
from pricecast_core.topics import TopicSpec, topic_name
from pricecast_embedded_broker import EmbeddedBroker
from pricecast_testbed.server import free_port
from tests.doubles.anthropic import AnthropicDouble
from tests.doubles.cryptopanic import CryptoPanicDouble, post
from tests.doubles.gdelt import GdeltDouble, article
from tests.doubles.ollama import OllamaDouble, says
from tests.waiting import eventually

PIPELINE = "t"
HEADLINES = [
    f"{coin} {verb} on day {day}"
    for day in range(1, 8)
    for coin in ("Bitcoin", "Ethereum")
    for verb in ("rallies", "drops")
]


@pytest.fixture(scope="module")
def module_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    broker = EmbeddedBroker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


class Bench:
    """One pipeline of its own on the broker, and the services that a test starts on it."""

    def __init__(self, broker: EmbeddedBroker, folder: Path, pipeline: str) -> None:
        self.brokers = broker.address
        self.folder = folder
        self.pipeline = pipeline
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, service: str, **settings: str) -> subprocess.Popen[bytes]:
        env = {
            "PIPELINE": self.pipeline,
            "KAFKA_BROKERS": self.brokers,
            "HTTP_PORT": "0",
            "CACHE_URL": f"sqlite:///{self.folder}/cache.db",
        }
        with (self.folder / f"{service}.log").open("ab") as log:
            process = subprocess.Popen(
                [Path(sys.executable).with_name(f"pricecast-{service}")],
                env={**os.environ, **env, **settings},
                stderr=log,
            )
        self._processes.append(process)
        return process

    def read(self, topic: TopicSpec) -> list[Any]:
        try:
            values = tail(self.brokers, topic_name(self.pipeline, topic), 10_000)
        except PricecastError:
            return []
        kind: type[Message] = topic.message
        return [decode(kind, value) for value in values]

    def write(self, values: list[bytes]) -> None:
        producer = Producer({"bootstrap.servers": self.brokers})
        for value in values:
            producer.produce(topic_name(self.pipeline, topics.NEWS), value, key=b"k")
        assert producer.flush(60) == 0

    def health(self, service: str, path: str = "/readyz") -> dict[str, Any] | None:
        lines = (self.folder / f"{service}.log").read_text().splitlines()
        started = [json.loads(line) for line in lines if '"started"' in line]
        if not started:
            return None
        try:
            with urllib.request.urlopen(started[-1]["health"] + path, timeout=60) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
        except OSError:
            return None

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def bench(module_broker: EmbeddedBroker, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(module_broker, tmp_path, f"n{abs(hash(request.node.nodeid)) % 10**8}")
    yield bench
    bench.end()


def archive(folder: Path, headlines: list[str]) -> Path:
    path = folder / "news.jsonl"
    lines = [
        {"id": number, "title": title, "published_at": f"2024-05-01T12:{number // 60:02}:{number % 60:02}Z"}
        for number, title in enumerate(headlines)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def expected_signals(headlines: list[str]) -> set[tuple[str, str, int]]:
    return {
        (f"archive:{number}", coin, sign)
        for number, title in enumerate(headlines)
        for coin, sign in lexicon.read(title, DEFAULT_COINS).items()
    }


def found_signals(bench: Bench) -> list[tuple[str, str, int]]:
    return [(item.news_id, item.coin, item.signal) for item in bench.read(topics.NEWS_SIGNALS)]


def test_an_archive_is_published_once_however_often_it_is_read(bench: Bench) -> None:
    path = archive(bench.folder, [*HEADLINES, "  BITCOIN rallies, on day 1! ", ""])
    for _ in range(2):
        assert bench.start("news", SOURCE="archive", ARCHIVE=str(path)).wait(60) == 0
        news = bench.read(topics.NEWS)
        assert sorted(item.title for item in news) == sorted(HEADLINES)
    assert [letter.service for letter in bench.read(topics.DEAD_LETTERS)] == ["news", "news"]  # one a run


def test_an_archive_of_mostly_refused_entries_ends_with_its_reason(bench: Bench) -> None:
    path = archive(bench.folder, ["Bitcoin rises", *[""] * 6])
    assert bench.start("news", SOURCE="archive", ARCHIVE=str(path)).wait(60) == 78
    assert [item.title for item in bench.read(topics.NEWS)] == ["Bitcoin rises"]
    [said] = [line for line in (bench.folder / "news.log").read_text().splitlines() if "settings refused" in line]
    assert "archive: 6 of 7 entries were refused (the first: " in said


def test_a_row_that_still_lies_ahead_when_an_archive_ends_is_a_dead_letter(bench: Bench) -> None:
    path = bench.folder / "news.csv"
    ahead = datetime.now(UTC) + timedelta(hours=2)
    path.write_text(f"title,newsDatetime\nBitcoin rises,2024-06-04T10:00:00Z\nBitcoin soon,{ahead.isoformat()}\n")
    assert bench.start("news", SOURCE="archive", ARCHIVE=str(path)).wait(60) == 0
    assert [item.title for item in bench.read(topics.NEWS)] == ["Bitcoin rises"]
    [letter] = bench.read(topics.DEAD_LETTERS)
    assert "still lay ahead" in letter.error
    assert "Bitcoin soon" in str(letter)


def test_a_feed_all_of_whose_entries_are_refused_is_not_ready_and_says_why(bench: Bench) -> None:
    with GdeltDouble() as api:
        api.articles = [article(1, datetime.now(UTC) - timedelta(hours=3)) | {"title": ""}]
        bench.start("news", SOURCE="gdelt", GDELT_URL=api.url)
        eventually(lambda: "all 1 entries were refused" in json.dumps(bench.health("news")))


def test_live_news_goes_on_after_a_pause_and_a_restart(bench: Bench) -> None:
    with CryptoPanicDouble() as api:
        settings = {
            "SOURCE": "cryptopanic",
            "CRYPTOPANIC_URL": api.url,
            "CRYPTOPANIC_API_KEY": api.key,
            "POLL_SECONDS": "1",
        }
        api.posts = [post(1), post(2)]
        api.failures = [(429, {"Retry-After": "1"})]
        process = bench.start("news", **settings)
        eventually(lambda: len(bench.read(topics.NEWS)) == 2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        api.posts += [post(3)]
        process = bench.start("news", **settings)
        eventually(lambda: len(bench.read(topics.NEWS)) == 3)
        asked = len(api.requests)
        eventually(lambda: len(api.requests) > asked + 1)
        process.terminate()
        assert process.wait(120) == 0
    assert [item.id for item in bench.read(topics.NEWS)] == ["cryptopanic:1", "cryptopanic:2", "cryptopanic:3"]
    assert api.key not in (bench.folder / "news.log").read_text()


def serve(pages: dict[str, bytes], etag: str = '"1"') -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path, b"")
            status = 404 if not body else 304 if self.headers.get("If-None-Match") == etag else 200
            self.send_response(status)
            self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(body) if status == 200 else 0))
            self.end_headers()
            if status == 200:
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def rss(*items: tuple[str, datetime]) -> bytes:
    found = "".join(
        f"<item><title>{title}</title><pubDate>{format_datetime(at)}</pubDate></item>" for title, at in items
    )
    return f"<rss version='2.0'><channel><title>F</title>{found}</channel></rss>".encode()


def test_sources_are_read_beside_each_other_and_one_that_can_never_be_read_stops_no_other(bench: Bench) -> None:
    recently = datetime.now(UTC) - timedelta(hours=1)
    site = serve({"/feed": rss(("Bitcoin by feed", recently), ("Bitcoin by both", recently))})
    with CryptoPanicDouble() as panic, GdeltDouble() as gdelt:
        gdelt.articles = [article(1, recently, "Bitcoin by GDELT"), article(2, recently, "Bitcoin by both")]
        process = bench.start(
            "news",
            SOURCE="rss,gdelt,cryptopanic",
            RSS_URLS=f"http://127.0.0.1:{site.server_address[1]}/feed",
            GDELT_URL=gdelt.url,
            CRYPTOPANIC_URL=panic.url,
            CRYPTOPANIC_API_KEY="wrong",
        )
        eventually(lambda: len(bench.read(topics.NEWS)) == 3)
        health = eventually(lambda: (found := bench.health("news")) and "refuses" in str(found) and found)
        assert "cryptopanic" in health["problems"]["source"]
        assert "rss" not in health["problems"]["source"]
        process.terminate()
        assert process.wait(120) == 0
    site.shutdown()
    assert sorted(item.title for item in bench.read(topics.NEWS)) == [
        "Bitcoin by GDELT",
        "Bitcoin by both",
        "Bitcoin by feed",
    ]


def test_a_headline_dated_ahead_is_published_at_its_time_though_the_feed_does_not_change(bench: Bench) -> None:
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=CLOCK_TOLERANCE_MS / 1000 + 6)
    site = serve({"/feed": rss(("Bitcoin tomorrow", ahead))})
    process = bench.start("news", RSS_URLS=f"http://127.0.0.1:{site.server_address[1]}/feed", POLL_SECONDS="1")
    eventually(lambda: (bench.health("news") or {"info": {}})["info"].get("held") == 1)
    assert not bench.read(topics.NEWS)
    eventually(lambda: bench.read(topics.NEWS))
    assert datetime.now(UTC) + timedelta(milliseconds=CLOCK_TOLERANCE_MS) >= ahead
    process.terminate()
    assert process.wait(120) == 0
    site.shutdown()


def test_headlines_become_signals_and_what_is_none_a_dead_letter(bench: Bench) -> None:
    path = archive(bench.folder, HEADLINES)
    assert bench.start("news", SOURCE="archive", ARCHIVE=str(path)).wait(60) == 0
    bench.write([b"not json", b'{"id":"x","title":""}'])
    process = bench.start("news-signal")
    wanted = expected_signals(HEADLINES)
    eventually(lambda: len(found_signals(bench)) >= len(wanted))
    eventually(lambda: len(bench.read(topics.DEAD_LETTERS)) == 2)
    process.terminate()
    assert process.wait(120) == 0
    found = found_signals(bench)
    assert sorted(found) == sorted(wanted)
    assert {item.model_name for item in bench.read(topics.NEWS_SIGNALS)} == {lexicon.MODEL_NAME}
    letters: list[DeadLetter] = bench.read(topics.DEAD_LETTERS)
    assert {letter.service for letter in letters} == {"news-signal"}


def test_the_news_waits_while_the_model_is_away(bench: Bench) -> None:
    path = archive(bench.folder, HEADLINES)
    assert bench.start("news", SOURCE="archive", ARCHIVE=str(path)).wait(60) == 0
    port = free_port()
    settings = {
        "PROVIDER": "anthropic",
        "MODEL": "claude-test",
        "API_KEY": AnthropicDouble.key,
        "ANTHROPIC_URL": f"http://127.0.0.1:{port}",
        "STALL_TIMEOUT_SECONDS": "5",
    }
    process = bench.start("news-signal", **settings)
    health = eventually(
        lambda: (found := bench.health("news-signal")) and "model" in found["problems"] and found, seconds=120
    )
    assert "no answer" in health["problems"]["model"]
    deadline = time.monotonic() + 8  # longer than a stall may last
    while time.monotonic() < deadline:
        alive = bench.health("news-signal", "/healthz")
        assert alive is not None
        assert alive["ok"], "to wait for the model is no stall: a restart wouldn't help"
        time.sleep(0.5)

    def teacher(headline: str) -> object:
        if "day 3" in headline:
            return "I would rather talk about the weather."
        return {"news_signals": [{"coin": "BTC", "signal": 1, "reasoning": "because"}]}

    with AnthropicDouble(teacher, port) as api:
        eventually(lambda: len(found_signals(bench)) >= len(HEADLINES) - 4)
        eventually(lambda: len(bench.read(topics.DEAD_LETTERS)) == 4)
        eventually(lambda: not (bench.health("news-signal") or {"problems": True})["problems"])
        asked = len(api.requests)
        process.kill()
        process.wait()
        process = bench.start("news-signal", **settings | {"PIPELINE": bench.pipeline})
        eventually(lambda: (bench.health("news-signal") or {"ok": False})["ok"])
        process.terminate()
        assert process.wait(120) == 0
        assert (
            len(api.requests) <= asked + 12
        )  # what was answered is in the cache; the four bad ones may be asked again
    signals: list[NewsSignal] = bench.read(topics.NEWS_SIGNALS)
    news: list[News] = bench.read(topics.NEWS)
    good = {item.id for item in news if "day 3" not in item.title}
    assert {item.news_id for item in signals} == good
    assert {item.reasoning for item in signals} == {"because"}
    letters: list[DeadLetter] = bench.read(topics.DEAD_LETTERS)
    assert {letter.reason for letter in letters} == {"outside_schema"}


def test_a_model_none_of_whose_answers_is_valid_is_not_ready_and_says_why(bench: Bench) -> None:
    path = archive(bench.folder, HEADLINES[:1])
    assert bench.start("news", SOURCE="archive", ARCHIVE=str(path)).wait(60) == 0
    with OllamaDouble(says("I would rather talk about the weather.")) as api:
        bench.start("news-signal", PROVIDER="ollama", MODEL="some-model", OLLAMA_URL=api.url)
        health = eventually(
            lambda: (
                (found := bench.health("news-signal"))
                and "none of its answers is valid" in found["problems"].get("model", "")
                and found
            )
        )
        assert not health["ok"]
        api.say = says('{"news_signals": [{"coin": "BTC", "signal": 1}]}')
        bench.write([encode(msgspec.structs.replace(bench.read(topics.NEWS)[0], id="another", title="Bitcoin again"))])
        eventually(lambda: (bench.health("news-signal") or {"ok": False})["ok"])


def test_a_killed_reader_loses_nothing_and_asks_little_again(bench: Bench) -> None:
    headlines = [f"{title} and {number}" for number in range(4) for title in HEADLINES]
    path = archive(bench.folder, headlines)
    assert bench.start("news", SOURCE="archive", ARCHIVE=str(path)).wait(60) == 0

    gate = threading.Event()

    def teacher(headline: str) -> object:
        if len(api.requests) > 30:
            gate.wait()
        return {"news_signals": [{"coin": "BTC", "signal": 1}]}

    with AnthropicDouble(teacher) as api:
        settings = {
            "PROVIDER": "anthropic",
            "MODEL": "claude-test",
            "API_KEY": api.key,
            "ANTHROPIC_URL": api.url,
            "BATCH_SIZE": "5",
        }
        process = bench.start("news-signal", **settings)
        eventually(lambda: len(api.requests) > 30)
        process.kill()
        process.wait()
        gate.set()
        bench.start("news-signal", **settings)
        eventually(lambda: {item[0] for item in found_signals(bench)} == {item.id for item in bench.read(topics.NEWS)})
        assert len(api.requests) <= len(headlines) + 2 * 5  # at most the batches that were cut off
