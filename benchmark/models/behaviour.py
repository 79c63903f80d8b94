"""What is tried out on a loaded model before its first number: causality, finite numbers, and padding."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from benchmark.core.errors import UserError
from benchmark.models.adapters import alike
from benchmark.models.spec import ModelSpec

_TEXT = (3, 1, 4, 1, 5, 9, 2, 6)
_SHORTER = (2, 7, 1, 8, 2)


ALONE = "padding changes what the model computes, so texts of unlike length are not read together"


def check_causal(spec: ModelSpec, model: Any) -> None:
    """Raise UserError if a token's logits change with the tokens behind it, or are not finite numbers.

    An encoder such as BERT sees the whole text: trained to predict the next token, it would copy it from its input.
    """
    first, second = ([*_TEXT[:-1], last] for last in (6, 5))
    logits, others = (_logits(model, [row])[0, :-1] for row in (first, second))
    if not logits.isfinite().all():
        raise UserError(
            f"model {spec.model!r}: its logits are not finite numbers in {spec.dtype}; set dtype: bfloat16 or float32"
        )
    if not alike(others, logits):
        raise UserError(
            f"model {spec.model!r}: its tokens see what comes after them, so it is no causal language model but an "
            "encoder; give a model that generates text"
        )


def bears_padding(model: Any, left: bool = False) -> bool:
    """Whether texts of unlike length, padded to one, give what each gives alone.

    Args:
        model: A causal language model of transformers, or a peft model of one, in evaluation mode.
        left: Pad in front, as in generation, not behind.
    """
    missing = len(_TEXT) - len(_SHORTER)
    filler, gap = [0] * missing, [0] * missing
    rows = [_TEXT, [*filler, *_SHORTER] if left else [*_SHORTER, *filler]]
    real = [1] * len(_SHORTER)
    mask = [[1] * len(_TEXT), [*gap, *real] if left else [*real, *gap]]
    options: dict[str, Any] = {"attention_mask": torch.tensor(mask, device=model.device)}
    if left and _takes_positions(model):
        options["position_ids"] = (options["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    padded = _logits(model, rows, **options)[1]
    alone = _logits(model, [_SHORTER])[0]
    return alike(padded[missing:] if left else padded[: len(_SHORTER)], alone)


def _takes_positions(model: Any) -> bool:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "position_ids" in inspect.signature(base.forward).parameters


@torch.no_grad()
def _logits(model: Any, rows: Sequence[Sequence[int]], **options: Any) -> torch.Tensor:
    """Logits (rows, n, vocabulary) of rows of equal length; of a model without a head its last hidden states."""
    size = model.config.get_text_config(decoder=True).vocab_size
    ids = torch.tensor([[token % size for token in row] for row in rows], device=model.device)
    output = model(input_ids=ids, **options)
    logits: torch.Tensor = output.logits if hasattr(output, "logits") else output.last_hidden_state
    return logits
