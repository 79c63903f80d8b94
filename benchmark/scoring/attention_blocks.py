"""An attention implementation for transformers that hands out its probabilities a block of queries at a time.

It is registered with transformers under NAME. While a model runs with it, every layer hands each block of its attention
probabilities to the accumulator in `active`, uses it for the block's output, and drops it. Architectures that use
transformers' attention interface work without changes, also with grouped heads, soft-capping, sliding windows and
attention sinks.
"""

from contextvars import ContextVar
from typing import Any, Protocol

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from benchmark.core.errors import UserError

NAME = "received_attention"


class Accumulator(Protocol):
    """Receives the blocks of attention probabilities.

    Attributes:
        block: Queries of a block.
    """

    block: int

    def add(self, probs: torch.Tensor, start: int, length: int, dtype: torch.dtype, layer: int = 0) -> None:
        """Receive a block, see `ReceivedAttention.add`."""


active: ContextVar[Accumulator] = ContextVar(NAME)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: "torch.Tensor | _MaskByRows | None",
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention, computed in blocks of queries; transformers calls it with these arguments.

    Args:
        module: The layer's attention module.
        query: (batch, heads, n, width).
        key: (batch, key heads, n, width); the number of key heads divides that of heads.
        value: (batch, key heads, n, value width).
        attention_mask: (batch, 1, n, n), added to the scores; for long texts, an object that makes it in blocks.
        scaling: Factor of the scores; width^(−½) if None.
        softcap: Scores s become softcap · tanh(s / softcap), as in Gemma 2.
        s_aux: Attention sinks: a logit per head that takes part in the softmax but has no value.
        position_bias: Not supported.

    Returns:
        The output (batch, n, heads, value width), and None instead of the attention weights.

    Raises:
        UserError: If the attention is not causal, does not cover the whole text, or has a position bias.
    """
    accumulator = active.get()
    length = query.shape[2]
    causal = getattr(module, "is_causal", True) and key.shape[2] == length
    if not causal or attention_mask is None or position_bias is not None:
        raise UserError(
            f"{type(module).__name__}: only causal attention over a whole text can be scored; use another model"
        )
    outputs = []
    for start in range(0, length, accumulator.block):
        stop = min(start + accumulator.block, length)
        # No query of the block sees a later key, so the columns from `stop` on need no work.
        if isinstance(attention_mask, _MaskByRows):
            mask = attention_mask.rows(start, stop).to(query.device)
        else:
            mask = attention_mask[:, :, start:stop, :stop]
        probs = _probabilities(query[:, :, start:stop], key[:, :, :stop], mask, scaling, softcap, s_aux)
        accumulator.add(probs.detach(), start, length, query.dtype, getattr(module, "layer_idx", 0))
        outputs.append(_grouped_matmul(probs.to(value.dtype), value[:, :, :stop]))
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _probabilities(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """float32 probabilities (batch, heads, rows, keys), with transformers' eager attention's rounding on the way."""
    scores = _grouped_matmul(query, key.transpose(2, 3))
    scores *= query.shape[-1] ** -0.5 if scaling is None else scaling  # in place: no other tensor here is as large
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores += mask
    if sinks is None:
        return torch.softmax(scores, dim=-1, dtype=torch.float32)
    logits = sinks.to(scores.dtype).reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
    return torch.softmax(torch.cat([scores, logits], dim=-1), dim=-1, dtype=torch.float32)[..., :-1]


def _grouped_matmul(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(batch, heads, rows, a) times (batch, key heads, a, b), where each key head serves a group of heads uncopied."""
    batch, heads, rows, _ = left.shape
    groups = right.shape[1]
    product = torch.matmul(left.reshape(batch, groups, heads // groups * rows, -1), right)
    return product.view(batch, heads, rows, -1)


class _MaskByRows:
    """The additive mask of a long text, made in blocks of rows: the whole mask would take memory in proportion to n².

    Architectures pass it from transformers' mask function to the attention without looking into it. So do accelerate's
    hooks, which move nothing but tensors to the device of a layer.

    Args:
        arguments: The keyword arguments of transformers' mask functions.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """The mask of queries start to stop and the keys before stop, shape (batch, 1, stop − start, stop)."""
        padding = self._arguments["attention_mask"]
        return eager_mask(
            **{
                **self._arguments,
                "q_length": stop - start,
                "q_offset": start,
                "kv_length": stop,
                "attention_mask": None if padding is None else padding[:, :stop],
            }
        )


def _mask(**arguments: Any) -> torch.Tensor | _MaskByRows:
    """The mask of a forward pass; transformers calls it with the keyword arguments of its mask functions."""
    is_whole_text = (
        arguments["q_length"] == arguments["kv_length"] and arguments["q_offset"] == arguments["kv_offset"] == 0
    )
    if is_whole_text and arguments["q_length"] > active.get().block:
        return _MaskByRows(arguments)
    return eager_mask(**arguments)


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, _mask)
