"""Special tokens that a tokenizer adds to a text by itself: those in front stay, those behind are removed.

A tokenizer may append its end token to every text, because its `tokenizer.json`, `add_eos_token` or a GGUF file says
so. Behind a prompt it tells the model that the answer is over, and behind a training text it comes in addition to the
end token of the recipe. It is removed when the tokenizer is loaded, so that scoring, training and evaluation read the
same tokens.
"""

import copy
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_PROBE = "a"


class Added(NamedTuple):
    """Ids of the special tokens that a tokenizer puts before and behind a text."""

    before: list[int]
    behind: list[int]


def added_tokens(tokenizer: "PreTrainedTokenizerFast") -> Added:
    """The special tokens a tokenizer adds to a text, found by encoding one."""
    encoded = tokenizer(_PROBE, return_special_tokens_mask=True)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    if all(special):  # no token for a letter: nothing tells which side these belong to
        return Added([], [])
    start = special.index(0)
    end = len(special) - special[::-1].index(0)
    return Added(list(ids[:start]), list(ids[end:]))


def remove_appended(tokenizer: Any) -> list[int]:
    """Make a tokenizer append nothing to a text, in place; returns the ids that it appended before.

    Raises:
        UserError: If the tokenizer's post-processor cannot be told to leave them out.
    """
    appended = added_tokens(tokenizer).behind
    if not appended:
        return []
    backend: Any = tokenizer.backend_tokenizer
    processor = copy.deepcopy(backend.post_processor)
    state = _without_end(json.loads(processor.__getstate__()))
    processor.__setstate__(json.dumps(state).encode())
    backend.post_processor = processor
    if added_tokens(tokenizer).behind:
        raise UserError(
            f"its tokenizer appends {tokenizer.decode(appended)!r} to every text and cannot be told not to; save a "
            "tokenizer.json whose post-processor appends nothing"
        )
    return appended


def _without_end(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a post-processor without the special tokens behind the last text of its templates."""
    if state["type"] == "Sequence":
        return {**state, "processors": [_without_end(inner) for inner in state["processors"]]}
    if state["type"] == "TemplateProcessing":
        return {**state, **{name: _up_to_last_text(state[name]) for name in ("single", "pair")}}
    return state


def _up_to_last_text(template: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = max(place for place, piece in enumerate(template) if "Sequence" in piece)
    return template[: last + 1]
