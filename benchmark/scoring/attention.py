"""Attention that tokens receive, summed up while the model runs, so that no attention matrix is kept.

With `output_attentions=True`, transformers keeps layers × heads × n² numbers and takes its slowest attention. Here only
sums over queries are kept, and `attention_blocks` hands out the probabilities in blocks.
"""

from collections.abc import Sequence
from contextvars import Token
from types import TracebackType
from typing import Any, Self

import torch
from transformers import PreTrainedModel

from benchmark.core.errors import UserError
from benchmark.data.attention import ATTENTION, AttentionPart
from benchmark.scoring.attention_blocks import NAME, Accumulator, active

BLOCK = 256  # queries of a block

_UNREADABLE = "this architecture has attention code of its own, which cannot be read; use another model"


class ReceivedAttention:
    """While this context is open, every forward pass sums up its attention; `scores` gives those of the last pass.

        with ReceivedAttention(model) as attention:
            attention.decoder(input_ids=ids, attention_mask=mask, use_cache=False)
            scores = attention.scores()

    The model's attention implementation is replaced, and restored when the context closes. Layers without softmax
    attention, as hybrid models have, do not count. If layers are on several devices, every sum is moved to the first
    layer's device at once: sums are then taken in the same order, to the same bits, wherever layers are.

    Args:
        model: A causal language model of transformers, with or without its head. Attention has no dropout here.
        mode: How attention becomes a score, one of ATTENTION: see `scores`.
        block: Queries handled at once. Peak memory is in proportion to batch × heads × block × n; "released" needs
            batch × n² floats in addition, since it averages whole matrices.
        part: Which layers or heads count; all of them if None.

    Raises:
        UserError: If the model has its own attention code, if its tokens attend to later tokens, or if it has no layer
            in the depth that `part` asks for.
        ValueError: If `mode` is unknown.
    """

    def __init__(
        self, model: PreTrainedModel, mode: str = "received", block: int = BLOCK, part: AttentionPart | None = None
    ) -> None:
        if mode not in ATTENTION:
            raise ValueError(f"mode {mode!r} is unknown; known: {', '.join(ATTENTION)}")
        self.block = block
        self._mode = mode
        untyped: Any = model
        self.decoder: Any = untyped.get_decoder()
        self._part = part or AttentionPart()
        self._layers = self._chosen_layers()
        self._heads_seen: set[tuple[int, int]] = set()  # those of `part.heads` that the pass has come across
        self._heads = 0  # number of heads in all layers that count
        self._dtype = torch.float32
        self._mask: torch.Tensor | None = None
        self._sum: torch.Tensor | None = None
        self._watched: tuple[torch.Tensor, torch.Tensor] | None = None
        self._watched_sum: torch.Tensor | None = None

    def __enter__(self) -> Self:
        self._previous: str = self.decoder.config._attn_implementation
        self.decoder.set_attn_implementation(NAME)
        if self.decoder.config._attn_implementation != NAME:
            raise UserError(f"{type(self.decoder).__name__}: {_UNREADABLE}")
        self._hook = self.decoder.register_forward_pre_hook(self._start_pass, with_kwargs=True)
        self._token: Token[Accumulator] = active.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        active.reset(self._token)
        self._hook.remove()
        self.decoder.set_attn_implementation(self._previous)

    def _start_pass(self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Drop the sums of the last pass, and keep the mask of the new one."""
        self._heads, self._sum, self._watched_sum, self._mask = 0, None, None, kwargs.get("attention_mask")
        self._heads_seen = set()

    def _real(self, batch: int, length: int, device: torch.device) -> torch.Tensor:
        """1.0 for real tokens and 0.0 for padding, shape (batch, n)."""
        if self._mask is None:
            return torch.ones(batch, length, device=device)
        return self._mask.to(device, torch.float32)

    def _chosen_layers(self) -> set[int] | None:
        """Numbers of the layers that count; None if all do."""
        if self._part.heads:
            return {layer for layer, _ in self._part.heads}
        low, high = self._part.depth
        if (low, high) == (0, 1):
            return None
        count = self.decoder.config.num_hidden_layers
        chosen = {layer for layer in range(count) if low <= (layer + 0.5) / count <= high}
        if not chosen:
            raise UserError(
                f"attention from depth {low:g} to {high:g}: has none of the {count} layers of "
                f"{type(self.decoder).__name__}; widen the range"
            )
        return chosen

    def add(self, probs: torch.Tensor, start: int, length: int, dtype: torch.dtype, layer: int = 0) -> None:
        """Add a block of a layer's attention to the sums.

        Args:
            probs: float32 probabilities (batch, heads, rows, keys). The first row is that of query `start`, the first
                column that of token 0.
            start: Position of the block's first query.
            length: n, the number of tokens of the whole pass.
            dtype: What the model computes in.
            layer: Number of the layer, from 0.
        """
        if self._layers is not None and layer not in self._layers:
            return
        if self._part.heads:
            heads_here = [head for number, head in self._part.heads if number == layer and head < probs.shape[1]]
            self._heads_seen |= {(layer, head) for head in heads_here}
            probs = probs[:, heads_here]
        batch, heads, rows, keys = probs.shape
        stop, self._dtype = start + rows, dtype
        self._heads += heads if start == 0 else 0
        if self._watched is not None:
            self._add_watched(probs, start, length)
        released = self._mode == "released"
        if self._sum is None:
            self._sum = probs.new_zeros((batch, length, length) if released else (batch, length))
        if released:
            # transformers' eager attention returns its weights in the model's dtype, so rounded numbers are averaged.
            block_sum = probs.to(dtype).sum(dim=1, dtype=torch.float32)
            self._sum[:, start:stop, :keys] += block_sum.to(self._sum.device)
            return
        real = self._real(batch, length, probs.device)[:, start:stop]
        # A matrix product reads the block only once: weights (batch, 1, heads·rows) times (batch, heads·rows, keys).
        weights = real.repeat(1, heads).unsqueeze(1)
        block_sum = torch.bmm(weights, probs.reshape(batch, heads * rows, keys)).squeeze(1)
        self._sum[:, :keys] += block_sum.to(self._sum.device)
        if self._mode == "received_strict":
            own = probs.diagonal(offset=start, dim1=-2, dim2=-1).sum(dim=1) * real
            self._sum[:, start:stop] -= own.to(self._sum.device)

    def watch(self, queries: Sequence[Sequence[int]]) -> None:
        """Keep the attention of some queries in the next passes: their positions, for every text of the batch."""
        texts = [text for text, positions in enumerate(queries) for _ in positions]
        positions = [position for of_text in queries for position in of_text]
        self._watched = (torch.tensor(texts, dtype=torch.long), torch.tensor(positions, dtype=torch.long))

    def _add_watched(self, probs: torch.Tensor, start: int, length: int) -> None:
        """Add the rows of watched queries in a block (batch, heads, rows, keys) to their sums (queries, n)."""
        assert self._watched is not None
        texts, positions = (indices.to(probs.device) for indices in self._watched)
        if self._watched_sum is None:
            self._watched_sum = probs.new_zeros((len(positions), length))
        inside = (positions >= start) & (positions < start + probs.shape[2])
        # Two index tensors with a slice between them put the queries before the heads: (queries, heads, keys).
        rows = probs[texts[inside], :, positions[inside] - start].sum(dim=1)
        self._watched_sum[inside.to(self._watched_sum.device), : probs.shape[3]] += rows.to(self._watched_sum.device)

    def rows(self) -> torch.Tensor:
        """The attention of the queries of `watch` in the last pass, text by text, float32 (queries, n).

        Row q has the mean over layers and heads of A[q, j] for every key j; keys after q have 0.

        Raises:
            UserError: If the architecture's attention cannot be read.
        """
        if self._watched_sum is None:
            raise UserError(f"{type(self.decoder).__name__}: {_UNREADABLE}")
        return self._watched_sum / self._heads

    def scores(self) -> torch.Tensor:
        """Scores of the last forward pass, float32 (batch, n), without a unit; padding has 0.

        A is the attention of a text's n real tokens, i the query and j the key, both from 0. The mean over layers and
        heads comes first; only those of `part` count.

        - "received": score(j) = 1 / (n − j) · Σ_{i ≥ j} A[i, j], the score that the paper describes (arXiv
          2409.17954). A query that cannot see j, because of a sliding window, counts with 0.
        - "received_strict": score(j) = 1 / (n − j − 1) · Σ_{i > j} A[i, j]. The last token has no follower and score 0.
        - "released": score(i) = 1 / (i + 1) · Σ_j A[i, j], with the mean of A in the model's dtype, as the paper's
          released code computes. Rows of A sum to 1, so this is 1 / (i + 1) up to rounding.

        Raises:
            UserError: If the architecture's attention cannot be read, or it has not every head of `part`.
        """
        if missing := sorted(set(self._part.heads) - self._heads_seen):
            config = self.decoder.config
            names = " ".join(f"L{layer}H{head}" for layer, head in missing)
            raise UserError(
                f"attention heads {names}: not in this {type(self.decoder).__name__}; name heads of its "
                f"{config.num_hidden_layers} layers with {config.num_attention_heads} heads each, counted from 0"
            )
        if self._sum is None:
            raise UserError(f"{type(self.decoder).__name__}: {_UNREADABLE}")
        real = self._real(self._sum.shape[0], self._sum.shape[1], self._sum.device)
        if self._mode == "released":
            position = real.cumsum(dim=1).clamp(min=1).to(self._dtype)  # from 1
            mean = (self._sum / self._heads).to(self._dtype)
            return torch.where(real > 0, (mean.sum(dim=-1) / position).float(), 0.0)
        queries = real.flip(1).cumsum(dim=1).flip(1) - (1 if self._mode == "received_strict" else 0)
        return torch.where((real > 0) & (queries > 0), self._sum / (self._heads * queries.clamp(min=1)), 0.0)
