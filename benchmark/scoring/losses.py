"""Losses of tokens in a model, with logits computed for a block of tokens at a time, so that large vocabularies fit."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from benchmark.core.errors import UserError

BLOCK = 2**26  # most logits computed at once: 256 MiB in float32


class TokenLosses:
    """While this context is open, the hidden states of the decoder's last pass are kept.

    `scores` gives the losses of its tokens, `likeliest` the tokens that the model expects next.

        with TokenLosses(model) as losses:
            losses.decoder(input_ids=ids, attention_mask=mask, use_cache=False)
            scores = losses.scores()

    The model itself computes logits from hidden states, with all that it does after the head, such as the soft-capping
    of Gemma 2: it is called for a single token, and a hook replaces that token's hidden state by those of a block.

    Args:
        model: A causal language model of transformers, with its head.
        block: Most logits computed at once; a token's logits are always computed together.
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
        self._hook = self.decoder.register_forward_hook(self._keep_or_replace, with_kwargs=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hook.remove()

    def _keep_or_replace(self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """Keep the decoder's hidden states, or replace them by a block of those kept before."""
        if self._block is None:
            self._inputs, self._hidden = kwargs, output.last_hidden_state
        else:
            output.last_hidden_state = self._block
        return output

    def scores(self) -> torch.Tensor:
        """Losses of the last pass in nats, float32 (batch, n).

        loss(j) = −ln p(token j | tokens 0 … j − 1). The first token of a row, which has none before it, has 0, and so
        has padding on the right.

        Raises:
            UserError: If the model's `forward` does not go through its decoder.
            ValueError: If there was no pass.
        """
        if self._hidden is None:
            raise ValueError("no forward pass of the decoder yet, so there are no losses")
        ids = self._inputs["input_ids"].to(self._hidden.device)  # the last layer's device, if the model has several
        mask = self._inputs.get("attention_mask")
        real = torch.ones_like(ids) if mask is None else mask.to(ids.device)
        predicted = real[:, 1:].bool()
        hidden, targets = self._hidden[:, :-1][predicted], ids[:, 1:][predicted]
        blocks = zip(hidden.split(self._rows), targets.split(self._rows), strict=True)
        losses = torch.zeros(ids.shape, device=hidden.device)
        parts = [cross_entropy(self._logits(rows, ids), goal, reduction="none") for rows, goal in blocks]
        losses[:, 1:][predicted] = torch.cat(parts) if parts else losses.new_zeros(0)
        return losses

    def likeliest(self, positions: Sequence[Sequence[int]], top: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The likeliest next tokens after some positions of the last pass.

        Args:
            positions: For each row the positions, each below the row's length without padding.
            top: Tokens for each position; all if the vocabulary has fewer.

        Returns:
            For each row the tokens, int64 (positions, top), the likeliest first, and their log-probabilities, float32.

        Raises:
            UserError: If the model's `forward` does not go through its decoder.
            ValueError: If there was no pass.
        """
        if self._hidden is None:
            raise ValueError("no forward pass of the decoder yet, so there are no probabilities")
        hidden = torch.cat([of_row[list(after)] for of_row, after in zip(self._hidden, positions, strict=True)])
        ids = self._inputs["input_ids"]
        parts = []
        for rows in hidden.split(self._rows):
            log_probs = self._logits(rows, ids).log_softmax(dim=-1)
            parts.append(log_probs.topk(min(top, log_probs.shape[-1]), dim=-1))
        sizes = [len(after) for after in positions]
        log_probs, tokens = (torch.cat([part[index] for part in parts]).split(sizes) for index in (0, 1))
        return list(zip(tokens, log_probs, strict=True))

    def _logits(self, hidden: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """float32 logits (tokens, vocabulary) of hidden states (tokens, width); `ids` gives a token to call with."""
        self._block = hidden[None]
        try:
            logits: torch.Tensor = self._model(input_ids=ids[:1, :1], use_cache=False).logits
        finally:
            self._block = None
        if logits.shape[1] != len(hidden):
            name = type(self._model).__name__
            raise UserError(
                f"{name}: its forward does not go through its decoder, so it gives no losses; use another model"
            )
        return logits[0].float()
