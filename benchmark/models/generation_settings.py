"""Generation settings that come with a model: they are set aside, since they must not decide its answers."""

from typing import Any

from transformers import GenerationConfig

# Entries of generation_config.json that are no settings: token ids, and where the file comes from.
_NO_SETTINGS = {
    "_from_model_config", "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "use_cache",
}  # fmt: skip


def set_aside_settings(model: Any, tokenizer: Any) -> list[str]:
    """Make a model generate greedily, in place, whatever its `generation_config.json` says.

    A model may come with a length limit, a repetition penalty or stop strings. Here the task alone decides how answers
    are generated. The end tokens stay: the tokenizer's own, and those of the model that the tokenizer marks as special.

    Args:
        model: A causal language model of transformers, or a peft model of one.
        tokenizer: Its tokenizer.

    Returns:
        The settings that were set aside, as "name=value", in alphabetical order.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    given = base.generation_config.to_diff_dict()
    end_tokens = given.get("eos_token_id")
    given_ends = end_tokens if isinstance(end_tokens, list) else [] if end_tokens is None else [end_tokens]
    marked = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special = marked | set(tokenizer.all_special_ids)
    kept = [token for token in dict.fromkeys([*given_ends, tokenizer.eos_token_id]) if token in special]
    greedy = GenerationConfig(
        eos_token_id=kept or None,
        bos_token_id=base.generation_config.bos_token_id,
        pad_token_id=base.generation_config.pad_token_id,
    )
    for module in {id(base): base, id(model): model}.values():
        module.generation_config = greedy
    set_aside = {name: value for name, value in given.items() if name not in _NO_SETTINGS and value}
    if no_ends := [token for token in given_ends if token not in special]:
        set_aside["eos_token_id"] = no_ends
    return sorted(f"{name}={value}" for name, value in set_aside.items())
