"""Checks that a model can read what it is given, by its configuration and its tokenizer; no weights are read."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from benchmark.core.errors import UserError
from benchmark.data.texts import Text
from benchmark.models.spec import ModelSpec

TEXTS_AT_ONCE = 1_000  # texts that are tokenized together


def check_model(spec: ModelSpec) -> None:
    """Raise UserError if a model's configuration or tokenizer cannot be used, or its adapter does not fit it."""
    from benchmark.models.adapters import check_adapter
    from benchmark.models.loading import load_config, tokenizer_of

    config = load_config(spec)
    tokenizer_of(spec)
    _check_is_causal(spec, config)
    if spec.adapter and not spec.trust_remote_code:
        check_adapter(spec, config)


def check_texts(spec: ModelSpec, texts: Sequence[Text], limit: bool, end: bool = False) -> None:
    """Raise UserError for texts that a model's tokenizer does not read as they are written.

    Such texts contain characters that it drops or has no token for, or words that it reads as a special token.

    Args:
        spec: The model.
        texts: The texts.
        limit: Whether each text has to fit into the model's context, with the tokenizer's own special tokens.
        end: Whether training appends the end token to it.
    """
    from benchmark.models.loading import context_length, tokenizer_of
    from benchmark.models.special_tokens import added_tokens

    tokenizer = tokenizer_of(spec)
    longest = context_length(spec) if limit else None
    added = len(added_tokens(tokenizer).before) + end
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special.discard(tokenizer.unk_token_id)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        batch = texts[start : start + TEXTS_AT_ONCE]
        encoded = tokenizer(
            [text.text for text in batch], add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        for text, ids, offsets in zip(batch, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            where = f"model {spec.model!r}: text {text.id!r}"
            if marked := [span for number, span in zip(ids, offsets, strict=True) if number in special]:
                raise UserError(
                    f"{where}: contains {text.text[slice(*marked[0])]!r}, which the model's tokenizer reads as a "
                    "special token and not as these letters; remove it or spell it in another way"
                )
            if lost := _lost(text.text, ids, offsets, tokenizer):
                raise UserError(
                    f"{where}: its tokenizer has no token for {lost!r}, so the model cannot read it; remove it, or "
                    "use another model"
                )
            if longest is not None and (length := len(ids) + added) > longest:
                raise UserError(
                    f"{where}: {length} tokens, more than the model's context of {longest}; shorten it, or set "
                    "long_texts: split in the suite"
                )


def _check_is_causal(spec: ModelSpec, config: Any) -> None:
    """Refuse encoders by their configuration; `check_causal` tests all other models once their weights are loaded."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", True)
    if encoder or config.is_encoder_decoder:
        raise UserError(
            f"model {spec.model!r}: {config.model_type} is not a causal language model: its tokens attend to later "
            "tokens; give a model that generates text"
        )


def _lost(text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], tokenizer: Any) -> str:
    """The first visible character of a text with no token, or with the unknown token; "" if there is none."""
    done = 0
    gap = ""
    for number, (start, end) in zip(ids, offsets, strict=True):
        gap = gap or _visible(text[start:end] if number == tokenizer.unk_token_id else text[done:start])
        done = max(done, end)
    if not (gap := gap or _visible(text[done:])):
        return ""
    # After a dropped character the offsets may be shifted, so that the gap stands at another character.
    missing = (letter for letter in dict.fromkeys(_visible(text)) if not _has_token(letter, tokenizer))
    return next(missing, gap)


def _has_token(letter: str, tokenizer: Any) -> bool:
    ids = tokenizer.encode(letter, add_special_tokens=False)
    return bool(ids) and tokenizer.unk_token_id not in ids


def _visible(text: str) -> str:
    """A text without white space and control characters, which tokenizers may drop."""
    return "".join(letter for letter in text if unicodedata.category(letter)[0] not in "CZ")
