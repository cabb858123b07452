"""`evaluate` and `label` as a person calls them, with a stand-in for the teacher."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pricecast_core.news import dataset
from pricecast_core.settings.news_signal import DEFAULT_COINS
from pricecast_news_signal.label import estimate, headlines_of, labelled
from pricecast_news_signal.main import main
from tests.doubles.anthropic import AnthropicDouble


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


class Tool:
    """The program within this process: its imports take seconds, and each test calls it several times."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str | Path, **env: str) -> Done:
        for name, value in env.items():
            self._monkeypatch.setenv(name, value)
        self._monkeypatch.setattr(sys, "stdin", io.StringIO())
        self._capsys.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        output = self._capsys.readouterr()
        return Done(code, output.out, output.err)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Tool]:
    level, handlers = logging.root.level, logging.root.handlers[:]
    yield Tool(capsys, monkeypatch)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def examples(path: Path) -> Path:
    lines = [
        {"input": "Bitcoin rallies", "output": '{"news_signals":[{"coin":"BTC","signal":1}]}'},
        {"input": "Ethereum plunges", "output": '{"news_signals":[{"coin":"ETH","signal":-1}]}'},
        {"input": "Solana plunges", "output": '{"news_signals":[{"coin":"SOL","signal":1}]}'},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def teacher(headline: str) -> object:
    return {"news_signals": [{"coin": "BTC", "signal": 1}]} if "Bitcoin" in headline else {"news_signals": []}


def test_evaluate_prints_one_line_of_json(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("pricecast-news-signal"),
            "evaluate",
            "--data",
            examples(tmp_path / "d.jsonl"),
            "--provider",
            "lexicon",
            "--json",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    scores = json.loads(line)
    assert (scores["f1"], scores["exact_match"], scores["valid"]) == (0.6667, 0.6667, 1.0)
    assert scores["headlines_per_second"] > 0


def test_evaluate_prints_a_table_for_people(run: Tool, tmp_path: Path) -> None:
    done = run("evaluate", "--data", examples(tmp_path / "d.jsonl"))
    assert done.returncode == 0, done.stderr
    assert "0.667" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "--data", "absent.jsonl"], "absent.jsonl"),
        (["evaluate", "--data", "absent.jsonl", "--provider", "ollama"], "--model"),
        (["evaluate", "--data", "absent.jsonl", "--provider", "anthropic", "--model", "m"], "API_KEY"),
    ],
)
def test_mistakes_are_named_with_a_code_of_their_own(run: Tool, arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 78
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_label_writes_a_dataset_and_goes_on_where_it_stopped(run: Tool, tmp_path: Path) -> None:
    source, out = tmp_path / "h.txt", tmp_path / "golden.jsonl"
    source.write_text("Bitcoin rallies\nNothing here\nBitcoin rallies\n")
    with AnthropicDouble(teacher) as api:
        settings = {"API_KEY": api.key, "ANTHROPIC_URL": api.url}
        arguments = ["label", "--data", source, "--out", out, "--provider", "anthropic", "--model", "claude-sonnet-4-6"]
        refused = run(*arguments, **settings)
        assert refused.returncode == 78
        assert "--yes" in refused.stderr
        assert "$" in refused.stderr
        assert not api.requests
        assert run(*arguments, "--yes", **settings).returncode == 0
        assert len(api.requests) == 2
        with out.open("a") as file:
            file.write('{"instruction": "cut o')  # a run that was killed
        source.write_text(source.read_text() + "Bitcoin again\n")
        done = run(*arguments, "--yes", **settings)
        assert done.returncode == 0, done.stderr
        assert len(api.requests) == 3
    assert dataset.load(out, DEFAULT_COINS) == [
        dataset.Example("Bitcoin rallies", {"BTC": 1}),
        dataset.Example("Nothing here", {}),
        dataset.Example("Bitcoin again", {"BTC": 1}),
    ]
    assert {json.loads(line)["teacher_model_name"] for line in out.read_text().splitlines()} == {"claude-sonnet-4-6"}


def test_what_the_teacher_gives_no_valid_answer_to_is_left_out(run: Tool, tmp_path: Path) -> None:
    source, out = tmp_path / "h.jsonl", tmp_path / "golden.jsonl"
    source.write_text('{"title": "Bitcoin"}\n{"input": "Broken"}\n')
    with AnthropicDouble(lambda headline: teacher(headline) if "Bitcoin" in headline else "no") as api:
        arguments = [
            "label",
            "--data",
            source,
            "--out",
            out,
            "--provider",
            "anthropic",
            "--model",
            "claude-test",
            "--yes",
        ]
        done = run(*arguments, API_KEY=api.key, ANTHROPIC_URL=api.url)
    assert done.returncode == 0, done.stderr
    assert "1 got no valid answer" in done.stderr
    assert labelled(out) == {"Bitcoin"}


def test_the_estimate_knows_prices_and_says_where_it_does_not() -> None:
    known = estimate(["a headline"] * 1_000, DEFAULT_COINS, "anthropic", "claude-sonnet-4-6")
    assert known.dollars is not None
    assert 0.1 < known.dollars < 10
    assert "price unknown" in str(estimate(["a"], DEFAULT_COINS, "openai", "somebodys-own-model"))
    assert estimate(["a"], DEFAULT_COINS, "ollama", "m").dollars == 0


def test_headlines_come_from_lines_or_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One\n\nTwo\nOne\n")
    assert headlines_of(tmp_path / "a.txt") == ["One", "Two"]
    (tmp_path / "a.jsonl").write_text('{"input": "One", "x": 1}\n{"title": "Two"}\n')
    assert headlines_of(tmp_path / "a.jsonl") == ["One", "Two"]


def dataset_of(path: Path, labels: dict[str, int]) -> Path:
    """A file in which each headline moves BTC, or nothing where the signal is 0."""
    lines = []
    for headline, signal in labels.items():
        signals = [{"coin": "BTC", "signal": signal}] if signal else []
        lines.append(json.dumps({"input": headline, "output": json.dumps({"news_signals": signals})}))
    path.write_text("\n".join(lines))
    return path


def test_two_teachers_are_compared_on_what_both_labelled(run: Tool, tmp_path: Path) -> None:
    ours = dataset_of(tmp_path / "a.jsonl", {"one": 1, "two": 1, "three": 0, "ours alone": -1})
    theirs = dataset_of(tmp_path / "b.jsonl", {"ONE!": 1, "two": -1, "three": -1, "theirs alone": 1})
    told = run("agree", "--data", ours, "--with", theirs)
    assert "on 3 headlines" in told.stdout
    assert "F1 0.400 either way" in told.stdout.replace("\n", " ")
    other = dataset_of(tmp_path / "c.jsonl", {"another": 1})
    assert "no headline in common" in run("agree", "--data", ours, "--with", other).stderr


def test_every_evaluation_tries_hostile_posts_too(run: Tool, tmp_path: Path) -> None:
    labelled_file = dataset_of(tmp_path / "a.jsonl", {"Bitcoin soars": 1})
    told = json.loads(run("evaluate", "--data", labelled_file, "--provider", "lexicon", "--json").stdout)
    assert (told["headlines"], told["hostile"]["valid"], told["hostile"]["faults"]) == (1, 1.0, {})
    assert told["hostile"]["headlines"] > 40


def test_a_teacher_is_told_what_the_guidelines_say(run: Tool, tmp_path: Path) -> None:
    guidelines, headlines = tmp_path / "guidelines.md", tmp_path / "headlines.txt"
    guidelines.write_text("Only hacks count. Coins: {coins}")
    headlines.write_text("Bitcoin soars\n")
    command: list[str | Path] = [
        "label",
        "--data",
        headlines,
        "--out",
        tmp_path / "out.jsonl",
        "--yes",
        "--coins",
        "BTC,ETH",
    ]
    with AnthropicDouble() as double:
        done = run(
            *command, "--provider", "anthropic", "--model", "claude-sonnet-4-6", "--url", double.url, "--guidelines", guidelines,
            API_KEY=double.key,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Only hacks count. Coins: BTC ETH" in json.dumps(double.requests[0])
    refused = run(*command, "--provider", "anthropic", "--model", "m", "--guidelines", tmp_path / "no", API_KEY="key")
    assert "guidelines: " in refused.stderr
