from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_finetune.gguf_file import UnsupportedModelError, gguf_name, permute, pre_tokenizer
from pricecast_finetune.gguf_import import huggingface_name, unpermute


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.12.self_attn.q_proj.weight", "blk.12.attn_q.weight"),
        ("model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight"),
        ("model.norm.weight", "output_norm.weight"),
        ("lm_head.weight", "output.weight"),
    ],
)
def test_tensors_have_their_names_in_both_worlds(name: str, expected: str) -> None:
    assert gguf_name(name) == expected
    assert huggingface_name(expected) == name


def test_a_tensor_of_another_architecture_is_refused() -> None:
    with pytest.raises(UnsupportedModelError):
        gguf_name("model.layers.0.mlp.experts.0.w1.weight")


@given(heads=st.integers(1, 4), pairs=st.integers(1, 4), columns=st.integers(1, 5))
def test_the_order_of_rows_is_restored(heads: int, pairs: int, columns: int) -> None:
    weights = np.arange(heads * pairs * 2 * columns, dtype=np.float32).reshape(-1, columns)
    assert (unpermute(permute(weights, heads), heads) == weights).all()


def test_rotated_pairs_lie_together_in_llama_cpp() -> None:
    """transformers rotates row i with row i + half, llama.cpp row 2i with row 2i + 1."""
    assert permute(np.arange(8.0).reshape(8, 1), 2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


BYTES = {"type": "ByteLevel", "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ({"type": "Sequence", "pretokenizers": [DIGITS, BYTES]}, "smollm"),
        (BYTES, "gpt-2"),
        (
            {
                "type": "Sequence",
                "pretokenizers": [{"type": "Split", "pattern": {"Regex": r"\p{L}+|\p{N}{1,3}"}}, BYTES],
            },
            "llama-bpe",
        ),
    ],
)
def test_known_ways_to_split_text_are_named(steps: dict[str, object], name: str) -> None:
    assert pre_tokenizer({"pre_tokenizer": steps}) == name


@pytest.mark.parametrize("steps", [None, {"type": "Whitespace"}, {"type": "Sequence", "pretokenizers": [DIGITS]}])
def test_an_unknown_way_to_split_text_is_refused(steps: object) -> None:
    with pytest.raises(UnsupportedModelError):
        pre_tokenizer({"pre_tokenizer": steps})
