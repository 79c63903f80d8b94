"""How well a model predicts a text: perplexity per token, and bits per byte."""

import math
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.progress import Progress

BATCH = 4096  # most tokens of the windows that are read together


def measure_text(
    model: Any,
    tokenizer: Any,
    text: str,
    context: int,
    most: int | None = None,
    progress: Progress = lambda *steps: None,
) -> dict[str, float]:
    """Measure how well a model predicts a text, in windows of `context` tokens that do not overlap.

    This is the perplexity of transformers' documentation for models with a fixed context, with a stride as long as the
    window: the first token of each window is not predicted. If the tokenizer puts a special token before every text, it
    is put before every window, and every token of the text is predicted.

    With T predicted tokens that stand for B bytes of UTF-8, and L = −Σ ln p(token | tokens before it in its window):
    perplexity = exp(L / T), bits per byte = L / (B · ln 2).

    Args:
        model: A causal language model, or a peft model of one.
        tokenizer: Its tokenizer, a fast one.
        text: The text.
        context: Tokens of a window, special tokens included; the last window may be shorter.
        most: Number of tokens at the beginning of the text to use; all if None.
        progress: Called with the windows done, all windows, and the tokens read.

    Returns:
        `perplexity`; `bits_per_byte`, which is comparable between models with different tokenizers; the number of
        predicted `tokens` and of their `bytes`; and `context`.

    Raises:
        UserError: If no token is left to predict, or a likelihood is not a finite number.
    """
    windows, size = _windows(tokenizer, text, context, most)
    first = len(_special_before(tokenizer)) or 1
    count = sum(len(window) - first for window in windows)
    if not count or not size:
        raise UserError("its text is too short: no token is left to predict; give a longer one")
    total = _nats(model, windows, first, context, progress)
    if not total / count < 700:  # true also for NaN; the exponential of more would overflow
        raise UserError("the model's likelihoods are not finite numbers; leave the entry out")
    return {
        "perplexity": round(math.exp(total / count), 6),
        "bits_per_byte": round(total / math.log(2) / size, 6),
        "tokens": count,
        "bytes": size,
        "context": context,
    }


def _special_before(tokenizer: Any) -> list[int]:
    """Ids of the special tokens that the tokenizer puts before every text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    return list(encoded["input_ids"][: encoded["special_tokens_mask"].index(0)])


def _windows(tokenizer: Any, text: str, context: int, most: int | None) -> tuple[list[list[int]], int]:
    """Token ids per window, and the number of UTF-8 bytes that the predicted tokens stand for."""
    special = _special_before(tokenizer)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, ends = encoded["input_ids"][:most], [end for _, end in encoded["offset_mapping"][:most]]
    not_predicted = 0 if special else 1
    room = context - len(special)
    windows, size = [], 0
    for start in range(0, len(ids), max(room, 1)):
        stop = min(start + room, len(ids))
        if stop - start > not_predicted:
            first = ends[start + not_predicted - 1] if start + not_predicted else 0
            size += len(text[first : ends[stop - 1]].encode("utf-8"))
            windows.append([*special, *ids[start:stop]])
    return windows, size


def _nats(model: Any, windows: list[list[int]], first: int, context: int, progress: Progress) -> float:
    """Sum of the losses in nats of all windows' tokens from index `first` on."""
    import torch

    from benchmark.scoring.losses import TokenLosses

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    at_once, total, done, tokens_read = max(1, BATCH // context), 0.0, 0, 0
    with torch.inference_mode(), TokenLosses(base) as losses:
        while done < len(windows):
            # Only the last window may be shorter than the others; then it has a batch of its own.
            batch = [window for window in windows[done : done + at_once] if len(window) == len(windows[done])]
            losses.decoder(input_ids=torch.tensor(batch, device=base.device), use_cache=False)
            total += float(losses.scores()[:, first:].double().sum())
            done += len(batch)
            tokens_read += sum(map(len, batch))
            progress(done, len(windows), tokens_read)
    return total
