"""Rows of tokens that begin alike, read by a model that reads what they share once.

What rows share is read alone; its keys and values then stand before the rest of every row. Continuations of one context
can share a row: each sees the context and itself. Positions and what is attended to are those of a row read whole.
"""

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from benchmark.core.errors import UserError
from benchmark.models.adapters import alike

_PLAIN = (DynamicLayer, DynamicSlidingWindowLayer)  # keys and values, and nothing else
_ARGUMENTS = {"attention_mask", "position_ids", "past_key_values", "logits_to_keep"}
_CANNOT = (IndexError, RuntimeError, TypeError, ValueError)  # of architectures that take no such mask or cache


class Row:
    """A context and continuations of it, one behind the other.

    Attributes:
        context: Its number of tokens.
        tokens: The context, then every continuation but its last token, which is only to be predicted.
        positions: Where each token would stand if its continuation came alone.
        parts: The number of each token's continuation, 0 for the context.
    """

    def __init__(self, context: Sequence[int]) -> None:
        self.context = len(context)
        self.tokens = list(context)
        self.positions = list(range(len(context)))
        self.parts = [0] * len(context)
        self._starts: dict[tuple[int, ...], int] = {}

    def add(self, continuation: Sequence[int]) -> list[int]:
        """Put a continuation in the row; returns the places behind which its tokens are predicted, one for each."""
        read = tuple(continuation[:-1])
        if read and read not in self._starts:
            self._starts[read] = len(self.tokens)
            self.tokens += read
            self.positions += range(self.context, self.context + len(read))
            self.parts += [len(self._starts)] * len(read)
        start = self._starts.get(read, 0)
        return [self.context - 1, *range(start, start + len(read))]


class Beginning:
    """What rows begin with, read once.

    Attributes:
        ids: Its tokens; there may be none.
    """

    def __init__(self, ids: Sequence[int], cache: DynamicCache) -> None:
        self.ids = list(ids)
        self._cache = cache

    def cache(self, rows: int) -> DynamicCache:
        """Its keys and values before so many rows. They take memory of their own once the rows are read on."""
        cache = copy.copy(self._cache)
        layers: list[Any] = [copy.copy(layer) for layer in self._cache.layers]
        cache.layers = layers
        for layer in layers:
            if layer.is_initialized:
                layer.keys = layer.keys.expand(rows, -1, -1, -1)
                layer.values = layer.values.expand(rows, -1, -1, -1)
        return cache


class Reader:
    """A model that reads rows on from their beginning.

    Args:
        model: A causal language model of transformers, or a peft model of one, in evaluation mode.

    Attributes:
        reads: Whether the model can do that: it keeps keys and values alone, which stay as they are when a row grows.
            This is tried out, for some architectures carry a state along the row or tell positions in their own way.
        packs: Whether continuations can share a row, tried out as well.
        window: Tokens that the layer with the narrowest sliding window sees, None without one.
    """

    def __init__(self, model: Any) -> None:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._model = model
        self._config = base.config.get_text_config(decoder=True)
        self.reads = self.packs = False
        self.window: int | None = None
        arguments = inspect.signature(base.forward).parameters.keys()
        if base.config.is_encoder_decoder or not arguments >= _ARGUMENTS:
            return
        layers: list[Any] = DynamicCache(config=self._config).layers
        if not all(type(layer) in _PLAIN for layer in layers) or _turns_keys_anew(base):
            return
        self.window = min((layer.sliding_window for layer in layers if layer.is_sliding), default=None)
        self.reads = _holds(self._reads_on)
        self.packs = self.reads and self._config._attn_implementation in ("eager", "sdpa") and _holds(self._keeps_apart)

    def begin(self, ids: Sequence[int]) -> Beginning:
        """Read what rows begin with."""
        cache = DynamicCache(config=self._config)
        if ids:
            self.read(torch.tensor([ids]), torch.arange(len(ids))[None], None, cache, keep=1)
        return Beginning(ids, cache)

    def predicted(self, rows: Sequence[Row], beginning: Beginning, places: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Logits of what follows some places of rows, each given as (number of the row, place in it).

        The beginning must end before the last token of every context. Where a row has several continuations, the model
        must be one that `packs`, and positions have to lie within the window.

        Returns (places, vocabulary), in the model's precision.
        """
        skip = len(beginning.ids)
        ids = _in_columns([row.tokens[skip:] for row in rows], 0)
        positions = _in_columns([row.positions[skip:] for row in rows], 0)
        parts = _in_columns([row.parts[skip:] for row in rows], -1)
        mask = self._apart(parts, skip) if int(parts.max()) > 1 else None  # a single part is causal as it is
        first = min(place for _, place in places) - skip
        logits = self.read(ids, positions, mask, beginning.cache(len(rows)), keep=ids.shape[1] - first)
        numbers = torch.tensor(places, device=logits.device)
        return logits[numbers[:, 0], numbers[:, 1] - skip - first]

    def continued(
        self,
        rows: Sequence[Sequence[int]],
        beginning: Beginning,
        limit: int,
        ended: Callable[[list[list[int]]], list[bool]],
    ) -> list[list[int]]:
        """The likeliest tokens one after another, for every row; a row that ended is read no more.

        Args:
            rows: Token ids, each with more than the beginning. If lengths differ, longest and limit have to fit the
                window, which the padding between would shift.
            beginning: Of all rows.
            limit: Most tokens for a row, 1 or more.
            ended: Tells of the tokens made for some rows whether each has ended, asked after every step.
        """
        made: list[list[int]] = [[] for _ in rows]
        going = list(range(len(rows)))
        reading = _Reading(self, beginning, len(rows))
        logits = reading.on([row[len(beginning.ids) :] for row in rows])
        while True:
            for row, token in zip(going, logits.float().argmax(dim=-1).tolist(), strict=True):
                made[row].append(token)
            done = ended([made[row] for row in going])
            staying = [place for place, is_done in enumerate(done) if not is_done]
            if not staying or len(made[going[0]]) == limit:
                return made
            if len(staying) < len(going):
                reading.keep(staying)
                going = [going[place] for place in staying]
            logits = reading.on([made[row][-1:] for row in going])

    @torch.no_grad()
    def read(
        self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None, cache: DynamicCache, keep: int
    ) -> torch.Tensor:
        """One forward pass: tokens behind those of a cache, which takes them up; logits of the last `keep` columns.

        `ids` and `positions` are (rows, n), `mask` as the model takes it. Returns (rows, keep, vocabulary).
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
        if not logits.amax().isfinite():  # NaN, too: a likeliest token would be made up
            raise UserError("the model's logits are not finite numbers; load it in bfloat16 or float32")
        return logits

    def _apart(self, parts: torch.Tensor, skip: int) -> torch.Tensor:
        """The mask that keeps continuations apart, (rows, 1, n, skip + n), as the model's attention takes it."""
        rows, length = parts.shape
        query, key = parts[:, :, None], parts[:, None, :]
        seen = ((key == 0) | (key == query)) & torch.ones(length, length, dtype=torch.bool).tril()
        seen = torch.cat([torch.ones(rows, length, skip, dtype=torch.bool), seen], dim=2)[:, None]
        if self._config._attn_implementation == "sdpa":
            return seen
        kind = self._model.dtype
        return torch.zeros(seen.shape, dtype=kind).masked_fill(~seen, torch.finfo(kind).min)

    def _reads_on(self) -> bool:
        """Whether rows read on, one of them padded, come out as rows read whole."""
        start, (more,) = self._tokens(1, 2), self._tokens(7)
        rows = [[*start, *self._tokens(*rest)] for rest in ((3,), (4, 5, 6))]
        reading = _Reading(self, self.begin(start), len(rows))
        found = [*reading.on([row[len(start) :] for row in rows]), *reading.on([[more], [more]])]
        whole = [self._whole(row)[-1] for row in (*rows, *([*row, more] for row in rows))]
        return alike(torch.stack(found), torch.stack(whole))

    def _keeps_apart(self) -> bool:
        """Whether continuations in one row come out as each would by itself."""
        context = self._tokens(1, 2, 4, 5)
        row, continuations = Row(context), [self._tokens(*some) for some in ((7, 3, 2), (2, 6))]
        places = [(0, place) for some in continuations for place in row.add(some)]
        whole = [self._whole([*context, *some[:-1]])[len(context) - 1 :] for some in continuations]
        return alike(self.predicted([row], self.begin(context[:2]), places), torch.cat(whole))

    def _tokens(self, *numbers: int) -> list[int]:
        return [number % self._config.vocab_size for number in numbers]

    @torch.no_grad()
    def _whole(self, ids: Sequence[int]) -> torch.Tensor:
        """Logits (n, vocabulary) of a row read in one piece."""
        logits: torch.Tensor = self._model(input_ids=torch.tensor([ids], device=self._model.device)).logits
        return logits[0]


class _Reading:
    """Rows in the midst of being read, padded between the beginning and their own tokens."""

    def __init__(self, reader: Reader, beginning: Beginning, rows: int) -> None:
        self._reader = reader
        self._cache = beginning.cache(rows)
        self._real = torch.ones(rows, len(beginning.ids), dtype=torch.long)

    def on(self, pieces: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read each row's next tokens, at least one; logits behind the last of them, (rows, vocabulary)."""
        ids = _in_columns(pieces, 0, left=True)
        self._real = torch.cat([self._real, _in_columns([[1] * len(piece) for piece in pieces], 0, left=True)], dim=1)
        positions = (self._real.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        mask = None if bool(self._real.all()) else self._real
        return self._reader.read(ids, positions, mask, self._cache, keep=1)[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the rows."""
        numbers = torch.tensor(rows)
        self._real = self._real[numbers]
        self._cache.batch_select_indices(numbers)


def _in_columns(rows: Sequence[Sequence[int]], filler: int, left: bool = False) -> torch.Tensor:
    """Rows as one int64 tensor (rows, longest), filled up on the right or on the left."""
    longest = max(map(len, rows))
    rests = [[filler] * (longest - len(row)) for row in rows]
    return torch.tensor([[*rest, *row] if left else [*row, *rest] for row, rest in zip(rows, rests, strict=True)])


def _turns_keys_anew(model: torch.nn.Module) -> bool:
    """Whether rotary positions depend on the length of the row, so that keys change when it grows."""
    kinds = [str(getattr(module, "rope_type", "")) for module in model.modules()]
    return any("dynamic" in kind or "longrope" in kind for kind in kinds)


def _holds(tried: Callable[[], bool]) -> bool:
    try:
        return tried()
    except _CANNOT:
        return False
