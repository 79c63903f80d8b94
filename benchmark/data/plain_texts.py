"""A user's file of texts without ids: JSON lines with a "text" each, or plain text whose paragraphs are the texts."""

from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.core.inputs import read_text
from benchmark.data.texts import json_lines

QUESTIONS_ABOUT = "questions"  # named in place of such a file: texts and questions about a few made-up people
_MOST_BYTES = 2**30


def read_plain_texts(file: Path, setting: str) -> list[str]:
    """The texts of a file.

    Args:
        file: JSON lines if its name ends in .jsonl, otherwise plain text.
        setting: Where the user named the file, such as "recipe.rehearsal.source".

    Raises:
        UserError: If the file cannot be read, a line has no text, or there is no text.
    """
    texts = []
    if file.suffix.lower() == ".jsonl":
        for number, row in json_lines(file):
            if not isinstance(row.get("text"), str) or not row["text"].strip():
                raise UserError(f'{file}:{number}: each line needs a non-empty "text"')
            texts.append(row["text"])
    else:
        content = read_text(file, _MOST_BYTES, f"give a file of text as {setting}")
        texts = [paragraph.strip() for paragraph in content.split("\n\n") if paragraph.strip()]
    if not texts:
        raise UserError(f"{setting}: {file}: holds no text; give a file with at least one text")
    return texts
