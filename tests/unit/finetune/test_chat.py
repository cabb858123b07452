from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricecast_finetune.chat import Frame, TemplateError, frame

Messages = Sequence[dict[str, str]]


def chatml(messages: Messages) -> str:
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages) + "<|im_start|>assistant\n"


def test_the_frame_is_what_the_template_puts_around_the_messages() -> None:
    shape = frame(chatml)
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    assert shape.render("S", "U") == chatml(messages)
    assert shape.for_ollama() == (
        "<|im_start|>system\n{{ .System }}<|im_end|>\n<|im_start|>user\n{{ .Prompt }}<|im_end|>\n"
        "<|im_start|>assistant\n{{ .Response }}"
    )


def test_a_first_token_that_the_server_adds_is_left_to_it() -> None:
    shape = Frame("<bos>[SYS]", "[INST]", "[/INST]")
    assert shape.for_ollama("<bos>") == "[SYS]{{ .System }}[INST]{{ .Prompt }}[/INST]{{ .Response }}"


def test_braces_in_a_template_are_kept_as_text() -> None:
    assert Frame("{{x}}", "", "").for_ollama().startswith('{{"{{"}}x}}')


@pytest.mark.parametrize(
    "template",
    [
        lambda messages: messages[1]["content"],  # drops the system message
        lambda messages: messages[0]["content"].upper() + messages[1]["content"],
        lambda messages: messages[1]["content"] + messages[0]["content"],
        lambda messages: (messages[0]["content"] + messages[1]["content"]) * 2,
    ],
)
def test_a_template_that_changes_messages_is_refused(template: object) -> None:
    with pytest.raises(TemplateError):
        frame(template)  # type: ignore[arg-type]


@given(st.text(), st.text(), st.text(), st.text(), st.text())
def test_any_frame_is_found_again(before: str, between: str, after: str, system: str, user: str) -> None:
    if "\x02" in before + between + after:
        return

    def template(messages: Messages) -> str:
        return f"{before}{messages[0]['content']}{between}{messages[1]['content']}{after}"

    assert frame(template).render(system, user) == f"{before}{system}{between}{user}{after}"
