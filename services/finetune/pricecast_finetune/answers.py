"""What a model answers to headlines, measured: greedy, in batches, without a schema to help it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pricecast_core.errors import BadMessageError
from pricecast_core.news import lexicon, prompt
from pricecast_core.news.dataset import Example
from pricecast_core.news.evaluation import Scores, score
from pricecast_core.news.lexicon import Signal
from pricecast_finetune.source import require

MAX_ANSWER_TOKENS = 160


def evaluate(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    coins: Sequence[str],
    *,
    batch_size: int,
    stopped: Callable[[], bool] = lambda: False,
) -> Scores:
    """Returns the scores of a model.

    Args:
        model: Of transformers.
        tokenizer: Its tokenizer.
        examples: Labelled headlines.
        coins: The coins asked about.
        batch_size: Headlines answered at once.
        stopped: Asked before each batch; the rest is then left out and counts as unanswered.
    """
    torch = require("torch", "train")
    side, tokenizer.padding_side = tokenizer.padding_side, "left"
    model.eval()
    answers: list[Mapping[str, Signal] | None] = []
    # like lengths together: less padding
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].headline))
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            if stopped():
                break
            batch = [examples[index].headline for index in order[start : start + batch_size]]
            answers += [parse(text, coins) for text in _generate(model, tokenizer, batch, coins)]
    tokenizer.padding_side = side
    answers += [None] * (len(order) - len(answers))
    return score(zip((examples[index].signals for index in order), answers, strict=True))


def baseline(examples: Sequence[Example], coins: Sequence[str]) -> Scores:
    """Returns the scores of the lexicon."""
    return score((example.signals, lexicon.read(example.headline, coins)) for example in examples)


def parse(text: str, coins: Sequence[str]) -> dict[str, Signal] | None:
    """Returns the signals in an answer, or None where it is outside the schema."""
    try:
        return {item.coin: item.signal for item in prompt.parse(text.strip(), coins).news_signals}
    except BadMessageError:
        return None


def is_over(text: str) -> bool:
    """Returns whether nothing that may follow matters: the object is closed, or it never was one."""
    text = text.strip()
    return bool(text) and (text[0] != "{" or text.count("{") <= text.count("}"))


def _generate(model: Any, tokenizer: Any, headlines: Sequence[str], coins: Sequence[str]) -> list[str]:
    inputs = tokenizer.apply_chat_template(
        [prompt.messages(headline, coins) for headline in headlines],
        add_generation_prompt=True,
        padding=True,
        return_tensors="pt",
        return_dict=True,
    ).to(model.device)
    width = inputs["input_ids"].shape[1]
    output = model.generate(
        **inputs,
        max_new_tokens=MAX_ANSWER_TOKENS,
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        repetition_penalty=1.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        stopping_criteria=_stop_early(tokenizer, width),
    )
    return [str(text) for text in tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)]


def _stop_early(tokenizer: Any, width: int) -> Any:
    """A base model rambles on to the limit; an answer that can't become valid is cut off at once."""
    torch, transformers = require("torch", "train"), require("transformers", "train")

    def criterion(ids: Any, scores: Any, **kwargs: Any) -> Any:
        texts = tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True)
        return torch.tensor([is_over(text) for text in texts], dtype=torch.bool, device=ids.device)

    return transformers.StoppingCriteriaList([criterion])
