"""Inputs of measurements: the shipped biographies or the paper's, and texts of a given length."""

from pathlib import Path
from typing import Any

from benchmark.data.texts import Text


def biographies(folder: Path | None = None) -> list[Text]:
    """The texts of the task biography; from the paper's CSV files if their folder is given."""
    from benchmark.corpora.biography import Biography

    return list(Biography(path=folder).load().texts)


def text_of(tokenizer: Any, tokens: int, prefix: str) -> str:
    """Concatenated biographies, cut so that they and `prefix` have about `tokens` tokens."""
    tokens -= len(tokenizer(prefix)["input_ids"])
    text = " ".join(biography.text for biography in biographies())
    offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    while len(offsets) < tokens:
        text = f"{text} {text}"
        offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    return text[: offsets[tokens - 1][1]]
