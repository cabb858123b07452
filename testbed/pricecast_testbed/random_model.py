"""Run by the training environment: writes a Llama of random weights with a tokenizer of its own.

    python random_model.py FOLDER [tiny | llama-3.2-1b]

The tiny one learns what it is shown within seconds on a CPU. The other has the shape of Llama-3.2-1B: it learns nothing
worth having, but costs what the real one costs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from pricecast_core.news import prompt
from pricecast_core.settings import FinetuneSettings
from pricecast_core.settings.news_signal import DEFAULT_COINS
from pricecast_finetune import source

_START, _END = "<|im_start|>", "<|im_end|>"
_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_WORDS = 2_000
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1_024,
    },
    "llama-3.2-1b": {
        "vocab_size": 128_256,
        "hidden_size": 2_048,
        "intermediate_size": 8_192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0},
        "dtype": "bfloat16",
    },
}


def main(target: Path, shape: str = "tiny") -> None:
    """Writes the model."""
    set_seed(7)
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(target)
    config = LlamaConfig(
        **{"vocab_size": len(tokenizer), **SHAPES[shape]},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config)
    model.to(getattr(torch, SHAPES[shape].get("dtype", "float32"))).save_pretrained(str(target))


def _tokenizer(target: Path) -> Any:
    examples = source.load(FinetuneSettings(), target)  # the package's own
    texts = [text for example in examples for text in (example.headline, prompt.render(example.signals))]
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_WORDS,
        special_tokens=["<|endoftext|>", _START, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([prompt.instruction(DEFAULT_COINS), *texts], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=_START, eos_token=_END, pad_token=_END, model_max_length=1_024
    )
    fast.chat_template = _TEMPLATE
    fast.save_pretrained(str(target))
    return fast


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
