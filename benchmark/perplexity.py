"""How well a model predicts a text: perplexity per token, and bits per byte."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError

if TYPE_CHECKING:
    import torch

BATCH = 4096  # tokens of the windows read at once
BLOCK = 256  # positions whose logits are there at once: a vocabulary of 256,000 makes 262 MB of them in float32


def measure_text(
    model: Any,
    tokenizer: Any,
    text: str,
    context: int,
    most: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
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
        progress: told of the windows done.

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


def _nats(
    model: Any, windows: list[list[int]], first: int, context: int, progress: Callable[[int, int], None]
) -> float:
    """Sum of the negative log-likelihoods (natural logarithm) of every token of the windows from place `first` on."""
    import torch

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    at_once, total, done = max(1, BATCH // context), 0.0, 0
    with torch.inference_mode():
        while done < len(windows):
            # Only the last window may be shorter than the others, and then it is a batch of its own.
            batch = [w for w in windows[done : done + at_once] if len(w) == len(windows[done])]
            ids = torch.tensor(batch, device=base.device)
            found = base.get_decoder()(input_ids=ids, use_cache=False)
            states = found.last_hidden_state[:, first - 1 : -1].flatten(0, 1)
            targets = ids[:, first:].flatten()
            with _head(base, type(found)) as logits_of:
                for at in range(0, len(targets), BLOCK):
                    wanted = targets[at : at + BLOCK]
                    logits = logits_of(states[at : at + BLOCK], wanted).float()
                    lost = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
                    total += float(lost.double().sum())
            done += len(batch)
            progress(done, len(windows))
    return total


@contextmanager
def _head(model: Any, output: type[Any]) -> "Iterator[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]":
    """What a model does after its decoder: a function from states [n, width] and ids [n] to logits [n, vocabulary].

    The model's own `forward` is run, with the states in the place of what its decoder would give. So what some
    architectures do to the logits (Gemma's capping, Granite's scale) is done here too. `output` is the class of what
    the decoder gives.
    """
    decoder = model.get_decoder()
    own = decoder.__dict__.get("forward")  # there where accelerate has put a hook on it
    given: list[torch.Tensor] = []

    def logits_of(states: "torch.Tensor", ids: "torch.Tensor") -> "torch.Tensor":
        given.append(states[None])
        logits: torch.Tensor = model(input_ids=ids[None], use_cache=False).logits[0]
        if given:
            raise UserError(f"the decoder of {type(model).__name__} cannot be told from its head; leave the entry out")
        return logits

    decoder.forward = lambda *_, **__: output(last_hidden_state=given.pop())
    try:
        yield logits_of
    finally:
        del decoder.forward
        if own is not None:
            decoder.forward = own
