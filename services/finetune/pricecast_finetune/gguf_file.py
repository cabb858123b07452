"""A GGUF file of a Llama-architecture model, which llama.cpp, Ollama and their kin read.

Ollama can import safetensors itself, but it doesn't recognise every tokenizer: it then splits words in another way
than the model was trained with, and the F1 falls by a quarter without an error. This writer names the tokenizer. It
covers byte-level BPE vocabularies and plain rotary positions; for anything else it says so, and the import is Ollama's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pricecast_finetune.source import require


class UnsupportedModelError(ValueError):
    """The model is none that this writer knows."""


LAYER_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OTHER_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name: str) -> str:
    """Returns the GGUF name of a tensor.

    Raises:
        UnsupportedModelError: If a Llama has no such tensor.
    """
    stem = name.removesuffix(".weight")
    if stem in OTHER_NAMES:
        return f"{OTHER_NAMES[stem]}.weight"
    parts = stem.split(".", 3)
    if parts[:2] == ["model", "layers"] and len(parts) == 4 and parts[3] in LAYER_NAMES:
        return f"blk.{parts[2]}.{LAYER_NAMES[parts[3]]}.weight"
    raise UnsupportedModelError(f"{name} is no tensor of a Llama")


def permute(weights: Any, heads: int) -> Any:
    """Returns query or key weights with each head's rows in llama.cpp's order for rotary positions.

    Hugging Face keeps the two halves of a rotated pair apart, llama.cpp keeps them together.
    """
    rows, *rest = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, *rest).swapaxes(1, 2).reshape(weights.shape)


def pre_tokenizer(tokenizer: Mapping[str, Any]) -> str:
    """Returns llama.cpp's name of the way a tokenizer splits text before its merges.

    Args:
        tokenizer: The content of `tokenizer.json`.

    Raises:
        UnsupportedModelError: If it is none of the known ones.
    """
    steps = tokenizer.get("pre_tokenizer") or {}
    steps = steps.get("pretokenizers", [steps])
    kinds = [step.get("type") for step in steps]
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and steps[1].get("use_regex", True):
        return "smollm"
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Split", "ByteLevel"] and r"\p{N}{1,3}" in steps[0].get("pattern", {}).get("Regex", ""):
        return "llama-bpe"
    raise UnsupportedModelError(f"the tokenizer splits text by {kinds}, which has no known name in llama.cpp")


def write(folder: Path, target: Path, weights: Literal["f16", "q8_0"]) -> None:
    """Writes the model in a folder of safetensors as one GGUF file.

    Args:
        folder: `config.json`, `tokenizer.json`, `tokenizer_config.json`, safetensors.
        target: The file to write; replaced whole.
        weights: How matrices are stored; vectors stay in 32 bit.

    Raises:
        UnsupportedModelError: If it isn't a plain Llama with a byte-level BPE vocabulary.
    """
    gguf = require("gguf", "train")
    config = json.loads((folder / "config.json").read_bytes())
    tokenizer = json.loads((folder / "tokenizer.json").read_bytes())
    words = json.loads((folder / "tokenizer_config.json").read_bytes())
    _check(config, tokenizer)
    partial = target.with_suffix(".partial")
    writer = gguf.GGUFWriter(str(partial), "llama")
    _describe(writer, config, gguf, weights)
    _vocabulary(writer, config, tokenizer, words, gguf)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    kind = gguf.GGMLQuantizationType[weights.upper()]
    for name, tensor in _tensors(folder):
        values = tensor
        if ".q_proj." in name:
            values = permute(values, heads)
        elif ".k_proj." in name:
            values = permute(values, kv_heads)
        stored = kind if values.ndim > 1 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(target)


def _check(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> None:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if config.get("architectures") != ["LlamaForCausalLM"]:
        raise UnsupportedModelError(f"{config.get('architectures')} is not LlamaForCausalLM")
    if rope.get("rope_type", "default") != "default":
        raise UnsupportedModelError(f"rotary positions of type {rope['rope_type']!r} are not written here")
    if config.get("attention_bias") or config.get("mlp_bias"):
        raise UnsupportedModelError("a Llama with biases is not written here")
    if tokenizer["model"]["type"] != "BPE" or tokenizer["model"].get("byte_fallback"):
        raise UnsupportedModelError("only byte-level BPE vocabularies are written here")


def _describe(writer: Any, config: Mapping[str, Any], gguf: Any, weights: str) -> None:
    rope = config.get("rope_parameters") or {}
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta", 10_000.0)))
    writer.add_rope_dimension_count(config.get("head_dim") or hidden // heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{weights.upper()}"])


def _vocabulary(
    writer: Any, config: Mapping[str, Any], tokenizer: Mapping[str, Any], words: Mapping[str, Any], gguf: Any
) -> None:
    size = config["vocab_size"]
    tokens = [f"[PAD{index}]" for index in range(size)]
    kinds = [gguf.TokenType.UNUSED] * size
    for text, index in tokenizer["model"]["vocab"].items():
        tokens[index], kinds[index] = text, gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["model"]["merges"]]
    ids = {text: index for index, text in enumerate(tokens)}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(tokenizer))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    for add, name in (
        (writer.add_bos_token_id, "bos_token"),
        (writer.add_eos_token_id, "eos_token"),
        (writer.add_pad_token_id, "pad_token"),
    ):
        token = words.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if token in ids:
            add(ids[token])
    writer.add_add_bos_token(False)  # the chat template has written it, where there is one


def _tensors(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yields name and values as 32 bit floats; a tied output matrix is left out, as it is the embedding."""
    torch, safetensors = require("torch", "train"), require("safetensors", "train")
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                yield name, file.get_tensor(name).to(torch.float32).numpy()
