"""How well a model predicts a text: perplexity per token, and bits per byte."""

import math
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.progress import Progress

BATCH = 4096  # tokens of the windows read at once


def measure_text(
    model: Any,
    tokenizer: Any,
    text: str,
    context: int,
    most: int | None = None,
    progress: Progress = lambda *steps: None,
) -> dict[str, float]:
    """How well a model predicts a text, in windows of `context` tokens that do not overlap.

    As transformers' documentation computes the perplexity of models with a fixed length, with a stride as long as the
    window: the first token of each window is given and not predicted. A tokenizer that begins texts with a token of its
    own begins every window with it, and then every token of the text is predicted.

    Args:
        model: a causal language model, or one with an adapter on it.
        tokenizer: its tokenizer, a fast one.
        text: what is to be predicted.
        context: tokens of a window, the one at its beginning included; the last window may be shorter.
        most: only so many of the text's first tokens are used.
        progress: told of the windows done, and the tokens read.

    Returns:
        `perplexity` per token, `bits_per_byte` (which models with other tokenizers may be compared by), the number of
        predicted `tokens` and of the UTF-8 `bytes` they stand for, and `context`.

    Raises:
        UserError: if there is nothing to predict, or a likelihood is not a finite number.
    """
    windows, size = _windows(tokenizer, text, context, most)
    first = len(_beginning(tokenizer)) or 1
    count = sum(len(window) - first for window in windows)
    if not count or not size:
        raise UserError("its text is too short: no token is left to predict; give a longer one")
    total = _nats(model, windows, first, context, progress)
    if not total / count < 700:  # beyond, or NaN: e to its power is no number
        raise UserError("the model's likelihoods are no finite numbers; leave the entry out")
    return {
        "perplexity": round(math.exp(total / count), 6),
        "bits_per_byte": round(total / math.log(2) / size, 6),
        "tokens": count,
        "bytes": size,
        "context": context,
    }


def _beginning(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text by itself."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    return list(encoded["input_ids"][: encoded["special_tokens_mask"].index(0)])


def _windows(tokenizer: Any, text: str, context: int, most: int | None) -> tuple[list[list[int]], int]:
    """Token ids per window, and the number of UTF-8 bytes that the predicted tokens stand for."""
    beginning = _beginning(tokenizer)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, ends = encoded["input_ids"][:most], [end for _, end in encoded["offset_mapping"][:most]]
    given = 0 if beginning else 1
    room = context - len(beginning)
    windows, size = [], 0
    for start in range(0, len(ids), max(room, 1)):
        stop = min(start + room, len(ids))
        if stop - start > given:
            known = ends[start + given - 1] if start + given else 0
            size += len(text[known : ends[stop - 1]].encode("utf-8"))
            windows.append([*beginning, *ids[start:stop]])
    return windows, size


def _nats(model: Any, windows: list[list[int]], first: int, context: int, progress: Progress) -> float:
    """Sum of the negative log-likelihoods (natural logarithm) of every token of the windows from place `first` on."""
    import torch

    from benchmark.scoring.losses import TokenLosses

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    at_once, total, done, read = max(1, BATCH // context), 0.0, 0, 0
    with torch.inference_mode(), TokenLosses(base) as losses:
        while done < len(windows):
            # Only the last window may be shorter than the others, and then it is a batch of its own.
            batch = [window for window in windows[done : done + at_once] if len(window) == len(windows[done])]
            losses.decoder(input_ids=torch.tensor(batch, device=base.device), use_cache=False)
            total += float(losses.scores()[:, first:].double().sum())
            done += len(batch)
            read += sum(map(len, batch))
            progress(done, len(windows), read)
    return total
