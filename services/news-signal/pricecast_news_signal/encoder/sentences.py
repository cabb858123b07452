"""Headlines as vectors: BERT-like encoders in ONNX, the first token's vector, of length one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from pricecast_core.errors import SettingsError
from pricecast_core.news.prompt import MAX_HEADLINE_CHARACTERS
from pricecast_news_signal.encoder.weights import Weights

MAX_TOKENS = 128
"""Of a headline: what it has to say, it says in the beginning."""
Vector = npt.NDArray[np.float32]


class SentenceEncoder:
    """Turns texts into vectors, one at a time, on one core.

    Args:
        weights: The encoder's files.

    Raises:
        SettingsError: If they are no such encoder, or the programs that run it aren't installed.
    """

    def __init__(self, weights: Weights) -> None:
        try:
            onnxruntime: Any = import_module("onnxruntime")
            tokenizers: Any = import_module("tokenizers")
        except ImportError as error:
            raise SettingsError(
                f"provider: encoder needs {error.name}; install pricecast-news-signal[encoder]"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                weights.model, options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer: Any = tokenizers.Tokenizer.from_buffer(weights.tokenizer)
        except Exception as error:  # neither library has a base for its errors
            raise SettingsError(f"encoder_weights: not an encoder: {str(error).partition(chr(10))[0]}") from None
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        self._inputs = [each.name for each in self._session.get_inputs()]

    def __call__(self, text: str) -> Vector:
        """Returns the vector of a text."""
        shown = text[:MAX_HEADLINE_CHARACTERS].encode("utf-8", "replace").decode()
        encoding = self._tokenizer.encode(shown)
        given = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        output = self._session.run(None, {name: np.array([given[name]], np.int64) for name in self._inputs})[0]
        vector: Vector = output[0] if output.ndim == 2 else output[0, 0]
        return vector / max(float(np.linalg.norm(vector)), 1e-12)
