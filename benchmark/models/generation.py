"""Generation settings that come with a model, which must not decide its answers."""

from typing import Any

from transformers import GenerationConfig

# Not settings of a generation: token ids, and how the file came about.
_NO_SETTINGS = {
    "_from_model_config", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "use_cache",
}  # fmt: skip


def set_aside_settings(model: Any, tokenizer: Any) -> list[str]:
    """Give a model plain greedy generation, in place, whatever its `generation_config.json` says.

    A model may come with a length limit, a repetition penalty or stop strings. The task alone says how answers are
    made, so only the end tokens stay: those of the model that its tokenizer marks as special, and the tokenizer's own.

    Args:
        model: A causal language model of transformers, or a peft model of one.
        tokenizer: Its tokenizer.

    Returns:
        What was set aside, as "name=value", in alphabetical order.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    given = base.generation_config.to_diff_dict()
    ends = given.get("eos_token_id")
    listed = ends if isinstance(ends, list) else [] if ends is None else [ends]
    marked = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special = marked | set(tokenizer.all_special_ids)
    kept = [end for end in dict.fromkeys([*listed, tokenizer.eos_token_id]) if end in special]
    plain = GenerationConfig(
        eos_token_id=kept or None,
        bos_token_id=base.generation_config.bos_token_id,
        pad_token_id=base.generation_config.pad_token_id,
    )
    for each in {id(base): base, id(model): model}.values():
        each.generation_config = plain
    others = {name: value for name, value in given.items() if name not in _NO_SETTINGS and value}
    if no_ends := [end for end in listed if end not in special]:
        others["eos_token_id"] = no_ends
    return sorted(f"{name}={value}" for name, value in others.items())
