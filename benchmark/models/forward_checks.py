"""Checks that run a loaded model on a few tokens: is it causal, are its logits finite, does padding change them?"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from benchmark.core.errors import UserError
from benchmark.models.spec import ModelSpec

TOKENS = (3, 1, 4, 1, 5, 9, 2, 6)  # token ids for a trial; a smaller vocabulary takes them modulo its size
_FEWER_TOKENS = (2, 7, 1, 8, 2)

# A note in records: its words must stay.
PADDING_NOTE = "padding changes what the model computes, so texts of unlike length are not read together"


def check_causal(spec: ModelSpec, model: Any) -> None:
    """Check that a token's logits are finite and do not depend on later tokens.

    An encoder such as BERT sees the whole text. Trained to predict the next token, it would copy it from its input.

    Raises:
        UserError: If the model fails the check.
    """
    logits = logits_of(model, [[*TOKENS[:-1], 6]])[0, :-1]
    with_another_end = logits_of(model, [[*TOKENS[:-1], 5]])[0, :-1]
    if not logits.isfinite().all():
        raise UserError(
            f"model {spec.model!r}: its logits are not finite numbers in {spec.dtype}; set dtype: bfloat16 or float32"
        )
    if not logits_agree(with_another_end, logits):
        raise UserError(
            f"model {spec.model!r}: its tokens see what comes after them, so it is an encoder rather than a causal "
            "language model; give a model that generates text"
        )


def check_finite_logits(model: Any, logits: torch.Tensor) -> None:
    """Check that no logits of a row are NaN, and none infinite but the −∞ of tokens that a model never gives.

    The likeliest token would be made up otherwise.

    Raises:
        UserError: If the logits fail the check.
    """
    if not logits.amax().isfinite():
        dtype = str(logits.dtype).removeprefix("torch.")
        raise UserError(
            f"model {model.config.name_or_path!r}: its logits are not finite numbers in {dtype}; set dtype: bfloat16 "
            "or float32"
        )


def padding_is_harmless(model: Any, left: bool = False) -> bool:
    """Whether a text padded to the length of another has the logits that it has alone.

    Args:
        model: A causal language model of transformers, or a peft model of one, in evaluation mode.
        left: Pad before the text, as in generation, instead of after it.
    """
    missing = len(TOKENS) - len(_FEWER_TOKENS)
    padding, text_mask = [0] * missing, [1] * len(_FEWER_TOKENS)
    padded_row = [*padding, *_FEWER_TOKENS] if left else [*_FEWER_TOKENS, *padding]
    padded_mask = [*padding, *text_mask] if left else [*text_mask, *padding]
    mask = torch.tensor([[1] * len(TOKENS), padded_mask], device=model.device)
    options: dict[str, Any] = {"attention_mask": mask}
    if left and _accepts_positions(model):
        options["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
    padded = logits_of(model, [TOKENS, padded_row], **options)[1]
    alone = logits_of(model, [_FEWER_TOKENS])[0]
    return logits_agree(padded[missing:] if left else padded[: len(_FEWER_TOKENS)], alone)


def logits_agree(logits: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two tensors of logits differ by rounding alone.

    The root mean square of the difference may be at most √ε standard deviations of `expected`, with ε the machine
    epsilon of its dtype.
    """
    difference = (logits.float() - expected.float()).square().mean().sqrt()
    return bool(difference <= torch.finfo(expected.dtype).eps ** 0.5 * expected.float().std())


@torch.no_grad()
def logits_of(model: Any, rows: Sequence[Sequence[int]], **options: Any) -> torch.Tensor:
    """Logits (rows, n, vocabulary) of rows of n token ids; for a model without a head, its last hidden states.

    Token ids are taken modulo the size of the vocabulary. `options` go to the model's `forward`.
    """
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    ids = torch.tensor([[token % vocabulary for token in row] for row in rows], device=model.device)
    output = model(input_ids=ids, **options)
    logits: torch.Tensor = output.logits if hasattr(output, "logits") else output.last_hidden_state
    return logits


def _accepts_positions(model: Any) -> bool:
    """Whether the model's `forward` takes `position_ids`."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "position_ids" in inspect.signature(base.forward).parameters
