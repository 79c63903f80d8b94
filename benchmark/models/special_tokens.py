"""Special tokens that a tokenizer adds to every text: those before the text stay, those after it are removed.

A tokenizer may append its end token to every text, because of its `tokenizer.json`, `add_eos_token` or a GGUF file.
After a prompt, this token tells the model that the answer is over. After a training text, it comes in addition to the
end token that the training recipe appends. It is removed when the tokenizer is loaded, so that scoring, training and
evaluation read the same tokens.
"""

import copy
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_ONE_LETTER = "a"


class Added(NamedTuple):
    """Ids of the special tokens that a tokenizer puts before and after a text."""

    before: list[int]
    after: list[int]


def added_tokens(tokenizer: "PreTrainedTokenizerFast") -> Added:
    """The special tokens that a tokenizer adds to a text, found by encoding a letter."""
    encoded = tokenizer(_ONE_LETTER, return_special_tokens_mask=True)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    if all(special):  # the letter has no token, so nothing divides the tokens before it from those after it
        return Added([], [])
    start = special.index(0)
    end = len(special) - special[::-1].index(0)
    return Added(list(ids[:start]), list(ids[end:]))


def remove_appended(tokenizer: Any) -> list[int]:
    """Make a tokenizer append no special token to a text, in place.

    Returns:
        The ids that it appended before.

    Raises:
        UserError: If the tokenizer's post-processor is of a kind that cannot be changed so.
    """
    appended = added_tokens(tokenizer).after
    if not appended:
        return []
    backend: Any = tokenizer.backend_tokenizer
    processor = copy.deepcopy(backend.post_processor)
    state = _without_end(json.loads(processor.__getstate__()))
    processor.__setstate__(json.dumps(state).encode())
    backend.post_processor = processor
    if added_tokens(tokenizer).after:
        raise UserError(
            f"its tokenizer appends {tokenizer.decode(appended)!r} to every text, and this cannot be switched off; "
            "save a tokenizer.json whose post-processor appends nothing"
        )
    return appended


def _without_end(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a post-processor without the special tokens after the last text of its templates."""
    if state["type"] == "Sequence":
        return {**state, "processors": [_without_end(inner) for inner in state["processors"]]}
    if state["type"] == "TemplateProcessing":
        return {**state, **{name: _up_to_last_text(state[name]) for name in ("single", "pair")}}
    return state


def _up_to_last_text(template: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A template's pieces up to the last piece that stands for a text."""
    last = max(number for number, piece in enumerate(template) if "Sequence" in piece)
    return template[: last + 1]
