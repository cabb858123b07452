"""Fine-tuning with real torch, trl and Ollama, on a model so small that it trains in seconds.

The training environment is not this one (torch is several GB): the testbed makes it once a machine. What is looked at
is what a user sees: exit codes, the progress file, the published model and its answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import ollama
import pytest

from pricecast_core.errors import BadMessageError
from pricecast_core.news.prompt import Answer
from pricecast_core.settings import NewsSignalSettings
from pricecast_core.settings.news_signal import DEFAULT_COINS
from pricecast_news_signal.extractor import UnavailableError
from pricecast_news_signal.reader import Reader
from pricecast_news_signal.readers.ollama import OllamaExtractor
from pricecast_news_signal.registry import open_extractor
from pricecast_testbed import finetune_environment
from tests.unit.news_signal.headlines import HOSTILE
from tests.waiting import eventually

STEPS = 30
TRAINING_SECONDS = 300.0
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finetune_environment.tiny_model(tmp_path_factory.mktemp("tiny") / "model")


class Job:
    """A fine-tuning job with an output folder of its own."""

    def __init__(self, folder: Path, model: Path, **settings: str) -> None:
        self.out = folder / "out"
        self.termination_log = folder / "termination-log"
        self.termination_log.touch()
        self.log = folder / "log"
        self._env = {
            "PIPELINE": "test",
            "HTTP_PORT": "0",
            "BASE_MODEL": str(model),
            "OUTPUT_DIR": str(self.out),
            "TERMINATION_LOG": str(self.termination_log),
            "HELD_OUT": "0.05",
            "REQUIRED_F1": "0",
            "MUST_IMPROVE": "false",
            "MAX_STEPS": str(STEPS),
            "SAVE_STEPS": "5",
            "LEARNING_RATE": "5e-3",
            "THREADS": "1",
            **settings,
        }

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            program = finetune_environment.environment() / "pricecast-finetune"
            return subprocess.Popen([program], env={**os.environ, **self._env, **settings}, stdout=log, stderr=log)

    def run(self, **settings: str) -> int:
        return self.start(**settings).wait(600)

    @property
    def progress(self) -> dict[str, Any]:
        path = self.out / "progress.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    @property
    def result(self) -> dict[str, Any]:
        return dict(json.loads(self.termination_log.read_text()))

    def losses(self) -> list[float]:
        (state,) = (self.out / "checkpoints" / f"checkpoint-{STEPS}").glob("trainer_state.json")
        return [line["loss"] for line in json.loads(state.read_text())["log_history"] if "loss" in line]


@pytest.fixture(scope="session")
def whole(tiny: Path, tmp_path_factory: pytest.TempPathFactory, ollama_url: str) -> Job:
    """A job that ran through undisturbed and published to Ollama."""
    job = Job(
        tmp_path_factory.mktemp("whole"),
        tiny,
        OLLAMA_URL=ollama_url,
        OLLAMA_MODEL="tiny",
        OLLAMA_QUANTIZATION="f16",
        GGUF="q8_0",
    )
    assert job.run() == 0, job.log.read_text()[-4000:]
    return job


def test_a_job_trains_evaluates_and_publishes(whole: Job, ollama_url: str) -> None:
    result = whole.result
    assert result == whole.progress
    assert (result["phase"], result["reason"]) == ("Complete", "Published")
    assert (result["step"], result["total_steps"]) == (STEPS, STEPS)
    assert {"before", "after", "baseline"} <= result.keys()
    losses = whole.losses()
    assert len(losses) == STEPS
    assert sum(losses[-5:]) < sum(losses[:5]) - 1
    assert result["published_model"] in {model.model for model in ollama.Client(host=ollama_url).list().models}
    card = (whole.out / "merged" / "README.md").read_text()
    assert "| lexicon |" in card
    assert (whole.out / "model-q8_0.gguf").stat().st_size > 50_000


def test_killed_in_the_middle_it_goes_on_from_its_checkpoint_and_ends_the_same(
    whole: Job, tiny: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path, tiny)
    process = job.start()
    eventually(lambda: job.progress.get("step", 0) >= 12, seconds=TRAINING_SECONDS)
    process.kill()
    process.wait()
    torn = job.out / "checkpoints" / "checkpoint-99"
    shutil.copytree(max((job.out / "checkpoints").glob("checkpoint-*")), torn)
    (torn / "trainer_state.json").write_text("{")  # as if the kill had come while a checkpoint was written
    assert job.run() == 0, job.log.read_text()[-4000:]
    assert '"resumed_from": ""' in job.log.read_text()
    assert "checkpoint-10" in job.log.read_text()
    assert job.progress["step"] == STEPS
    assert not torn.exists()
    assert job.losses() == pytest.approx(whole.losses(), rel=1e-3)


def test_suspended_it_saves_and_says_so_and_resumed_it_ends_the_same(whole: Job, tiny: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, tiny, SAVE_STEPS="1000")
    process = job.start()
    eventually(lambda: job.progress.get("step", 0) >= 7, seconds=TRAINING_SECONDS)
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 75
    assert 7 <= job.progress["step"] < STEPS
    assert job.progress["phase"] == "Training"
    assert job.run() == 0, job.log.read_text()[-4000:]
    assert job.progress["step"] == STEPS
    assert job.progress["after"] == whole.progress["after"]


def test_a_model_below_the_bar_is_not_published(whole: Job, tmp_path: Path, tiny: Path, ollama_url: str) -> None:
    job = Job(tmp_path, tiny)
    shutil.copytree(whole.out, job.out)  # trained already: only the judgement is made anew
    known = {model.model for model in ollama.Client(host=ollama_url).list().models}
    assert job.run(REQUIRED_F1="0.99", OLLAMA_URL=ollama_url, OLLAMA_MODEL="never") == 78  # never again
    assert job.result["reason"] == "F1TooLow"
    assert "0.990 is required" in job.result["error"]
    assert {model.model for model in ollama.Client(host=ollama_url).list().models} == known


def test_comet_without_a_key_gets_an_archive_of_the_run(tiny: Path, tmp_path: Path) -> None:
    job = Job(tmp_path, tiny, COMET="true", MAX_STEPS="4")
    assert job.run() == 0, job.log.read_text()[-4000:]
    (path,) = (job.out / "comet").glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        told = [json.loads(line)["payload"] for line in archive.read("messages.json").splitlines()]
    metrics = {each["metric"]["metricName"]: each["metric"]["metricValue"] for each in told if "metric" in each}
    assert {"train/loss", "base_f1", "lexicon_f1", "tuned_f1"} <= metrics.keys()
    assert metrics["tuned_f1"] == job.progress["after"]["f1"]
    assert "sentry" not in job.log.read_text()  # nothing is reported to a third party


def test_a_folder_of_another_training_is_refused(whole: Job, tmp_path: Path, tiny: Path) -> None:
    job = Job(tmp_path, tiny)
    shutil.copytree(whole.out, job.out)
    assert job.run(LEARNING_RATE="1e-3") == 78
    assert "output_dir" in job.result["error"]


def test_an_ollama_that_is_away_fails_the_job_and_the_next_start_only_publishes(
    whole: Job, tmp_path: Path, tiny: Path, ollama_url: str
) -> None:
    job = Job(tmp_path, tiny)
    shutil.copytree(whole.out, job.out)
    assert job.run(OLLAMA_URL="http://127.0.0.1:9") == 1
    assert job.result["reason"] == "Publish"
    trained = (job.out / "adapters" / "adapter_model.safetensors").stat().st_mtime_ns
    assert job.run(OLLAMA_URL=ollama_url, OLLAMA_MODEL="later") == 0
    assert job.result["published_model"].startswith("later:")
    assert (job.out / "adapters" / "adapter_model.safetensors").stat().st_mtime_ns == trained


def extractor(url: str, model: str) -> OllamaExtractor:
    return OllamaExtractor(url=url, model=model, coins=DEFAULT_COINS, timeout_seconds=300, num_thread=1)


async def test_the_published_model_reads_hostile_headlines_without_a_word_outside_the_schema(
    whole: Job, ollama_url: str
) -> None:
    reader = Reader(extractor(ollama_url, whole.result["published_model"]), model="tiny", concurrency=2, attempts=1)
    await check_hostile(reader)


async def check_hostile(reader: Reader) -> None:
    """Each hostile headline gives signals of the coins asked about, or a reason for a dead letter."""
    results = await reader.read(HOSTILE)
    await reader.close()
    assert len(results) == len(HOSTILE)
    for result in results:
        assert isinstance(result, Answer | BadMessageError)
        if isinstance(result, Answer):
            assert {item.coin for item in result.news_signals} <= set(DEFAULT_COINS)


async def test_the_published_model_is_read_by_openais_protocol_too(whole: Job, ollama_url: str) -> None:
    settings = NewsSignalSettings(
        pipeline="p", provider="openai", model=whole.result["published_model"], openai_url=f"{ollama_url}/v1"
    )
    await check_hostile(Reader(open_extractor(settings), model="tiny", concurrency=1, attempts=1))


async def test_a_model_that_is_not_there_yet_is_waited_for(ollama_url: str) -> None:
    reader = extractor(ollama_url, "absent:v1")
    with pytest.raises(UnavailableError, match="publish or pull absent:v1"):
        await reader.extract("Bitcoin", 0)
    await reader.close()


def test_a_server_that_is_away_is_told_from_a_bad_answer() -> None:
    with pytest.raises(UnavailableError, match="no answer"):
        asyncio.run(extractor("http://127.0.0.1:9", "m").extract("Bitcoin", 0))
