"""The chat template of a tokenizer as Ollama writes it.

A model answers well only to the prompt that it was trained with, byte by byte, and Ollama's templates are in another
language than Hugging Face's. Since the conversation is always one system message and one headline, the Hugging Face
template is run on two marks and what it puts around them is copied out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

_SYSTEM, _USER = "\x02system\x02", "\x02user\x02"


class TemplateError(ValueError):
    """The chat template treats a conversation in a way that can't be copied."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a chat template puts before, between and after the system message and the headline."""

    before: str
    between: str
    after: str

    def render(self, system: str, user: str) -> str:
        """Returns the whole prompt."""
        return f"{self.before}{system}{self.between}{user}{self.after}"

    def for_ollama(self, bos: str = "") -> str:
        """Returns the frame as a template of Ollama.

        Args:
            bos: A token that the server itself puts first, and that must not be there twice.
        """
        before = _literal(self.before.removeprefix(bos) if bos else self.before)
        return f"{before}{{{{ .System }}}}{_literal(self.between)}{{{{ .Prompt }}}}{_literal(self.after)}{{{{ .Response }}}}"


def frame(apply_chat_template: Callable[[Sequence[dict[str, str]]], str]) -> Frame:
    """Returns the frame of a tokenizer's chat template.

    Args:
        apply_chat_template: Renders messages as text, with the prompt for the answer at the end.

    Raises:
        TemplateError: If the template drops, changes or repeats a message.
    """
    text = apply_chat_template([{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}])
    if text.count(_SYSTEM) != 1 or text.count(_USER) != 1 or text.index(_SYSTEM) > text.index(_USER):
        raise TemplateError("the chat template doesn't keep one system and one user message as they are")
    before, _, rest = text.partition(_SYSTEM)
    between, _, after = rest.partition(_USER)
    return Frame(before, between, after)


def _literal(text: str) -> str:
    return text.replace("{{", '{{"{{"}}')
