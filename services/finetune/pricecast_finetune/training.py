"""The training itself: trl's SFTTrainer on prompt and completion, with checkpoints that survive any end.

Only the completion is trained on: the loss of the prompt, which is nearly the same in every row, would drown it. A
checkpoint counts once its `trainer_state.json`, which is written last, is whole; a killed run may leave one without.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pricecast_core import logs
from pricecast_core.errors import UnfinishedError
from pricecast_core.news import prompt
from pricecast_core.news.dataset import Example
from pricecast_core.service import Stop
from pricecast_core.settings import FinetuneSettings
from pricecast_finetune.models import Backend
from pricecast_finetune.progress import Clock, Progress
from pricecast_finetune.source import require

STATE = "trainer_state.json"
ADAPTERS = "adapters"
CHECKPOINTS = "checkpoints"
log = logs.get(__name__)


def rows(
    examples: Sequence[Example], coins: Sequence[str], bare: float, seed: int
) -> list[dict[str, list[dict[str, str]]]]:
    """Returns the examples as conversations: the prompt of serving, and the right answer, its coins in one order.

    Args:
        examples: Labelled headlines.
        coins: The coins asked about.
        bare: Share of the examples that come once more without the lexicon's guess. To give the guess back is right so
            often that a model which always has it learns little else.
        seed: Equal seeds choose the same ones, which a training that resumes needs.
    """
    chance = random.Random(seed)  # noqa: S311 (no secret)
    found = [_row(example, coins, guess=True) for example in examples]
    return found + [_row(example, coins, guess=False) for example in examples if chance.random() < bare]


def _row(example: Example, coins: Sequence[str], *, guess: bool) -> dict[str, list[dict[str, str]]]:
    answer = prompt.render({coin: example.signals[coin] for coin in coins if coin in example.signals})
    return {
        "prompt": prompt.messages(example.headline, coins, guess=guess),
        "completion": [{"role": "assistant", "content": answer}],
    }


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the newest whole checkpoint, and deletes those that a killed run left half-written."""
    whole: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        try:
            step = int(json.loads((path / STATE).read_bytes())["global_step"])
        except (OSError, ValueError, KeyError):
            log.warning("deleting a checkpoint that was not finished", path=str(path))
            shutil.rmtree(path, ignore_errors=True)
            continue
        whole.append((step, path))
    return max(whole)[1] if whole else None


def reached(folder: Path) -> dict[str, Any]:
    """Returns what the newest checkpoint says of the training, in the words of the record of progress."""
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None:
        return {}
    state = json.loads((checkpoint / STATE).read_bytes())
    losses = [row["loss"] for row in state.get("log_history", []) if "loss" in row]
    found = {"step": state["global_step"], "total_steps": state["max_steps"]}
    return found | ({"loss": round(float(losses[-1]), 5)} if losses else {})


def train(
    backend: Backend, settings: FinetuneSettings, examples: Sequence[Example], progress: Progress, stop: Stop
) -> Path:
    """Trains the adapters and returns the folder that they were saved in.

    Goes on from the newest checkpoint, with the optimizer, the schedule, the order of the rows and the random numbers
    as they were.

    Raises:
        UnfinishedError: If asked to stop; a checkpoint of the last step is saved.
    """
    folder = settings.output_dir / CHECKPOINTS
    checkpoint = newest_checkpoint(folder) if settings.resume else None
    model, tokenizer = backend.load_for_training()
    data = rows(examples, settings.coins, settings.bare_rows, settings.seed)
    trainer = _trainer(backend, settings, model, tokenizer, data)
    trainer.remove_callback(require("transformers", "train").PrinterCallback)  # our logs are JSON
    trainer.add_callback(_callback(progress, stop))
    log.info("training", with_=backend.describe(), resumed_from=str(checkpoint) if checkpoint else "")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.state.global_step < trainer.state.max_steps:
        raise UnfinishedError(f"stopped at step {trainer.state.global_step} of {trainer.state.max_steps}; it is saved")
    target = settings.output_dir / ADAPTERS
    trainer.save_model(str(target))
    return target


def arguments(settings: FinetuneSettings, *, cuda: bool, unsloth: bool, bf16: bool) -> dict[str, Any]:
    """Returns the arguments of trl's SFTConfig: one set, whatever trains.

    Args:
        settings: What was asked for.
        cuda: Whether a GPU trains.
        unsloth: Whether Unsloth does; it brings an optimizer that keeps its state in 8 bit.
        bf16: Whether a GPU computes in bfloat16. On a CPU the weights themselves are that where it is fast, the
            adapters never are.
    """
    return {
        "output_dir": str(settings.output_dir / CHECKPOINTS),
        "max_steps": settings.max_steps or -1,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation_steps,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": settings.warmup_steps,
        "optim": "adamw_8bit" if unsloth else "adamw_torch",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "max_length": settings.max_sequence_length,
        "packing": False,
        "completion_only_loss": True,
        # neither holds the logits of a whole batch; the chunked one would bypass Unsloth's own
        "loss_type": "nll" if unsloth else "chunked_nll",
        "gradient_checkpointing": cuda,
        "bf16": cuda and bf16,
        "fp16": cuda and not bf16,
        "use_cpu": not cuda,
        "logging_steps": settings.logging_steps,
        "save_strategy": "steps",
        "save_steps": settings.save_steps,
        "save_total_limit": 2,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "dataloader_num_workers": 0,
        "include_num_input_tokens_seen": "all",
        "report_to": ["comet_ml"] if settings.comet else [],
        "disable_tqdm": True,
    }


def _trainer(backend: Backend, settings: FinetuneSettings, model: Any, tokenizer: Any, data: list[Any]) -> Any:
    trl, datasets = require("trl", "train"), require("datasets", "train")
    chosen = arguments(
        settings, cuda=backend.cuda, unsloth=backend.unsloth, bf16=backend.dtype == require("torch", "train").bfloat16
    )
    trainer = trl.SFTTrainer(
        model=model,
        args=trl.SFTConfig(**chosen),
        train_dataset=datasets.Dataset.from_list(data),
        processing_class=tokenizer,
    )
    if backend.four_bit and not backend.unsloth:
        # trl makes the adapters over a quantized model bfloat16, but a checkpoint's are loaded as float32: a training
        # that resumes would go on with other numbers than one left alone
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return trainer


def _callback(progress: Progress, stop: Stop) -> Any:
    transformers = require("transformers", "train")

    class Report(transformers.TrainerCallback):  # type: ignore[misc, name-defined, unused-ignore]  # untyped
        """Tells how far the training is, and ends it at a step's end when the process is asked to stop."""

        def __init__(self) -> None:
            self._clock = Clock(0)
            self._tokens = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self._clock = Clock(state.global_step)
            self._tokens = state.num_input_tokens_seen
            progress.update(phase="Training", step=state.global_step, total_steps=state.max_steps)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            if stop.is_set() and state.global_step < state.max_steps:
                control.should_save = True
                control.should_training_stop = True
            return control

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            changes: dict[str, Any] = {"step": state.global_step, "total_steps": state.max_steps}
            if logs and "loss" in logs:
                changes["loss"] = round(float(logs["loss"]), 5)
            progress.update(
                **changes,
                eta_seconds=self._clock.eta(state.global_step, state.max_steps),
                tokens_per_second=self._clock.per_second(state.num_input_tokens_seen - self._tokens),
            )

    return Report()
