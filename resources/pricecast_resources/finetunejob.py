"""The `FinetuneJob` resource: fine-tune the model that reads the news, on nodes with or without GPUs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from pricecast_core.settings import FinetuneSettings
from pricecast_core.values import DISTINCT, HttpUrl, OptionalHttpUrl
from pricecast_resources.base import (
    SET,
    Duration,
    Labels,
    Model,
    OneOf,
    Resources,
    SecretKeyRef,
    Text,
    Toleration,
    of_setting,
    rule,
    rules,
)
from pricecast_resources.pods import PodSettings
from pricecast_resources.values import Coins

Path = Annotated[str, Field(min_length=1, max_length=1024)]

MUTABLE = ("suspend", "ttlAfterFinished")
"""Fields of the spec that may change after the job has started, as those of a Kubernetes Job."""


class BaseLanguageModel(Model):
    """The model to start from."""

    name: str = of_setting(
        FinetuneSettings,
        "base_model",
        "Name on the Hugging Face hub, or with volumeClaim the folder within that volume.",
        min_length=1,
        max_length=1024,
    )
    revision: str = of_setting(
        FinetuneSettings,
        "base_model_revision",
        "Branch, tag or commit on the hub; empty means the newest.",
        max_length=253,
    )
    volume_claim: str = Field("", max_length=253, description="PersistentVolumeClaim that holds the model.")
    token_secret_ref: SecretKeyRef | None = Field(None, description="Where the hub's token is, for gated models.")


class ConfigMapDataset(Model):
    """A small dataset within a ConfigMap."""

    name: str = Field(min_length=1, max_length=253, description="Name of the ConfigMap.")
    key: str = Field("dataset.jsonl", min_length=1, max_length=253, description="Key that holds the JSON lines.")


class VolumeDataset(Model):
    """A dataset on a PersistentVolumeClaim."""

    claim_name: str = Field(min_length=1, max_length=253, description="Name of the PersistentVolumeClaim.")
    path: Path = Field(description="File of JSON lines within the volume.")


class S3Dataset(Model):
    """A dataset in S3 or a store that speaks its protocol."""

    uri: str = Field(pattern="^s3://[^/]+/.+", max_length=2048, description="s3://BUCKET/KEY of the JSON lines.")
    endpoint: OptionalHttpUrl = Field("", description="Address of the store; empty means AWS.")
    credentials_secret: str = Field(
        "", max_length=253, description="Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; empty asks the node."
    )


class HubDataset(Model):
    """A dataset on the Hugging Face hub."""

    name: str = Field(min_length=1, max_length=253, description="Name on the hub.")
    split: str = of_setting(FinetuneSettings, "dataset_split", "Split to read.", min_length=1, max_length=63)
    revision: str = of_setting(
        FinetuneSettings, "dataset_revision", "Branch, tag or commit; empty means the newest.", max_length=253
    )


_SOURCES = OneOf("config_map", "volume", "s3", "hub")


class Dataset(Model):
    """Rows of {instruction, input, output, teacher_model_name}. Give one of configMap, volume, s3, hub."""

    model_config = ConfigDict(json_schema_extra=rules(_SOURCES.rule))

    config_map: ConfigMapDataset | None = Field(None, description="Read a ConfigMap.")
    volume: VolumeDataset | None = Field(None, description="Read a PersistentVolumeClaim.")
    s3: S3Dataset | None = Field(None, description="Read S3.")
    hub: HubDataset | None = Field(None, description="Read the Hugging Face hub.")

    @model_validator(mode="after")
    def _one_source(self) -> Dataset:
        return _SOURCES(self, "dataset")


class Evaluation(Model):
    """How the result is judged."""

    fraction: float = of_setting(FinetuneSettings, "held_out", "Share of the headlines held out, without leakage.")
    required_f1: float = of_setting(
        FinetuneSettings, "required_f1", "F1 on the held-out headlines that the model must reach to be published."
    )
    must_improve: bool = of_setting(FinetuneSettings, "must_improve", "Publish only if F1 is above the base model's.")


class Lora(Model):
    """Low-rank adaptation."""

    rank: int = of_setting(FinetuneSettings, "lora_rank", "Rank r of the adapters.")
    alpha: int = of_setting(FinetuneSettings, "lora_alpha", "Scale of the adapters.")
    dropout: float = of_setting(FinetuneSettings, "lora_dropout", "Dropout of the adapters.")
    target_modules: Annotated[list[Text], DISTINCT] = of_setting(
        FinetuneSettings,
        "lora_target_modules",
        "Layers that get adapters.",
        min_length=1,
        max_length=32,
        json_schema_extra=SET,
    )


class Trainer(Model):
    """Arguments of the training."""

    max_steps: int = of_setting(FinetuneSettings, "max_steps", "Steps; 0 means by epochs.")
    epochs: float = of_setting(FinetuneSettings, "epochs", "Passes over the data, where maxSteps is 0.")
    batch_size: int = of_setting(FinetuneSettings, "batch_size", "Rows in a step, on each device.")
    gradient_accumulation_steps: int = of_setting(
        FinetuneSettings, "gradient_accumulation_steps", "Steps whose gradients are added up."
    )
    learning_rate: float = of_setting(FinetuneSettings, "learning_rate", "Peak learning rate.")
    warmup_steps: int = of_setting(FinetuneSettings, "warmup_steps", "Steps until the peak.")
    max_sequence_length: int = of_setting(FinetuneSettings, "max_sequence_length", "Longest row, in tokens.")
    load_in_4bit: bool = of_setting(
        FinetuneSettings, "load_in_4bit", "Quantise the base model while training; on a GPU only."
    )
    unsloth: bool = of_setting(
        FinetuneSettings,
        "unsloth",
        "Train with Unsloth where there is a GPU; switch it off for a model it can't train.",
    )
    save_steps: int = of_setting(FinetuneSettings, "save_steps", "Steps between checkpoints.")
    logging_steps: int = of_setting(FinetuneSettings, "logging_steps", "Steps between reports of progress.")
    bare_rows: float = of_setting(
        FinetuneSettings, "bare_rows", "Share of the headlines that are learnt once more without the lexicon's guess."
    )
    seed: int = of_setting(FinetuneSettings, "seed", "Seed of everything random.")


class Gpu(Model):
    """The accelerator."""

    resource: str = Field(
        "nvidia.com/gpu",
        pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$",
        max_length=253,
        description="Name of the resource that nodes offer.",
    )
    count: int = Field(1, ge=0, le=64, description="How many; 0 trains on the CPU.")


class Checkpoints(Model):
    """Where training is kept, so that it resumes after a crash, a preemption or a suspension."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.claimName) || self.claimName == '' || !has(self.storageClassName)"
                " || self.storageClassName == ''",
                "can't be given along with claimName, which exists already",
                "storageClassName",
            )
        )
    )

    claim_name: str = Field("", max_length=253, description="PersistentVolumeClaim to use; empty makes one.")
    size: str = Field(
        "10Gi",
        pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$",
        max_length=16,
        description="Size of the claim that is made; it is deleted with the FinetuneJob.",
    )
    storage_class_name: str = Field("", max_length=253, description="Class of that claim; empty means the default.")
    resume: bool = of_setting(FinetuneSettings, "resume", "Go on from the newest checkpoint found there.")

    @model_validator(mode="after")
    def _either_existing_or_made(self) -> Checkpoints:
        if self.claim_name and self.storage_class_name:
            raise ValueError("storageClassName: can't be given along with claimName, which exists already")
        return self


class OllamaOutput(Model):
    """Publish to an Ollama server."""

    url: HttpUrl = Field(description="Address of Ollama.")
    model: str = Field(
        pattern=r"^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$",
        max_length=63,
        description="Model name; the version published is its tag.",
    )
    quantization: Literal["q4_K_M", "q8_0", "f16"] = of_setting(
        FinetuneSettings, "ollama_quantization", "Weights as Ollama stores them."
    )


class HubOutput(Model):
    """Publish to the Hugging Face hub."""

    repository: str = Field(pattern="^[^/ ]+/[^/ ]+$", max_length=253, description="OWNER/NAME.")
    private: bool = of_setting(FinetuneSettings, "hub_private", "Whether a repository that is created is private.")
    token_secret_ref: SecretKeyRef = Field(description="Where a token that may write is.")


class CometOutput(Model):
    """Track the training in Comet."""

    project: str = of_setting(FinetuneSettings, "comet_project", "Project.", min_length=1, max_length=253)
    workspace: str = of_setting(
        FinetuneSettings, "comet_workspace", "Workspace; empty means the account's default.", max_length=253
    )
    api_key_secret_ref: SecretKeyRef | None = Field(
        None, description="Where the API key is; without one an offline archive lies beside the checkpoints."
    )


class Outputs(Model):
    """Where the model goes, if it reaches the required F1."""

    ollama: OllamaOutput | None = Field(None, description="Publish to Ollama, where pipelines can use it.")
    hub: HubOutput | None = Field(None, description="Publish to the Hugging Face hub.")
    comet: CometOutput | None = Field(None, description="Track the training in Comet.")


class FinetuneJobSpec(Model):
    """One fine-tuning. But for suspend and ttlAfterFinished it can't change once it has started."""

    base_model: BaseLanguageModel = Field(default_factory=BaseLanguageModel, description="The model to start from.")
    dataset: Dataset = Field(description="What it learns from.")
    coins: Coins = Field(
        default_factory=list,
        description="Coins that the model answers about, as spec.news.coins of the pipelines that use it; empty means the"
        " default list.",
    )
    evaluation: Evaluation = Field(default_factory=Evaluation, description="How the result is judged.")
    lora: Lora = Field(default_factory=Lora, description="Low-rank adaptation.")
    trainer: Trainer = Field(default_factory=Trainer, description="Arguments of the training.")
    gpu: Gpu = Field(default_factory=Gpu, description="The accelerator.")
    resources: Resources = Field(default_factory=Resources, description="CPU and memory.")
    node_selector: Labels = Field(default_factory=dict, description="Labels of the nodes to run on.")
    tolerations: list[Toleration] = Field(
        default_factory=lambda: [Toleration(key="nvidia.com/gpu", effect="NoSchedule")],
        max_length=16,
        description="Taints of nodes that the pod accepts.",
    )
    pods: PodSettings = Field(default_factory=PodSettings, description="What else is asked of the pod.")
    queue_name: str = Field("", max_length=63, description="Kueue's LocalQueue; empty starts at once.")
    checkpoints: Checkpoints = Field(default_factory=Checkpoints, description="Where training is kept.")
    backoff_limit: int = Field(3, ge=0, le=100, description="Retries after failures; preemptions don't count.")
    deadline: Duration = Field("12h", description="Longest time from start to end.")
    ttl_after_finished: Duration = Field("7d", description="How long the finished Job and its pods are kept.")
    suspend: bool = Field(False, description="Stops the training at its checkpoint; false resumes it.")
    outputs: Outputs = Field(default_factory=Outputs, description="Where the model goes.")
    image: str = Field("", max_length=512, description="Image instead of the operator's own.")
