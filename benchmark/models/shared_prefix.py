"""Read token rows that share a prefix, with the prefix computed once.

The keys and values of the shared prefix are computed once, and every row continues from them. Several continuations of
a context can also be packed into a row, where each sees the context and itself. In both cases, every token has the same
position and sees the same tokens as in a separate row, so logits differ by rounding alone.

transformers can continue a batch from a cache too (`generate(past_key_values=…)`), but it keeps computing rows that
have ended, and it packs no continuations.
"""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from benchmark.models.forward_checks import check_finite_logits, logits_agree

_KEYS_AND_VALUES_ALONE = (DynamicLayer, DynamicSlidingWindowLayer)
_NEEDED_ARGUMENTS = {"attention_mask", "position_ids", "past_key_values", "logits_to_keep"}
# What architectures raise that accept no such mask or cache.
_UNSUPPORTED = (IndexError, RuntimeError, TypeError, ValueError)


class PackedRow:
    """A context followed by continuations of it.

    Attributes:
        context: Number of tokens of the context.
        tokens: The context, then every continuation but its last token, which is predicted and never read.
        positions: The position of each token if its continuation came alone after the context.
        parts: The number of each token's continuation, from 1; 0 for the context.
    """

    def __init__(self, context: Sequence[int]) -> None:
        self.context = len(context)
        self.tokens = list(context)
        self.positions = list(range(len(context)))
        self.parts = [0] * len(context)
        self._starts: dict[tuple[int, ...], int] = {}

    def add(self, continuation: Sequence[int]) -> list[int]:
        """Add a continuation.

        Continuations with the same tokens to read share them.

        Returns:
            For each token of the continuation, the index in `tokens` whose logits predict it.
        """
        read = tuple(continuation[:-1])
        if read and read not in self._starts:
            self._starts[read] = len(self.tokens)
            self.tokens += read
            self.positions += range(self.context, self.context + len(read))
            self.parts += [len(self._starts)] * len(read)
        start = self._starts.get(read, 0)
        return [self.context - 1, *range(start, start + len(read))]


class Prefix:
    """Tokens that rows share, with their keys and values.

    Attributes:
        ids: The tokens; there may be none.
    """

    def __init__(self, ids: Sequence[int], cache: DynamicCache) -> None:
        self.ids = list(ids)
        self._cache = cache

    def cache(self, rows: int) -> DynamicCache:
        """The prefix's keys and values, repeated for each row of a batch.

        The rows are views of the same memory until a forward pass appends to them.
        """
        cache = copy.copy(self._cache)
        layers: list[Any] = [copy.copy(layer) for layer in self._cache.layers]
        cache.layers = layers
        for layer in layers:
            if layer.is_initialized:
                layer.keys = layer.keys.expand(rows, -1, -1, -1)
                layer.values = layer.values.expand(rows, -1, -1, -1)
        return cache


class PrefixReader:
    """A model that continues rows from a shared prefix.

    Args:
        model: A causal language model of transformers, or a peft model of one, in evaluation mode.

    Attributes:
        supported: Whether the model can do so: it caches keys and values alone, and these do not change when a row
            grows. A trial run finds out, since some architectures carry a state along the row or count positions in
            their own way.
        packs: Whether continuations can be packed into a row, which a trial run finds out as well.
        window: Tokens that the layer with the narrowest sliding window sees; None without such a layer.
    """

    def __init__(self, model: Any) -> None:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._model = model
        self._config = base.config.get_text_config(decoder=True)
        self.supported = self.packs = False
        self.window: int | None = None
        arguments = inspect.signature(base.forward).parameters.keys()
        if base.config.is_encoder_decoder or not arguments >= _NEEDED_ARGUMENTS:
            return
        layers: list[Any] = DynamicCache(config=self._config).layers
        if not all(type(layer) in _KEYS_AND_VALUES_ALONE for layer in layers) or _keys_depend_on_length(base):
            return
        self.window = min((layer.sliding_window for layer in layers if layer.is_sliding), default=None)
        if (head := base.get_output_embeddings()) is not None:  # None where an architecture does not name its head
            head.register_forward_pre_hook(_contiguous)
        self.supported = _succeeds(self._try_prefix)
        self.packs = (
            self.supported and self._config._attn_implementation in ("eager", "sdpa") and _succeeds(self._try_packing)
        )

    def read_prefix(self, ids: Sequence[int]) -> Prefix:
        """Compute the keys and values of a prefix."""
        cache = DynamicCache(config=self._config)
        if ids:
            self.forward(torch.tensor([ids]), torch.arange(len(ids))[None], None, cache, keep=1)
        return Prefix(ids, cache)

    def groups(self, rows: Sequence[Sequence[int]], limit: int) -> list[list[int]]:
        """Numbers of the rows that `generate` can take together: all, or those of a length under a sliding window.

        Args:
            rows: Token ids.
            limit: Most tokens to generate for a row.
        """
        fits = self.window is None or max(map(len, rows)) + limit <= self.window
        groups: dict[int, list[int]] = {}
        for number, row in enumerate(rows):
            groups.setdefault(0 if fits else len(row), []).append(number)
        return list(groups.values())

    def logits_at(self, rows: Sequence[PackedRow], prefix: Prefix, indices: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Logits at some tokens of some rows.

        Args:
            rows: Rows that begin with the prefix. Rows with several continuations need a model that `packs`, and
                positions within its window.
            prefix: Tokens that all rows share, ending before the last token of every context.
            indices: For each result, the number of the row and the index of the token in it.

        Returns:
            Logits (indices, vocabulary), in the model's precision.
        """
        skip = len(prefix.ids)
        ids = _padded([row.tokens[skip:] for row in rows], 0)
        positions = _padded([row.positions[skip:] for row in rows], 0)
        parts = _padded([row.parts[skip:] for row in rows], -1)
        mask = self._packing_mask(parts, skip) if int(parts.max()) > 1 else None  # a single part is causal as it is
        first = min(index for _, index in indices) - skip
        logits = self.forward(ids, positions, mask, prefix.cache(len(rows)), keep=ids.shape[1] - first)
        numbers = torch.tensor(indices, device=logits.device)
        return logits[numbers[:, 0], numbers[:, 1] - skip - first]

    def generate(
        self,
        rows: Sequence[Sequence[int]],
        prefix: Prefix,
        limit: int,
        ended: Callable[[list[list[int]]], list[bool]],
        pick: Callable[[torch.Tensor, Sequence[int]], list[int]] | None = None,
    ) -> list[list[int]]:
        """Generate for every row. Rows that have ended are not computed further, and equal rows are read once.

        Args:
            rows: Token ids, each longer than the prefix. Rows of different lengths must fit the model's window together
                with `limit`, since padding between prefix and row would shift the window.
            prefix: Tokens that all rows share.
            limit: Most tokens for a row, at least 1.
            ended: Called after every step with the tokens generated for the remaining rows; says of each row whether it
                has ended.
            pick: Called with logits (rows, vocabulary) and the numbers of these rows; gives the next token of each.
                None takes the likeliest.

        Returns:
            The generated tokens of every row.
        """
        generated: list[list[int]] = [[] for _ in rows]
        remaining = list(range(len(rows)))
        distinct = {row: number for number, row in enumerate(dict.fromkeys(map(tuple, rows)))}
        generation = _Generation(self, prefix, len(distinct))
        logits = generation.step([row[len(prefix.ids) :] for row in distinct])
        if len(distinct) < len(rows):
            copies = [distinct[tuple(row)] for row in rows]
            generation.keep(copies)
            logits = logits[copies]
        while True:
            picked = pick(logits, remaining) if pick else logits.float().argmax(dim=-1).tolist()
            for row, token in zip(remaining, picked, strict=True):
                generated[row].append(token)
            over = ended([generated[row] for row in remaining])
            kept = [number for number, is_over in enumerate(over) if not is_over]
            if not kept or len(generated[remaining[0]]) == limit:
                return generated
            if len(kept) < len(remaining):
                generation.keep(kept)
                remaining = [remaining[number] for number in kept]
            logits = generation.step([generated[row][-1:] for row in remaining])

    @torch.no_grad()
    def forward(
        self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None, cache: DynamicCache, keep: int
    ) -> torch.Tensor:
        """Run the model on tokens that follow those of a cache, and append them to the cache.

        Args:
            ids: Token ids (rows, n).
            positions: Their positions (rows, n).
            mask: An attention mask as the model takes it, None for a causal one.
            cache: Keys and values of the tokens before.
            keep: Number of last columns to return logits of.

        Returns:
            Logits (rows, keep, vocabulary).

        Raises:
            UserError: If the logits are not finite numbers.
        """
        device = self._model.device
        logits: torch.Tensor = self._model(
            input_ids=ids.to(device),
            position_ids=positions.to(device),
            attention_mask=None if mask is None else mask.to(device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        check_finite_logits(self._model, logits)
        return logits

    def _packing_mask(self, parts: torch.Tensor, skip: int) -> torch.Tensor:
        """The mask (rows, 1, n, skip + n) that hides continuations from each other, as the model's attention takes it.

        Args:
            parts: The number of each token's continuation (rows, n), −1 for padding.
            skip: Tokens of the prefix, which all tokens see.
        """
        rows, length = parts.shape
        query, key = parts[:, :, None], parts[:, None, :]
        seen = ((key == 0) | (key == query)) & torch.ones(length, length, dtype=torch.bool).tril()
        seen = torch.cat([torch.ones(rows, length, skip, dtype=torch.bool), seen], dim=2)[:, None]
        if self._config._attn_implementation == "sdpa":
            return seen
        dtype = self._model.dtype
        return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)

    def _try_prefix(self) -> bool:
        """Whether two rows that continue from a prefix, one of them padded, have the logits of whole rows."""
        prefix, (last,) = self._tokens(1, 2), self._tokens(7)
        rows = [[*prefix, *self._tokens(*rest)] for rest in ((3,), (4, 5, 6))]
        generation = _Generation(self, self.read_prefix(prefix), len(rows))
        logits = [*generation.step([row[len(prefix) :] for row in rows]), *generation.step([[last], [last]])]
        expected = [self._whole_row(row)[-1] for row in (*rows, *([*row, last] for row in rows))]
        return logits_agree(torch.stack(logits), torch.stack(expected))

    def _try_packing(self) -> bool:
        """Whether continuations packed into a row have the logits of rows of their own."""
        context = self._tokens(1, 2, 4, 5)
        row, continuations = PackedRow(context), [self._tokens(7, 3, 2), self._tokens(2, 6)]
        indices = [(0, index) for continuation in continuations for index in row.add(continuation)]
        expected = [self._whole_row([*context, *rest[:-1]])[len(context) - 1 :] for rest in continuations]
        return logits_agree(self.logits_at([row], self.read_prefix(context[:2]), indices), torch.cat(expected))

    def _tokens(self, *numbers: int) -> list[int]:
        return [number % self._config.vocab_size for number in numbers]

    @torch.no_grad()
    def _whole_row(self, ids: Sequence[int]) -> torch.Tensor:
        """Logits (n, vocabulary) of a row read without a prefix."""
        logits: torch.Tensor = self._model(input_ids=torch.tensor([ids], device=self._model.device)).logits
        return logits[0]


class _Generation:
    """The state of rows that are read step by step, with padding between the prefix and a row's own tokens."""

    def __init__(self, reader: PrefixReader, prefix: Prefix, rows: int) -> None:
        self._reader = reader
        self._cache = prefix.cache(rows)
        self._mask = torch.ones(rows, len(prefix.ids), dtype=torch.long)  # 1 for tokens, 0 for padding

    def step(self, pieces: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read the next tokens of each row, at least one; logits (rows, vocabulary) at the last of them."""
        ids = _padded(pieces, 0, left=True)
        self._mask = torch.cat([self._mask, _padded([[1] * len(piece) for piece in pieces], 0, left=True)], dim=1)
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        mask = None if bool(self._mask.all()) else self._mask
        return self._reader.forward(ids, positions, mask, self._cache, keep=1)[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, which may be repeated."""
        numbers = torch.tensor(rows)
        self._mask = self._mask[numbers]
        self._cache.batch_select_indices(numbers)


def common_prefix(rows: Sequence[list[int]]) -> list[int]:
    """The longest prefix that all rows share."""
    # In lexicographic order all rows lie between the first and the last, so they share what these two share.
    first, last = min(rows), max(rows)
    length = next((index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length]


def _padded(rows: Sequence[Sequence[int]], filler: int, left: bool = False) -> torch.Tensor:
    """Rows as an int64 tensor (rows, longest), padded on the right or on the left."""
    longest = max(map(len, rows))
    padding = [[filler] * (longest - len(row)) for row in rows]
    return torch.tensor([[*pad, *row] if left else [*row, *pad] for row, pad in zip(rows, padding, strict=True)])


def _contiguous(_: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs of a model's head, without gaps between their rows.

    `logits_to_keep` leaves gaps. torch.matmul then copies a frozen weight, such as an adapter's base model has, for
    every row of the batch: 17 GB for 64 rows of a model with a vocabulary of 150,000 and a width of 900.
    """
    return tuple(value.contiguous() if isinstance(value, torch.Tensor) else value for value in inputs)


def _keys_depend_on_length(model: torch.nn.Module) -> bool:
    """Whether rotary positions depend on the length of the row, so that keys change when it grows."""
    kinds = [str(getattr(module, "rope_type", "")) for module in model.modules()]
    return any("dynamic" in kind or "longrope" in kind for kind in kinds)


def _succeeds(trial: Callable[[], bool]) -> bool:
    """The trial's result; False if the architecture does not accept its mask or cache."""
    try:
        return trial()
    except _UNSUPPORTED:
        return False
