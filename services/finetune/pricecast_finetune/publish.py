"""Where the model goes: to Ollama under a versioned name, and to the Hugging Face hub.

What Ollama serves must be what was measured. So after the import the server is asked about a few headlines, and the
number of tokens that it counts in the prompt must be the tokenizer's: a wrong template, a doubled first token or a
tokenizer that it didn't recognise all show there, and the model is taken back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import ollama

from pricecast_core import logs
from pricecast_core.errors import PricecastError, SettingsError
from pricecast_core.news import prompt
from pricecast_core.settings import FinetuneSettings
from pricecast_finetune import gguf_file
from pricecast_finetune.chat import TemplateError, frame
from pricecast_finetune.source import require

CONTEXT_TOKENS = 2_048
_TIMEOUT_SECONDS = 1_800.0
log = logs.get(__name__)


class PublishError(PricecastError):
    """The model could not be published, or what was published isn't what was trained."""


def version(adapters: Path) -> str:
    """Returns the version of trained adapters: equal weights have equal versions, so a retry publishes nothing twice."""
    digest = hashlib.sha256()
    for path in sorted(adapters.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return f"v{digest.hexdigest()[:10]}"


def to_ollama(settings: FinetuneSettings, merged: Path, tag: str, headlines: Sequence[str]) -> str:
    """Publishes to Ollama and returns the model's name with its tag.

    Args:
        settings: Where to, and how it stores the weights.
        merged: Folder of the merged model.
        tag: The version.
        headlines: A few, to compare the prompts by.

    Raises:
        PublishError: If the server refuses, or reads prompts in another way than the tokenizer.
    """
    tokenizer = require("transformers", "train").AutoTokenizer.from_pretrained(str(merged))
    name = f"{settings.ollama_model}:{tag}"
    client = ollama.Client(host=settings.ollama_url, timeout=_TIMEOUT_SECONDS)
    try:
        _create(client, name, settings, merged, tokenizer)
        _verify(client, name, tokenizer, headlines, settings.coins)
    except ollama.ResponseError as error:
        raise PublishError(f"ollama at {settings.ollama_url}: {error.error} ({error.status_code})") from None
    except (ConnectionError, httpx.HTTPError) as error:
        raise PublishError(f"ollama at {settings.ollama_url} can't be reached: {type(error).__name__}") from None
    return name


def to_hub(settings: FinetuneSettings, merged: Path, tag: str) -> str:
    """Publishes the merged model and its card to the hub and returns the address.

    Raises:
        PublishError: If the hub refuses.
    """
    hub = require("huggingface_hub", "train")
    if settings.hub_token is None:
        raise SettingsError("HUB_TOKEN: is not set; the hub needs one to publish")
    api = hub.HfApi(token=settings.hub_token.get_secret_value())
    try:
        api.create_repo(settings.hub_repository, private=settings.hub_private, exist_ok=True)
        api.upload_folder(repo_id=settings.hub_repository, folder_path=str(merged), commit_message=f"pricecast {tag}")
        api.create_tag(settings.hub_repository, tag=tag, exist_ok=True)
    except Exception as error:  # the hub's errors and its transport's have no common base
        raise PublishError(f"hub: {settings.hub_repository}: {error}") from None
    return f"https://huggingface.co/{settings.hub_repository}/tree/{tag}"


def _create(client: ollama.Client, name: str, settings: FinetuneSettings, merged: Path, tokenizer: Any) -> None:
    try:
        shape = frame(
            lambda messages: str(
                tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
            )
        )
    except TemplateError as error:
        raise PublishError(f"{name}: {error}") from None
    bos = ""
    try:
        path = merged / "model.gguf"
        gguf_file.write(merged, path, "f16")
        files = {path.name: client.create_blob(path)}
    except gguf_file.UnsupportedModelError as error:
        log.info("Ollama converts the model itself", because=str(error))
        bos = tokenizer.bos_token or ""  # Ollama's own import puts it first
        files = {path.name: client.create_blob(path) for path in _model_files(merged)}
    for step in client.create(
        name,
        files=files,
        quantize=None if settings.ollama_quantization == "f16" else settings.ollama_quantization,
        template=shape.for_ollama(bos),
        parameters={
            "temperature": 0,
            "repeat_penalty": 1.0,  # the default punishes the keys that JSON repeats
            "num_ctx": CONTEXT_TOKENS,
            "stop": [tokenizer.eos_token],
        },
        stream=True,
    ):
        log.debug("ollama", status=step.status)


def _verify(client: ollama.Client, name: str, tokenizer: Any, headlines: Sequence[str], coins: Sequence[str]) -> None:
    for headline in headlines:
        messages = prompt.messages(headline, coins)
        wanted = len(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"])
        answer = client.chat(name, messages=messages, options={"num_predict": 1})
        if answer.prompt_eval_count != wanted:
            client.delete(name)
            raise PublishError(
                f"{name}: the server reads a prompt as {answer.prompt_eval_count} tokens, the model was trained with "
                f"{wanted}: template or tokenizer differ; not published"
            )


def _model_files(folder: Path) -> list[Path]:
    wanted = ("*.safetensors", "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json")
    return sorted(path for pattern in wanted for path in folder.glob(pattern))
