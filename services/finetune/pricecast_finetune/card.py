"""The model card: what it is, what it learnt from, what it reached, beside what it has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from pricecast_core.news.evaluation import Scores
from pricecast_core.settings import FinetuneSettings


def render(
    settings: FinetuneSettings,
    *,
    version: str,
    trained_on: int,
    held_out: int,
    scores: Sequence[tuple[str, Scores]],
    trained_with: str,
) -> str:
    """Returns the card in Markdown, with the hub's metadata at its head."""
    lines = [
        "---",
        f"base_model: {settings.base_model}",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [crypto, news, lora, pricecast]",
        "---",
        f"# {settings.ollama_model} {version}",
        "",
        'Reads a headline and says which coins it moves and how: `{"news_signals":[{"coin":"BTC","signal":1}]}`.',
        "",
        f"- Fine-tuned from `{settings.base_model}` with LoRA, rank {settings.lora_rank}, alpha {settings.lora_alpha}.",
        f"- Learnt from {trained_on} headlines of `{settings.dataset or 'the set that comes with pricecast-finetune'}`.",
        f"- Trained with {trained_with}; learning rate {settings.learning_rate}, seed {settings.seed}.",
        f"- Coins: {', '.join(settings.coins)}.",
        "",
        f"## On {held_out} held-out headlines",
        "Micro F1 over coin and signal; greedy answers, without a schema to help.",
        "",
        "| reader | F1 | F1 of -1 | F1 of 1 | exact | valid |",
        "|---|---|---|---|---|---|",
    ]
    for name, score in scores:
        cells = (score.f1, score.f1_by_signal["-1"], score.f1_by_signal["1"], score.exact_match, score.valid)
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in cells) + " |")
    lines += [
        "",
        "## Limits",
        "Labels are opinions of a larger model, not market reactions. Nothing here is advice.",
        "",
    ]
    return "\n".join(lines)
