"""What is measured on: the biographies that ship or the paper's, and texts of a given number of tokens."""

from pathlib import Path
from typing import Any

from benchmark.data.texts import Text


def biographies(folder: Path | None = None) -> list[Text]:
    """The texts of the task biography, from the paper's CSV files in `folder` if one is given."""
    from benchmark.corpora.biography import Biography

    return list(Biography(path=folder).load().texts)


def text_of(tokenizer: Any, tokens: int, prefix: str) -> str:
    """Biographies one after another, cut so that the tokenizer makes about this many tokens of them and `prefix`."""
    tokens -= len(tokenizer(prefix)["input_ids"])
    text = " ".join(one.text for one in biographies())
    offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    while len(offsets) < tokens:
        text = f"{text} {text}"
        offsets = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    return text[: offsets[tokens - 1][1]]
