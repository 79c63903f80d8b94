"""Score the tokens of texts with a model: the attention that each token receives, or its loss."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError, nearest
from benchmark.data.attention import REDUCTIONS, AttentionPart
from benchmark.data.texts import Text, TokenScores
from benchmark.scoring.encoding import batches, check_lengths, encode, pad, prefix_for

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from benchmark.core.progress import Progress


def score_texts(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[Text],
    reduction: str = "received",
    prefix: str = "",
    tokens_per_batch: int = 4096,
    progress: "Progress | None" = None,
    part: AttentionPart | None = None,
) -> list[TokenScores]:
    """Score every token of every text by the attention it receives in the model, or by its loss.

    The model reads each text by itself, after the prefix and the special tokens that the tokenizer adds. These have no
    entry in the result. A token that reaches from the prefix into the text begins at the text's first character.

    Args:
        model: A causal language model; its language-model head runs for "loss" alone.
        tokenizer: The model's tokenizer, a fast one; it needs no padding token.
        texts: The texts to score.
        reduction: One of REDUCTIONS. `ReceivedAttention.scores` explains those of ATTENTION. "loss" is the token's
            negative log-likelihood in nats, given all tokens before it and the prefix. A token with none before it, as
            the first of a text if the tokenizer adds no special token, has a loss of 0.
        prefix: Put before every text, for example "Text: ", since the first position draws attention whatever token it
            holds; `prefix_for` explains "auto".
        tokens_per_batch: Most tokens of a batch, padding included; a longer text has a batch of its own.
        progress: Called after each batch with the texts done, all texts, and the tokens read.
        part: Which layers or heads count; all of them if None. It does not apply to "loss".

    Returns:
        Scores for each text, in the order of `texts`.

    Raises:
        UserError: If the reduction is unknown, the tokenizer gives no offsets, a text is empty or longer than the
            model's context, the architecture's attention cannot be read or lacks `part`, or a score is not finite.
    """
    from benchmark.models.forward_checks import padding_is_harmless
    from benchmark.models.loading import context_of
    from benchmark.scoring.attention import ReceivedAttention
    from benchmark.scoring.losses import TokenLosses

    if reduction not in REDUCTIONS:
        raise UserError(f"reduction {reduction!r} is unknown; {nearest(reduction, REDUCTIONS)}")
    encoded = encode(tokenizer, texts, prefix_for(tokenizer, prefix))
    reader = TokenLosses(model) if reduction == "loss" else ReceivedAttention(model, reduction, part=part)
    decoder = reader.decoder
    check_lengths(encoded, context_of(decoder.config))
    scores: dict[int, TokenScores] = {}
    tokens_read = 0
    with _inference(decoder):
        padded = padding_is_harmless(model)
        with reader:
            for batch in batches([len(text.ids) for text in encoded], tokens_per_batch, padded):
                ids, mask = pad([encoded[number].ids for number in batch])
                decoder(input_ids=ids.to(decoder.device), attention_mask=mask.to(decoder.device), use_cache=False)
                for number, row in zip(batch, reader.scores().cpu(), strict=True):
                    scores[number] = encoded[number].with_tensor(row, decoder.dtype)
                tokens_read += sum(len(encoded[number].ids) for number in batch)
                if progress:
                    progress(len(scores), len(texts), tokens_read)
    return [scores[number] for number in range(len(texts))]


@dataclass(frozen=True)
class QueryAttention:
    """What a token of a text attends to.

    Attributes:
        tokens: The text's tokens, scored with their share of the token's attention; those after it have 0.
        query: Number of the attending token.
        first: Whether token 0 was at the model's first position, which draws attention whatever token it holds.
    """

    tokens: TokenScores
    query: int
    first: bool


def attention_before(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[Text],
    characters: Sequence[Sequence[int]],
    prefix: str = "",
    tokens_per_batch: int = 4096,
) -> list[list[QueryAttention | None]]:
    """For some characters of each text: what the last token before the character attends to.

    Tokens of white space alone are passed over. Attention is the mean over layers and heads.

    Args:
        model: A causal language model.
        tokenizer: The model's tokenizer, a fast one.
        texts: The texts.
        characters: For each text, indices of characters.
        prefix: Put before every text, see `score_texts`.
        tokens_per_batch: Most tokens of a batch, padding included.

    Returns:
        For each text and character: the attention, or None if no token comes before the character.

    Raises:
        UserError: As `score_texts`.
    """
    from benchmark.models.loading import context_of
    from benchmark.scoring.attention import ReceivedAttention

    encoded = encode(tokenizer, texts, prefix_for(tokenizer, prefix))
    reader = ReceivedAttention(model)
    decoder = reader.decoder
    check_lengths(encoded, context_of(decoder.config))
    queries = [
        [text.last_before(character) for character in of_text]
        for text, of_text in zip(encoded, characters, strict=True)
    ]
    results: dict[int, list[QueryAttention | None]] = {}
    with _inference(decoder), reader:
        for batch in batches([len(text.ids) for text in encoded], tokens_per_batch):
            ids, mask = (tensor.to(decoder.device) for tensor in pad([encoded[number].ids for number in batch]))
            reader.watch([[encoded[n].units[query][2][-1] for query in queries[n] if query >= 0] for n in batch])
            decoder(input_ids=ids, attention_mask=mask, use_cache=False)
            rows = iter(reader.rows().cpu())
            for number in batch:
                text, first = encoded[number], 0 in encoded[number].units[0][2]
                results[number] = [
                    QueryAttention(text.with_tensor(next(rows)[: len(text.ids)], decoder.dtype), query, first)
                    if query >= 0
                    else None
                    for query in queries[number]
                ]
    return [results[number] for number in range(len(texts))]


@contextmanager
def _inference(decoder: Any) -> Iterator[None]:
    """While this context is open, the decoder is in evaluation mode and no gradients are computed."""
    import torch

    was_training = decoder.training
    decoder.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        decoder.train(was_training)
