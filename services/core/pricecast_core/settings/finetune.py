"""Settings of the fine-tuning job."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from pricecast_core.settings.base import ANYWHERE, CoinList, ServiceSettings
from pricecast_core.settings.news_signal import DEFAULT_COINS
from pricecast_core.values import JobName

SEVEN_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class FinetuneSettings(ServiceSettings):
    """What is trained, on what, and where it goes."""

    pipeline: JobName = Field("finetune", description="Name of the job, in logs, metrics and tracking")

    base_model: str = Field(
        "unsloth/Llama-3.2-1B-Instruct",
        min_length=1,
        description="Name on the Hugging Face hub, a folder, or a GGUF file",
    )
    base_model_revision: str = Field("", description="Branch, tag or commit on the hub; empty means the newest")
    hub_token: SecretStr | None = Field(None, description="Token of the Hugging Face hub")

    dataset: str = Field(
        "", description="JSON lines: a file, s3://BUCKET/KEY, or hf://OWNER/NAME; empty means the package's own set"
    )
    dataset_split: str = Field("train", description="Split to read of a dataset on the hub")
    dataset_revision: str = Field("", description="Branch, tag or commit of a dataset on the hub")
    s3_endpoint: str = Field("", description="Address of a store that speaks S3; empty means AWS")
    coins: CoinList = Field(
        default_factory=lambda: list(DEFAULT_COINS), description="Coins that the model answers about"
    )

    held_out: float = Field(0.15, gt=0, lt=1, description="Share of the headlines held out for evaluation")
    evaluation_batch_size: int = Field(32, ge=1, le=1_024, description="Headlines answered at once in evaluation")
    required_f1: float = Field(
        0.5, ge=0, le=1, description="F1 on the held-out part without which nothing is published"
    )
    must_improve: bool = Field(True, description="Publish only if F1 is above the base model's")

    bare_rows: float = Field(
        1, ge=0, le=1, description="Share of the headlines that are learnt once more without the lexicon's guess"
    )
    lora_rank: int = Field(16, ge=1, le=1_024, description="Rank r of the adapters")
    lora_alpha: int = Field(16, ge=1, le=2_048, description="Scale of the adapters")
    lora_dropout: float = Field(0, ge=0, lt=1, description="Dropout of the adapters")
    lora_target_modules: list[str] = Field(
        default_factory=lambda: list(SEVEN_PROJECTIONS), description="Layers that get adapters"
    )

    max_steps: int = Field(0, ge=0, le=10_000_000, description="Steps; 0 means by epochs")
    epochs: float = Field(1, gt=0, le=1_000, description="Passes over the data, where max_steps is 0")
    batch_size: int = Field(4, ge=1, le=4_096, description="Rows in a step, on each device")
    gradient_accumulation_steps: int = Field(1, ge=1, le=4_096, description="Steps whose gradients are added up")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Peak learning rate")
    warmup_steps: int = Field(5, ge=0, le=1_000_000, description="Steps until the peak")
    max_sequence_length: int = Field(1_024, ge=64, le=131_072, description="Longest row, in tokens")
    load_in_4bit: bool = Field(True, description="Quantise the base model while training; on a GPU only")
    unsloth: bool = Field(True, description="Train with Unsloth where it is installed and there is a GPU")
    save_steps: int = Field(50, ge=1, le=1_000_000, description="Steps between checkpoints")
    logging_steps: int = Field(1, ge=1, le=1_000_000, description="Steps between reports of progress")
    seed: int = Field(7, ge=0, le=2_147_483_647, description="Seed of everything random")
    threads: int = Field(0, ge=0, le=1_024, description="CPU threads; 0 means as many as there are cores")

    output_dir: Path = Field(Path(".pricecast/finetune"), description="Folder of checkpoints, weights and reports")
    resume: bool = Field(True, description="Go on from the newest checkpoint in output_dir")
    version: str = Field(
        "", pattern=r"^([a-zA-Z0-9_][a-zA-Z0-9_.-]{0,79})?$", description="Version published; empty derives one"
    )
    termination_log: Path = Field(
        Path("/dev/termination-log"), description="File for the result, as Kubernetes reads it; skipped where absent"
    )

    gguf: Literal["", "f16", "q8_0"] = Field("", description="Also write a GGUF file with these weights")
    ollama_url: str = Field("", description="Ollama to publish to; empty publishes to none")
    ollama_model: str = Field("pricecast-news", description="Model name in Ollama; the version is its tag")
    ollama_quantization: Literal["q4_K_M", "q8_0", "f16"] = Field("q4_K_M", description="Weights as Ollama keeps them")
    hub_repository: str = Field("", description="OWNER/NAME on the hub to publish to; empty publishes to none")
    hub_private: bool = Field(True, description="Whether a repository that is created is private")

    comet: bool = Field(False, description="Track in Comet; without a key an offline archive is kept in output_dir")
    comet_project: str = Field("pricecast-finetune", description="Comet project")
    comet_workspace: str = Field("", description="Comet workspace; empty means the account's default")
    comet_api_key: SecretStr | None = Field(None, description="API key of Comet")

    @property
    def addresses(self) -> list[str]:
        """Where the base model and the headlines come from, and where the model goes."""
        public = (
            not self.base_model.startswith("/")
            or self.dataset.startswith("hf://")
            or (self.dataset.startswith("s3://") and not self.s3_endpoint)
            or bool(self.hub_repository)
            or self.comet
        )
        return [url for url in (self.ollama_url, self.s3_endpoint, ANYWHERE if public else "") if url]
