"""Attention that adds up what every token receives while the model runs, so that no attention matrix is kept.

`output_attentions=True` keeps layers × heads × n² numbers and forces the slow attention. Here an attention
implementation of our own, registered with transformers under NAME, works through blocks of query rows: it forms a
block's probabilities, takes the block's output and column sums from them, and lets them go. Architectures that use
transformers' attention interface work as they are, with grouped heads, soft-capping, sliding windows and sinks.
"""

from collections.abc import Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from benchmark.core.errors import UserError
from benchmark.data.attention import ATTENTION, AttentionPart

NAME = "received_attention"
BLOCK = 256  # query rows handled at once


class ReceivedAttention:
    """While this context is open, every forward pass of the model adds up its attention; `scores` reads the last pass.

        with ReceivedAttention(model) as attention:
            attention.decoder(input_ids=ids, attention_mask=mask, use_cache=False)
            scores = attention.scores()

    The attention implementation that the model had comes back when the context closes, also after an exception. Layers
    without softmax attention (as hybrid models have) count for nothing. Layers may lie on several devices: what each
    adds is moved to the first one's at once, so that sums are taken in one order, to the same bits wherever layers lie.

    Args:
        model: A causal language model of transformers, with or without its head. Dropout is not applied to attention.
        mode: One of ATTENTION, see `scores`.
        block: Query rows handled at once; peak memory grows with batch × heads × block × n. "released" needs batch × n²
            floats besides, since it averages whole matrices.
        part: Which layers or heads count; all of them if None.

    Raises:
        UserError: If the model has its own attention code, attends to what follows a token as well, or has no layer
            in the depth that `part` asks for.
        ValueError: If `mode` is unknown.
    """

    def __init__(
        self, model: PreTrainedModel, mode: str = "received", block: int = BLOCK, part: AttentionPart | None = None
    ) -> None:
        if mode not in ATTENTION:
            raise ValueError(f"mode {mode!r} is none of {ATTENTION}")
        self.block = block
        self._mode = mode
        untyped: Any = model
        self.decoder: Any = untyped.get_decoder()
        self._part = part or AttentionPart()
        self._layers = self._chosen_layers()
        self._found: set[tuple[int, int]] = set()
        self._heads = 0
        self._dtype = torch.float32
        self._mask: torch.Tensor | None = None
        self._sum: torch.Tensor | None = None
        self._watched: tuple[torch.Tensor, torch.Tensor] | None = None
        self._rows: torch.Tensor | None = None

    def __enter__(self) -> Self:
        self._previous: str = self.decoder.config._attn_implementation
        self.decoder.set_attn_implementation(NAME)
        if self.decoder.config._attn_implementation != NAME:
            raise UserError(f"{type(self.decoder).__name__}: {_NO_INTERFACE}")
        self._hook = self.decoder.register_forward_pre_hook(self._begin, with_kwargs=True)
        self._token: Token[ReceivedAttention] = _active.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _active.reset(self._token)
        self._hook.remove()
        self.decoder.set_attn_implementation(self._previous)

    def _begin(self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forget the last pass and note which tokens of the new one are real."""
        self._heads, self._sum, self._rows, self._mask = 0, None, None, kwargs.get("attention_mask")
        self._found = set()

    def _real(self, batch: int, length: int, device: torch.device) -> torch.Tensor:
        """1.0 for real tokens and 0.0 for padding, shape (batch, n)."""
        if self._mask is None:
            return torch.ones(batch, length, device=device)
        return self._mask.to(device, torch.float32)

    def _chosen_layers(self) -> set[int] | None:
        """Numbers of the layers that count, None where all do."""
        if self._part.heads:
            return {layer for layer, _ in self._part.heads}
        low, high = self._part.depth
        if (low, high) == (0, 1):
            return None
        count = self.decoder.config.num_hidden_layers
        chosen = {layer for layer in range(count) if low <= (layer + 0.5) / count <= high}
        if not chosen:
            raise UserError(
                f"attention from depth {low:g} to {high:g}: none of the {count} layers of "
                f"{type(self.decoder).__name__} lies there; widen it"
            )
        return chosen

    def add(self, probs: torch.Tensor, start: int, length: int, dtype: torch.dtype, layer: int = 0) -> None:
        """Add a block of one layer's attention.

        Args:
            probs: float32 probabilities, shape (batch, heads, rows, keys); row 0 is query `start`, key 0 is token 0.
            start: Position of the block's first query.
            length: n, the number of tokens of the whole pass.
            dtype: What the model computes in.
            layer: Number of the layer, from 0.
        """
        if self._layers is not None and layer not in self._layers:
            return
        if self._part.heads:
            there = [head for number, head in self._part.heads if number == layer and head < probs.shape[1]]
            self._found |= {(layer, head) for head in there}
            probs = probs[:, there]
        batch, heads, rows, keys = probs.shape
        stop, self._dtype = start + rows, dtype
        self._heads += heads if start == 0 else 0
        if self._watched is not None:
            self._add_rows(probs, start, length)
        released = self._mode == "released"
        if self._sum is None:
            self._sum = probs.new_zeros((batch, length, length) if released else (batch, length))
        if released:
            # The eager attention hands out its weights in the model's dtype; their mean is taken of rounded numbers.
            part = probs.to(dtype).sum(dim=1, dtype=torch.float32)
            self._sum[:, start:stop, :keys] += part.to(self._sum.device)
            return
        real = self._real(batch, length, probs.device)[:, start:stop]
        # One matrix product reads the block once: weights (batch, 1, heads·rows) times (batch, heads·rows, keys).
        part = torch.bmm(real.repeat(1, heads).unsqueeze(1), probs.reshape(batch, heads * rows, keys)).squeeze(1)
        self._sum[:, :keys] += part.to(self._sum.device)
        if self._mode == "received_strict":
            own = probs.diagonal(offset=start, dim1=-2, dim2=-1).sum(dim=1) * real
            self._sum[:, start:stop] -= own.to(self._sum.device)

    def watch(self, queries: Sequence[Sequence[int]]) -> None:
        """Have the next passes keep what some queries attend to: their positions, for every text of the batch."""
        texts = [text for text, places in enumerate(queries) for _ in places]
        places = [place for some in queries for place in some]
        self._watched = (torch.tensor(texts, dtype=torch.long), torch.tensor(places, dtype=torch.long))

    def _add_rows(self, probs: torch.Tensor, start: int, length: int) -> None:
        assert self._watched is not None
        texts, places = (each.to(probs.device) for each in self._watched)
        if self._rows is None:
            self._rows = probs.new_zeros((len(places), length))
        inside = (places >= start) & (places < start + probs.shape[2])
        # Queries before the heads: two indices with a slice between them put what they pick in front.
        picked = probs[texts[inside], :, places[inside] - start].sum(dim=1)
        self._rows[inside.to(self._rows.device), : probs.shape[3]] += picked.to(self._rows.device)

    def rows(self) -> torch.Tensor:
        """What the queries of `watch` attended to in the last pass, one after the other, float32 (queries, n).

        Row q has the mean of A[q, j] over layers and heads for every key j; keys after q have 0.

        Raises:
            UserError: If the pass came across no attention that could be read.
        """
        if self._rows is None:
            raise UserError(f"{type(self.decoder).__name__}: {_NO_INTERFACE}")
        return self._rows / self._heads

    def scores(self) -> torch.Tensor:
        """Scores of the last forward pass, float32 of shape (batch, n); padding has 0.

        With A the attention of a text's real tokens, i the query and j the key, both from 0:

        - "received": token j's mean of A[i, j] over layers, heads and queries i ≥ j, the score that the paper describes
          (arXiv 2409.17954). A query that cannot see j, because of a sliding window, counts with 0.
        - "received_strict": the same over i > j. The last token has no follower; its score is 0.
        - "released": A is averaged over layers and heads in the model's dtype, then row i is summed and divided by
          i + 1, as the paper's released code does. Rows sum to 1, so this is 1 / (i + 1) up to rounding.

        Only the layers and heads of `part` count.

        Raises:
            UserError: If the pass came across no attention that could be read, or not across every head of `part`.
        """
        if missing := sorted(set(self._part.heads) - self._found):
            config = self.decoder.config
            names = " ".join(f"L{layer}H{head}" for layer, head in missing)
            raise UserError(
                f"attention heads {names}: not in this {type(self.decoder).__name__}; name heads of its "
                f"{config.num_hidden_layers} layers with {config.num_attention_heads} heads each, counted from 0"
            )
        if self._sum is None:
            raise UserError(f"{type(self.decoder).__name__}: {_NO_INTERFACE}")
        real = self._real(self._sum.shape[0], self._sum.shape[1], self._sum.device)
        if self._mode == "released":
            place = real.cumsum(dim=1).clamp(min=1).to(self._dtype)
            mean = (self._sum / self._heads).to(self._dtype)
            return torch.where(real > 0, (mean.sum(dim=-1) / place).float(), 0.0)
        queries = real.flip(1).cumsum(dim=1).flip(1) - (1 if self._mode == "received_strict" else 0)
        return torch.where((real > 0) & (queries > 0), self._sum / (self._heads * queries.clamp(min=1)), 0.0)


_NO_INTERFACE = "this architecture has attention code of its own, which cannot be read; use another model"
_active: ContextVar[ReceivedAttention] = ContextVar("received_attention")


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
    """Attention by blocks of query rows; the signature is the one that transformers calls.

    Args:
        module: The layer's attention.
        query: (batch, heads, n, width).
        key: (batch, key heads, n, width), key heads dividing heads.
        value: (batch, key heads, n, value width).
        attention_mask: (batch, 1, n, n), added to the scores; of long texts made a block at a time.
        scaling: Factor of the scores; the width's inverse square root where the layer gives none.
        softcap: Scores are squeezed between −softcap and softcap, as Gemma 2 does.
        s_aux: One logit per head that takes part in the softmax and receives its share for nothing (attention sinks).
        position_bias: Not supported.

    Returns:
        The output, shape (batch, n, heads, value width), and None in place of the weights.
    """
    accumulator = _active.get()
    length = query.shape[2]
    causal = getattr(module, "is_causal", True) and key.shape[2] == length
    if not causal or attention_mask is None or position_bias is not None:
        raise UserError(
            f"{type(module).__name__}: only causal attention over a whole text can be scored; use another model"
        )
    outputs = []
    for start in range(0, length, accumulator.block):
        stop = min(start + accumulator.block, length)
        # No query of the block sees a key after it, so those columns need no work.
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
    """float32 probabilities (batch, heads, rows, keys), rounded on the way where the eager attention rounds."""
    scores = _grouped_matmul(query, key.transpose(2, 3))
    scores *= query.shape[-1] ** -0.5 if scaling is None else scaling  # in place: the block is the largest thing here
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores += mask
    if sinks is None:
        return torch.softmax(scores, dim=-1, dtype=torch.float32)
    logits = sinks.to(scores.dtype).reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
    return torch.softmax(torch.cat([scores, logits], dim=-1), dim=-1, dtype=torch.float32)[..., :-1]


def _grouped_matmul(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(batch, heads, rows, a) times (batch, key heads, a, b), each key head serving its group of heads, uncopied."""
    batch, heads, rows, _ = left.shape
    groups = right.shape[1]
    product = torch.matmul(left.reshape(batch, groups, heads // groups * rows, -1), right)
    return product.view(batch, heads, rows, -1)


class _MaskByRows:
    """The additive mask of a long text, made a block of rows at a time: whole, it would grow with n².

    Architectures hand it on from transformers' mask function to the attention without looking into it; so do
    accelerate's hooks, which move tensors alone to the device of a layer.

    Args:
        how: The keywords of transformers' mask functions.
    """

    def __init__(self, how: dict[str, Any]) -> None:
        self._how = how

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Rows start to stop of the keys before stop, shape (batch, 1, stop − start, stop)."""
        padding = self._how["attention_mask"]
        return eager_mask(
            **{
                **self._how,
                "q_length": stop - start,
                "q_offset": start,
                "kv_length": stop,
                "attention_mask": None if padding is None else padding[:, :stop],
            }
        )


def _mask(**how: Any) -> torch.Tensor | _MaskByRows:
    """The mask of a pass; its keywords are those that transformers gives to mask functions."""
    whole = how["q_length"] == how["kv_length"] and how["q_offset"] == how["kv_offset"] == 0
    if whole and how["q_length"] > _active.get().block:
        return _MaskByRows(how)
    return eager_mask(**how)


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, _mask)
