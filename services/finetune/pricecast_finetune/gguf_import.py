"""A base model that is there as a GGUF file: turned back into a folder that transformers can train on.

Small models often come as GGUF alone. The weights are dequantised, so what was lost in quantising stays lost. This is
the reverse of `gguf_file`, for the same kind of model; transformers' own import doesn't let the model be saved again
and takes the wrong end token from some files.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pricecast_core.errors import SettingsError
from pricecast_finetune.gguf_file import LAYER_NAMES, OTHER_NAMES
from pricecast_finetune.source import require

_LAYER = {short: long for long, short in LAYER_NAMES.items()}
_OTHER = {short: long for long, short in OTHER_NAMES.items()}
_DIGITS = {"type": "Digits", "individual_digits": True}
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    "smollm": [_DIGITS, _BYTES],
    "gpt-2": [_BYTES],
    "llama-bpe": [
        {"type": "Split", "pattern": {"Regex": _LLAMA3}, "behavior": "Isolated", "invert": False},
        _BYTES | {"use_regex": False},
    ],
}


def huggingface_name(name: str) -> str:
    """Returns transformers' name of a GGUF tensor: the reverse of `gguf_file.gguf_name`."""
    stem = name.removesuffix(".weight")
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    if match is not None and match[2] in _LAYER:
        return f"model.layers.{match[1]}.{_LAYER[match[2]]}.weight"
    if stem in _OTHER:
        return f"{_OTHER[stem]}.weight"
    raise SettingsError(f"base_model: the GGUF file has a tensor {name}, which is none of a Llama's")


def unpermute(weights: Any, heads: int) -> Any:
    """Returns query or key weights with each head's rows in transformers' order: the reverse of `gguf_file.permute`."""
    rows, *rest = weights.shape
    return weights.reshape(heads, rows // heads // 2, 2, *rest).swapaxes(1, 2).reshape(weights.shape)


def convert(path: Path, target: Path) -> None:
    """Writes the model in a GGUF file as a folder of safetensors with its tokenizer.

    Raises:
        SettingsError: If it isn't a Llama with a byte-level BPE vocabulary.
    """
    gguf = require("gguf", "train")
    reader = gguf.GGUFReader(str(path))
    fields = {key: field.contents() for key, field in reader.fields.items()}
    kind, vocabulary = fields.get("general.architecture"), fields.get("tokenizer.ggml.model")
    if (kind, vocabulary) != ("llama", "gpt2") or fields.get("tokenizer.ggml.pre") not in _PRE_TOKENIZERS:
        raise SettingsError(
            f"base_model: {path} is {kind!r} with tokenizer {vocabulary!r}/{fields.get('tokenizer.ggml.pre')!r}; "
            "only Llamas with byte-level BPE are read from GGUF, give the safetensors folder instead"
        )
    _save_model(reader, fields, target)
    _save_tokenizer(fields, target)


def _save_model(reader: Any, fields: dict[str, Any], target: Path) -> None:
    torch, transformers = require("torch", "train"), require("transformers", "train")
    dequantize = require("gguf", "train").quants.dequantize
    heads, kv_heads = fields["llama.attention.head_count"], fields["llama.attention.head_count_kv"]
    state = {}
    for tensor in reader.tensors:
        weights = dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in tensor.name:
            weights = unpermute(weights, heads)
        elif ".attn_k." in tensor.name:
            weights = unpermute(weights, kv_heads)
        state[huggingface_name(tensor.name)] = torch.tensor(weights, dtype=torch.float32)
    eos = fields["tokenizer.ggml.eos_token_id"]
    config = transformers.LlamaConfig(
        vocab_size=len(fields["tokenizer.ggml.tokens"]),
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=fields["llama.attention.layer_norm_rms_epsilon"],
        rope_theta=fields["llama.rope.freq_base"],
        tie_word_embeddings="lm_head.weight" not in state,
        bos_token_id=fields.get("tokenizer.ggml.bos_token_id", eos),
        eos_token_id=eos,
        pad_token_id=eos,
    )
    model = transformers.LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise SettingsError(f"base_model: the GGUF file lacks {sorted(missing)[:3]} or has too much: {unexpected[:3]}")
    model.tie_weights()
    model.to(torch.bfloat16).save_pretrained(str(target))


def _save_tokenizer(fields: dict[str, Any], target: Path) -> None:
    transformers = require("transformers", "train")
    control = int(require("gguf", "train").TokenType.CONTROL)
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": index, "content": token, **plain}
            for index, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
            if kind == control
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _PRE_TOKENIZERS[fields["tokenizer.ggml.pre"]]},
        "post_processor": None,
        "decoder": _BYTES,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": fields["tokenizer.ggml.pre"] == "llama-bpe",
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"]],
        },
    }
    file = target / "tokenizer.json"
    file.write_text(json.dumps(description, ensure_ascii=False), "utf-8")
    eos = tokens[fields["tokenizer.ggml.eos_token_id"]]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(file),
        bos_token=tokens[fields.get("tokenizer.ggml.bos_token_id", fields["tokenizer.ggml.eos_token_id"])],
        eos_token=eos,
        pad_token=eos,
        clean_up_tokenization_spaces=False,
        model_max_length=fields["llama.context_length"],
    )
    tokenizer.chat_template = fields.get("tokenizer.chat_template")
    tokenizer.save_pretrained(str(target))
