"""Loading language models: by Unsloth on a CUDA GPU, by transformers and peft anywhere else, with the same arguments.

Nothing here is imported before it is needed: Unsloth refuses to be imported without a GPU and must come before
transformers where there is one, and torch takes seconds.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from pricecast_core import logs
from pricecast_core.errors import SettingsError, SourceError
from pricecast_core.settings import FinetuneSettings
from pricecast_finetune import gguf_import
from pricecast_finetune.source import require

log = logs.get(__name__)


def adapters(settings: FinetuneSettings) -> dict[str, Any]:
    """Returns what the adapters are like, in the words that peft and Unsloth share."""
    return {
        "r": settings.lora_rank,
        "lora_alpha": settings.lora_alpha,
        "lora_dropout": settings.lora_dropout,
        "target_modules": settings.lora_target_modules,
        "bias": "none",
    }


class Backend:
    """What trains: the device, the number format, Unsloth or not.

    Args:
        settings: Threads, and how the base model is held while training.
        trains: Whether there is still something to train. Unsloth changes what transformers' classes do in the whole
            process, for models that it didn't load, too; so it is kept out of one that only merges and evaluates.
    """

    def __init__(self, settings: FinetuneSettings, *, trains: bool = True) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin starve each other on shared cores
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        os.environ.setdefault("TQDM_DISABLE", "1")  # progress is told in one place, not by bars in a log
        logging.getLogger("gguf").setLevel("WARNING")
        if Path(settings.base_model).exists():
            os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing to ask the hub about
        self._settings = settings
        self._torch = require("torch", "train")
        self.cuda = bool(self._torch.cuda.is_available())
        self.unsloth = trains and settings.unsloth and self.cuda and importlib.util.find_spec("unsloth") is not None
        if self.unsloth:
            # the sources that it generates: not into the working directory, which a pod can't write
            os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(settings.output_dir.absolute() / ".unsloth"))
            require("unsloth", "gpu")  # before transformers, which it patches
        if settings.threads:
            self._torch.set_num_threads(settings.threads)
        self._torch.manual_seed(settings.seed)
        self.dtype = self._torch.bfloat16 if self._fast_bf16() else self._torch.float32
        self.four_bit = settings.load_in_4bit and self.cuda
        self.base = self._find_base()

    def describe(self) -> str:
        """Returns in words what trains."""
        device = self._torch.cuda.get_device_name(0) if self.cuda else f"{self._torch.get_num_threads()} CPU threads"
        tool = "Unsloth" if self.unsloth else "transformers, peft and trl"
        return f"{tool} on {device}, {str(self.dtype).removeprefix('torch.')}{', 4 bit' if self.four_bit else ''}"

    def load_for_training(self) -> tuple[Any, Any]:
        """Returns the base model with fresh adapters, and its tokenizer."""
        settings = self._settings
        if self.unsloth:
            fast = require("unsloth", "gpu").FastLanguageModel
            model, tokenizer = fast.from_pretrained(
                model_name=self.base,
                revision=settings.base_model_revision or None,
                max_seq_length=settings.max_sequence_length,
                load_in_4bit=self.four_bit,
                token=self._token(),
            )
            model = fast.get_peft_model(
                model, use_gradient_checkpointing="unsloth", random_state=settings.seed, **adapters(settings)
            )
            return model, tokenizer
        peft = require("peft", "train")
        model, tokenizer = self.load_base(four_bit=self.four_bit)
        if self.four_bit:
            model = peft.prepare_model_for_kbit_training(model)
        lora = peft.LoraConfig(task_type="CAUSAL_LM", **adapters(settings))
        self._torch.manual_seed(settings.seed)  # the adapters' first weights
        return peft.get_peft_model(model, lora), tokenizer

    def load_base(self, *, four_bit: bool = False) -> tuple[Any, Any]:
        """Returns the base model as it is, and its tokenizer."""
        return self._load(self.base, self._settings.base_model_revision, four_bit=four_bit)

    def load_folder(self, folder: Path) -> tuple[Any, Any]:
        """Returns a model that was saved here, and its tokenizer."""
        return self._load(str(folder), "", four_bit=False)

    def merge(self, adapters: Path, target: Path) -> None:
        """Writes the base model with the adapters' weights added, as safetensors.

        The base is loaded anew in 16 bit: adapters trained over four bits are merged into the weights they stand for.
        """
        peft = require("peft", "train")
        base, tokenizer = self.load_base()
        merged = peft.PeftModel.from_pretrained(base, str(adapters)).merge_and_unload()
        merged.to(self._torch.bfloat16).save_pretrained(str(target), safe_serialization=True)
        tokenizer.save_pretrained(str(target))

    def _find_base(self) -> str:
        """Returns the hub's name or the folder of the base model; a GGUF file is unpacked into one."""
        path = Path(self._settings.base_model)
        if path.suffix != ".gguf":
            return self._settings.base_model
        if not path.exists():
            raise SettingsError(f"base_model: {path} is not there")
        folder = self._settings.output_dir / "base"
        if not folder.exists():
            partial = folder.with_name("base.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            gguf_import.convert(path, partial)
            partial.rename(folder)
        return str(folder)

    def _load(self, name: str, revision: str, *, four_bit: bool) -> tuple[Any, Any]:
        transformers = require("transformers", "train")
        options: dict[str, Any] = {"revision": revision or None, "token": self._token()}
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
            if four_bit:
                options["quantization_config"] = transformers.BitsAndBytesConfig(
                    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=self.dtype
                )
            model = transformers.AutoModelForCausalLM.from_pretrained(
                name,
                dtype=self.dtype,
                device_map="cuda" if self.cuda else None,
                attn_implementation=None if self.cuda else "eager",  # torch's fused one is slow backwards on a CPU
                **options,
            )
        except (OSError, ValueError) as error:
            kind = SettingsError if Path(name).exists() else SourceError
            raise kind(f"base_model: {name} can't be loaded: {error}") from None
        if tokenizer.chat_template is None:
            raise SettingsError(f"base_model: {name} has no chat template; take an instruct model")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return model, tokenizer

    def _token(self) -> str | None:
        return self._settings.hub_token.get_secret_value() if self._settings.hub_token else None

    def _fast_bf16(self) -> bool:
        if self.cuda:
            return bool(self._torch.cuda.is_bf16_supported())
        try:
            return bool(self._torch.ops.mkldnn._is_mkldnn_bf16_supported())
        except (AttributeError, RuntimeError):
            return False
