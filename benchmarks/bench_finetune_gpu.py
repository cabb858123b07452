"""What fine-tuning costs on a GPU: Unsloth beside plain transformers, peft and trl; a job killed and resumed; the export.

Each measurement is a process of its own, so that neither patches nor memory of one reach another, and a crash ends only
itself. Whatever trains gets the same base model, the same rows and the same arguments.

- `speed`: the training alone, over four bits and in 16 bit: seconds until the first step, tokens per second of the steps
  after the first ten, peak memory of the GPU, losses; then, in a process of its own, how long merging and the GGUF file
  take. The base model has by default the shape of Llama-3.2-1B and random weights, which cost the same as real ones.
- `job`: `pricecast-finetune` whole, as a FinetuneJob's pod runs it. Once undisturbed; once asked to end (SIGTERM), then
  killed (SIGKILL), started again each time. Both run at once, and must have learnt the same.

It runs without a GPU, too, with `--shape tiny --bits 16`: that shows that everything works, not how fast.

    python -m benchmarks.bench_finetune_gpu --job-model MODEL [--dataset FILE] [--out FILE] [speed job]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pricecast_core.news import dataset
from pricecast_core.service import Stop
from pricecast_core.settings import FinetuneSettings
from pricecast_finetune import gguf_file, source, training
from pricecast_finetune.models import Backend
from pricecast_finetune.progress import FILE, Progress

TRAINERS = ("unsloth", "transformers")
WARM_STEPS = 10
_ROOT = Path(__file__).parents[1]
_RANDOM_MODEL = _ROOT / "testbed" / "pricecast_testbed" / "random_model.py"


class Watch(Progress):
    """Notes when each step was done and its loss."""

    def __init__(self, folder: Path) -> None:
        super().__init__("bench", folder, folder / "none")
        self.started = time.monotonic()
        self.steps: list[tuple[int, float]] = []
        self.losses: list[float] = []

    def update(self, **changes: object) -> None:
        """Notes a step's end."""
        super().update(**changes)
        if isinstance(loss := changes.get("loss"), float):
            self.steps.append((self.record.step, time.monotonic()))
            self.losses.append(loss)


def speed(settings: FinetuneSettings) -> dict[str, Any]:
    """Returns the figures of one training."""
    import torch

    watch = Watch(settings.output_dir)
    backend = Backend(settings)
    examples, _ = dataset.split(source.load(settings, settings.output_dir), settings.held_out, settings.seed)
    training.train(backend, settings, examples, watch, Stop())
    peak, reserved = _memory(torch)
    seconds = [
        end - start
        for (_, start), (_, end) in zip(watch.steps[WARM_STEPS:], watch.steps[WARM_STEPS + 1 :], strict=False)
    ]
    step = statistics.median(seconds)
    tokens = _tokens_of_a_row(backend, settings, examples) * settings.batch_size * settings.gradient_accumulation_steps
    return {
        "trains_with": backend.describe(),
        "seconds_to_first_step": round(watch.steps[0][1] - watch.started, 1),
        "step_ms": round(1_000 * step, 1),
        "tokens_per_step": round(tokens),
        "tokens_per_second": round(tokens / step),
        "peak_mib": peak,
        "peak_reserved_mib": reserved,
        "loss_first": watch.losses[0],
        "loss_last_10": round(statistics.fmean(watch.losses[-10:]), 4),
    }


def export(settings: FinetuneSettings) -> dict[str, Any]:
    """Returns the figures of the files made of what `speed` trained, without Unsloth, as the job makes them."""
    backend = Backend(settings, trains=False)
    merged, start = settings.output_dir / "merged", time.monotonic()
    backend.merge(settings.output_dir / training.ADAPTERS, merged)
    found = {"merge_seconds": round(time.monotonic() - start, 1)}
    file, start = settings.output_dir / f"model-{settings.gguf}.gguf", time.monotonic()
    gguf_file.write(merged, file, settings.gguf)
    return {**found, "gguf_seconds": round(time.monotonic() - start, 1), "gguf_mib": file.stat().st_size >> 20}


def _tokens_of_a_row(backend: Backend, settings: FinetuneSettings, examples: list[dataset.Example]) -> float:
    """Padding isn't counted: how much of it there is differs between trainers."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(backend.base)
    rows = training.rows(examples, settings.coins, settings.bare_rows, settings.seed)
    texts = [tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=False) for row in rows]
    return statistics.fmean(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])


def _memory(torch: Any) -> tuple[int, int]:
    if not torch.cuda.is_available():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        return peak, peak
    return torch.cuda.max_memory_allocated() >> 20, torch.cuda.max_memory_reserved() >> 20


class Job:
    """`pricecast-finetune` with an output folder of its own."""

    def __init__(self, settings: FinetuneSettings) -> None:
        self._out = settings.output_dir
        self._out.mkdir(parents=True, exist_ok=True)
        self._document = self._out.with_suffix(".json")
        self._document.write_text(json.dumps(settings.document()))
        self._log = self._out.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, or starts it again."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from pricecast_finetune.main import main; main()"],
                env={**os.environ, "PRICECAST_SETTINGS": str(self._document)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def end(self, when: Callable[[dict[str, Any]], bool] | None = None, by: signal.Signals | None = None) -> int:
        """Waits for its end, or until a record of progress fits and the signal ends it; returns the exit code."""
        assert self._process is not None
        while when is not None and self._process.poll() is None:
            if when(self.record()):
                assert by is not None
                self._process.send_signal(by)
                break
            time.sleep(0.02)
        return self._process.wait()

    def record(self) -> dict[str, Any]:
        """Returns how far it says it is."""
        path = self._out / FILE
        return dict(json.loads(path.read_bytes())) if path.exists() else {}

    def history(self) -> dict[int, float]:
        """Returns the loss of each step, as the last checkpoint tells it."""
        checkpoint = training.newest_checkpoint(self._out / training.CHECKPOINTS)
        assert checkpoint is not None, self.tail()
        state = json.loads((checkpoint / training.STATE).read_bytes())
        return {row["step"]: row["loss"] for row in state["log_history"] if "loss" in row}

    def events(self, name: str) -> Iterator[dict[str, Any]]:
        """Yields what was logged under a name."""
        for line in self._log.read_text().splitlines():
            if line.startswith("{") and (told := json.loads(line)).get("event") == name:
                yield told

    def tail(self) -> str:
        """Returns the end of its log."""
        return self._log.read_text()[-3_000:]


def jobs(settings: FinetuneSettings) -> dict[str, Any]:
    """Returns how a job ended that was left alone, and one that was disturbed twice."""
    quiet = Job(settings.model_copy(update={"output_dir": settings.output_dir / "quiet"}))
    quiet.start()
    disturbed = Job(settings.model_copy(update={"output_dir": settings.output_dir / "disturbed"}))
    third = settings.max_steps // 3
    disturbed.start()
    found: dict[str, Any] = {}
    found["exit_after_sigterm"] = disturbed.end(lambda record: record.get("step", 0) >= third, signal.SIGTERM)
    found["stopped_at"] = disturbed.record().get("step")
    disturbed.start()
    found["exit_after_sigkill"] = disturbed.end(
        lambda record: record.get("step", 0) >= 2 * third and record.get("phase") == "Training", signal.SIGKILL
    )
    found["killed_at"] = disturbed.record().get("step")
    disturbed.start()
    for name, job in (("exit_disturbed", disturbed), ("exit", quiet)):
        found[name] = job.end()
        if found[name]:
            return {**found, "exit": found[name], "log": job.tail()}
    found["record"] = quiet.record()
    found["resumed_from"] = [Path(told["resumed_from"]).name for told in disturbed.events("training")]
    ours, theirs = quiet.history(), disturbed.history()
    found["losses_of_the_last_steps"] = [list(history.values())[-3:] for history in (ours, theirs)]
    found["largest_difference_of_a_loss"] = max(abs(ours[step] - theirs[step]) for step in ours)
    found["disturbed_record"] = disturbed.record()
    return found


MEASUREMENTS = {"speed": speed, "export": export, "job": jobs}


def measure(kind: str, settings: FinetuneSettings) -> dict[str, Any]:
    """Has one measurement made by a process of its own, and returns what it found or how it failed."""
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    path, log = settings.output_dir / "settings.json", settings.output_dir / f"{kind}.log"
    path.write_text(json.dumps(settings.document()))
    with log.open("wb") as errors:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.bench_finetune_gpu", "--settings", str(path), "--measure", kind],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return {"exit": done.returncode, "log": (log.read_text(errors="replace") + done.stdout)[-4_000:]}
    return dict(json.loads(lines[-1]))


def _settings(options: argparse.Namespace, trainer: str, folder: Path, **others: Any) -> FinetuneSettings:
    return FinetuneSettings.model_validate(
        {
            "http_port": 0,
            "dataset": str(options.dataset) if options.dataset else "",
            "max_steps": options.steps,
            "batch_size": options.batch_size,
            "unsloth": trainer == "unsloth",
            "required_f1": 0,
            "must_improve": False,
            "output_dir": str(folder),
            **others,
        }
    )


def main() -> int:
    """Measures and prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["speed", "job", []], help="both by default")
    parser.add_argument("--trainers", nargs="+", choices=TRAINERS, default=TRAINERS)
    parser.add_argument(
        "--bits", nargs="+", type=int, choices=[4, 16], default=[4, 16], help="of the base model, in speed"
    )
    parser.add_argument(
        "--model", help="base model of speed: folder, GGUF file or name on the hub; else random weights"
    )
    parser.add_argument("--shape", choices=["tiny", "llama-3.2-1b"], default="llama-3.2-1b", help="of random weights")
    parser.add_argument("--job-model", help="base model of the job; by default the one of speed")
    parser.add_argument("--dataset", type=Path, help="labelled headlines; by default the package's own")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument(
        "--work", type=Path, default=Path(".pricecast/bench-finetune"), help="folder for models and logs"
    )
    parser.add_argument("--out", type=Path, help="also write the figures to this file, after each measurement")
    parser.add_argument("--settings", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.settings:
        settings = FinetuneSettings.model_validate_json(options.settings.read_bytes())
        print(json.dumps(MEASUREMENTS[options.measure](settings)))
        return 0
    model = options.model or _random_model(options.work / options.shape, options.shape)
    found: dict[str, Any] = {}
    for part in options.parts or ("speed", "job"):
        for trainer in options.trainers:
            for bits in options.bits if part == "speed" else [options.bits[0]]:
                base = options.job_model or model if part == "job" else model
                name = f"{part}, {trainer}, {bits} bit"
                print(f"{name} ...", file=sys.stderr, flush=True)
                folder = options.work / f"{part}-{trainer}-{bits}"
                shutil.rmtree(folder, ignore_errors=True)  # of another run, which it would go on with
                chosen = _settings(
                    options,
                    trainer,
                    folder,
                    base_model=str(base),
                    load_in_4bit=bits == 4,
                    save_steps=max(2, options.steps // 6) if part == "job" else 1_000_000,
                    gguf="q8_0" if bits == options.bits[0] else "",  # the export is the same whatever was trained
                )
                found[name] = measure(part, chosen)
                if part == "speed" and chosen.gguf and not found[name].get("exit"):
                    found[name] |= measure("export", chosen)
                if options.out:
                    options.out.write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))
    return int(any(figures.get("exit") for figures in found.values()))


def _random_model(folder: Path, shape: str) -> Path:
    if not (folder / "config.json").exists():
        subprocess.run([sys.executable, str(_RANDOM_MODEL), str(folder), shape], check=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
