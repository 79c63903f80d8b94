"""Each token's loss in a model, with logits made for a block of tokens at a time, so that large vocabularies fit."""

from types import TracebackType
from typing import Any, Self

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from benchmark.core.errors import UserError

BLOCK = 2**26  # most logits at once: a quarter of a GiB in float32


class TokenLosses:
    """While this context is open, the decoder's last forward pass is kept; `scores` makes losses of it.

        with TokenLosses(model) as losses:
            losses.decoder(input_ids=ids, attention_mask=mask, use_cache=False)
            scores = losses.scores()

    Logits are what the model itself makes of hidden states, with whatever it does behind the head (as Gemma 2 soft-caps
    them): it is called for one token, and the hidden states of a block are put in the place of that token's.

    Args:
        model: A causal language model of transformers, with its head.
        block: Most logits at once; at least one token's.
    """

    def __init__(self, model: PreTrainedModel, block: int = BLOCK) -> None:
        untyped: Any = model
        self._model: Any = untyped
        self.decoder: Any = untyped.get_decoder()
        self._rows = max(1, block // model.config.get_text_config().vocab_size)
        self._inputs: dict[str, Any] = {}
        self._hidden: torch.Tensor | None = None
        self._block: torch.Tensor | None = None

    def __enter__(self) -> Self:
        self._hook = self.decoder.register_forward_hook(self._after, with_kwargs=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()

    def _after(self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Note what the decoder made, or hand on a block of what it made before."""
        if self._block is None:
            self._inputs, self._hidden = kwargs, output.last_hidden_state
        else:
            output.last_hidden_state = self._block
        return output

    def scores(self) -> torch.Tensor:
        """Losses of the last pass in nats, float32 of shape (batch, n).

        Token j's is −log of its probability given tokens 0 … j − 1 of its text. The first token of a row, which nothing
        stands before, has 0, and so has padding on the right.
        """
        if self._hidden is None:
            raise ValueError("no forward pass of the decoder to make losses of")
        ids = self._inputs["input_ids"].to(self._hidden.device)  # that of the last layer, where a model has several
        mask = self._inputs.get("attention_mask")
        real = torch.ones_like(ids) if mask is None else mask.to(ids.device)
        predicted = real[:, 1:].bool()
        hidden, targets = self._hidden[:, :-1][predicted], ids[:, 1:][predicted]
        blocks = zip(hidden.split(self._rows), targets.split(self._rows), strict=True)
        losses = torch.zeros(ids.shape, device=hidden.device)
        made = [cross_entropy(self._logits(rows, ids), goal, reduction="none") for rows, goal in blocks]
        losses[:, 1:][predicted] = torch.cat(made) if made else losses.new_zeros(0)
        return losses

    def _logits(self, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """float32 logits (tokens, vocabulary) of hidden states (tokens, width).

        Raises UserError if the model's `forward` goes another way than through its decoder.
        """
        self._block = hidden[None]
        try:
            logits: torch.Tensor = self._model(input_ids=ids[:1, :1], use_cache=False).logits
        finally:
            self._block = None
        if logits.shape[1] != len(hidden):
            name = type(self._model).__name__
            raise UserError(f"the decoder of {name} cannot be told from its head, so no losses can be made with it")
        return logits[0].float()
