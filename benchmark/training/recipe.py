"""How a suite trains its models: the recipe, the budget and the rehearsal."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from benchmark.core.validation import Count, NotNegative, Positive, Share, not_a_bool


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Budget(_Strict):
    """How long to train: in optimizer steps, in epochs over originals and copies, or in tokens read.

    A budget of tokens ends with the optimizer step that reaches it, so the number of steps depends on the method.
    """

    steps: Count | None = None
    epochs: Positive | None = None
    tokens: Count | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Budget":
        if [self.steps, self.epochs, self.tokens].count(None) != 2:
            raise ValueError("give one of steps, epochs and tokens")
        return self

    @model_serializer(mode="wrap")
    def _without_tokens(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `tokens` where it is not given: keys of budgets in steps or epochs were made without it."""
        return {key: value for key, value in dump(self).items() if key != "tokens" or value is not None}

    @property
    def label(self) -> str:
        """The budget as the board shows it, such as "400 steps"."""
        if self.tokens:
            return f"{self.tokens} tokens"
        return f"{self.steps} steps" if self.steps else f"{self.epochs:g} epochs"


class Rehearsal(_Strict):
    """Texts other than the corpus that take a share of every batch, the same for all methods.

    `source` is "questions" (texts about a few made-up people, and questions about them with their answers) or the path
    of a file: JSON lines with a "text" each, or plain text whose paragraphs are the texts.
    """

    share: Annotated[float, BeforeValidator(not_a_bool), Field(gt=0, le=0.5)] = 0.1
    source: str = Field(default="questions", min_length=1)


class Recipe(_Strict):
    """How a model is trained. `batch_size` is the effective batch; `micro_batch` only limits memory."""

    adaptation: Literal["lora", "full"] = "lora"
    learning_rate: Positive = 5e-4
    batch_size: Count = 8
    micro_batch: Count | None = None
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: Share = 0.1
    max_grad_norm: Positive = 1.0
    weight_decay: NotNegative = 0.0
    lora_rank: Count = 16
    lora_alpha: Count = 16
    lora_dropout: Share = 0.0
    autocast: Literal["none", "bfloat16"] = "none"
    append_end: bool = True
    rehearsal: Rehearsal | None = None

    @model_serializer(mode="wrap")
    def _without_rehearsal(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `rehearsal` where it is not given: keys of recipes without it were made without this field."""
        return {key: value for key, value in dump(self).items() if key != "rehearsal" or value is not None}

    @model_validator(mode="after")
    def _micro_batch_divides(self) -> "Recipe":
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(f"micro_batch {self.micro_batch} does not divide batch_size {self.batch_size}")
        return self
