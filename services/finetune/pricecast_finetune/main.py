"""`pricecast-finetune`: one job from a base model to a published one, resumable at any point.

Exit codes: 0 published, or trained with nothing to publish to; 75 asked to stop, saved, start it again; 78 starting it
again is useless, because a setting is wrong or the F1 below the bar; 1 anything else.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

import msgspec

from pricecast_core import logs
from pricecast_core.errors import BelowBarError, PricecastError, SettingsError, UnfinishedError
from pricecast_core.health import Health
from pricecast_core.news import dataset
from pricecast_core.news.evaluation import Scores
from pricecast_core.service import Stop, run
from pricecast_core.settings import FinetuneSettings
from pricecast_finetune import answers, card, gguf_file, publish, source, training
from pricecast_finetune.models import Backend
from pricecast_finetune.progress import Brief, Progress
from pricecast_finetune.tracking import Tracking

SERVICE = "finetune"
MERGED = "merged"
_SAMPLE = 5
_FINGERPRINT = "settings.json"
_TRAINER = "trained-with"
_IDENTITY = (
    "base_model",
    "base_model_revision",
    "dataset",
    "dataset_split",
    "dataset_revision",
    "coins",
    "held_out",
    "bare_rows",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "lora_target_modules",
    "max_steps",
    "epochs",
    "batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "warmup_steps",
    "max_sequence_length",
    "load_in_4bit",
    "unsloth",
    "seed",
)
"""Settings that make one training another: a folder belongs to one of them."""
log = logs.get(__name__)


def main() -> None:
    """Runs the job."""
    run(SERVICE, FinetuneSettings, work)


def work(settings: FinetuneSettings, health: Health, stop: Stop) -> None:
    """Trains, evaluates and publishes."""
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    progress = Progress(settings.pipeline, settings.output_dir, settings.termination_log)
    health.info("progress", progress.as_dict)
    progress.update(phase="Loading")
    tracking = Tracking(settings)
    try:
        Job(settings, progress, tracking, stop).run()
    except UnfinishedError:
        raise  # not the end: the next start goes on
    except PricecastError as error:
        progress.finish("Failed", _reason(error), str(error))
        raise
    except Exception as error:
        progress.finish("Failed", "Crashed", f"{type(error).__name__}: {error}")
        raise
    finally:
        tracking.end()


def _reason(error: PricecastError) -> str:
    if isinstance(error, BelowBarError):
        return "F1TooLow"
    return "SettingsRefused" if isinstance(error, SettingsError) else type(error).__name__.removesuffix("Error")


class Job:
    """The steps of the job. What a step has left in the output folder isn't done again after a restart.

    Args:
        settings: What is trained, on what, where it goes.
        progress: Is told how far it is.
        tracking: The run in Comet.
        stop: Ends the job at the next safe point.
    """

    def __init__(self, settings: FinetuneSettings, progress: Progress, tracking: Tracking, stop: Stop) -> None:
        self._settings = settings
        self._progress = progress
        self._tracking = tracking
        self._stop = stop
        self._folder = settings.output_dir

    def run(self) -> None:
        """Runs the job to its end.

        Raises:
            UnfinishedError: If asked to stop before.
            BelowBarError: If the F1 isn't what publishing takes.
        """
        settings = self._settings
        self._claim_folder()
        with tempfile.TemporaryDirectory(prefix="pricecast-finetune-") as scratch:
            examples = source.load(settings, Path(scratch))
        trained, held = dataset.split(examples, settings.held_out, settings.seed)
        if not trained or not held:
            raise SettingsError(f"dataset: {len(examples)} headlines are too few to hold out {settings.held_out:.0%}")
        log.info("dataset", training=len(trained), held_out=len(held))
        backend = Backend(settings, trains=not self._is_done("trained"))
        if self._is_done("trained"):  # by an earlier start, whose record of progress this one began anew
            self._progress.update(**training.reached(self._folder / training.CHECKPOINTS))
        scores = {"lexicon": answers.baseline(held, settings.coins)}
        self._progress.update(baseline=Brief.of(scores["lexicon"]))
        scores["base"] = self._evaluate("base", backend, None, held)
        self._progress.update(before=Brief.of(scores["base"]))
        adapters = self._folder / training.ADAPTERS
        if not self._is_done("trained"):
            training.train(backend, settings, trained, self._progress, self._stop)
            self._write(self._folder / _TRAINER, backend.describe().encode())
            self._mark("trained")
            if backend.unsloth:
                self._start_again()
        merged = self._folder / MERGED
        if not self._is_done("merged"):
            self._progress.update(phase="Merging")
            backend.merge(adapters, merged)
            self._mark("merged")
        scores["tuned"] = self._evaluate("tuned", backend, merged, held)
        self._progress.update(after=Brief.of(scores["tuned"]))
        self._tracking.scores(scores)
        tag = settings.version or publish.version(adapters)
        text = card.render(
            settings,
            version=tag,
            trained_on=len(trained),
            held_out=len(held),
            scores=[(name, scores[name]) for name in ("base", "lexicon", "tuned")],
            trained_with=(self._folder / _TRAINER).read_text("utf-8"),
        )
        (merged / "README.md").write_text(text, "utf-8")
        if settings.gguf:
            gguf_file.write(merged, self._folder / f"model-{settings.gguf}.gguf", settings.gguf)
        self._judge(scores["base"], scores["tuned"])
        self._publish(merged, tag, [example.headline for example in held[:_SAMPLE]])

    def _start_again(self) -> None:
        """Goes on as a new program in the same process: without Unsloth, and with all of the GPU's memory."""
        self._check_stop()
        self._tracking.end()
        log.info("starting again without Unsloth")
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (the same program)

    def _claim_folder(self) -> None:
        """Makes sure that what lies in the output folder is this job's."""
        wanted = msgspec.json.encode(self._settings.model_dump(mode="json", include=set(_IDENTITY)), order="sorted")
        path = self._folder / _FINGERPRINT
        if not self._settings.resume:
            for name in (training.CHECKPOINTS, training.ADAPTERS, MERGED):
                shutil.rmtree(self._folder / name, ignore_errors=True)
            for left in (*self._folder.glob(".*ed"), *self._folder.glob("scores-*.json"), path):
                left.unlink(missing_ok=True)
        if path.exists() and path.read_bytes() != wanted:
            raise SettingsError(
                f"output_dir: {self._folder} holds a training with other settings; give an empty folder, or RESUME=false"
            )
        self._write(path, wanted)

    def _evaluate(
        self, name: Literal["base", "tuned"], backend: Backend, folder: Path | None, held: list[dataset.Example]
    ) -> Scores:
        path = self._folder / f"scores-{name}.json"
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=Scores)
        self._progress.update(phase="EvaluatingBase" if name == "base" else "EvaluatingTuned")
        model, tokenizer = backend.load_base() if folder is None else backend.load_folder(folder)
        scores = answers.evaluate(
            model,
            tokenizer,
            held,
            self._settings.coins,
            batch_size=self._settings.evaluation_batch_size,
            stopped=self._stop.is_set,
        )
        self._check_stop()
        self._write(path, msgspec.json.encode(scores))
        log.info("evaluated", model=name, f1=scores.f1, exact_match=scores.exact_match, valid=scores.valid)
        return scores

    def _judge(self, base: Scores, tuned: Scores) -> None:
        settings = self._settings
        if tuned.f1 < settings.required_f1:
            raise BelowBarError(f"F1 is {tuned.f1:.3f} on the held-out part, {settings.required_f1:.3f} is required")
        if settings.must_improve and tuned.f1 <= base.f1:
            raise BelowBarError(f"F1 is {tuned.f1:.3f}, no better than the base model's {base.f1:.3f}")

    def _publish(self, merged: Path, tag: str, sample: list[str]) -> None:
        settings = self._settings
        self._check_stop()
        self._progress.update(phase="Publishing")
        where: list[str] = []
        if settings.ollama_url:
            name = publish.to_ollama(settings, merged, tag, sample)
            self._progress.update(published_model=name)
            self._tracking.published(name)
            where.append(f"Ollama as {name}")
        if settings.hub_repository:
            address = publish.to_hub(settings, merged, tag)
            self._progress.update(published_repository=address)
            where.append(f"the hub at {address}")
        message = f"published to {' and '.join(where)}" if where else f"trained {tag}; nowhere to publish to"
        self._progress.finish("Complete", "Published" if where else "Trained", message)
        log.info(message)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise UnfinishedError(f"stopped in phase {self._progress.record.phase}; what was done is kept")

    def _is_done(self, step: str) -> bool:
        return (self._folder / f".{step}").exists()

    def _mark(self, step: str) -> None:
        self._write(self._folder / f".{step}", b"")

    def _write(self, path: Path, data: bytes) -> None:
        partial = path.with_name(f"{path.name}.partial")
        partial.write_bytes(data)
        partial.replace(path)
