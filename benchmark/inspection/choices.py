"""Which texts and which pairs of models to inspect, from names, files and suites."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError, check_known, nearest
from benchmark.data.texts import Text, check_characters, read_texts
from benchmark.inspection.token_view import ScoredPair, pairs_of, shipped_texts
from benchmark.models.spec import named_spec
from benchmark.suite.plan import DEVICES, find_device
from benchmark.suite.schema import find_suite, load_suite


def choose_texts(
    text: str | None, file: Path | None, ids: list[str], examples: bool
) -> tuple[list[Text], dict[str, str]]:
    """The texts to inspect, and of the shipped examples which task each belongs to.

    Args:
        text: One text, with the id "text".
        file: JSONL file of texts.
        ids: Take only these texts.
        examples: Whether the shipped examples are taken where neither `text` nor `file` is given.

    Raises:
        UserError: Both or neither are given, the text is empty, the file cannot be read, or an id is unknown.
    """
    if text is not None and file is not None:
        raise UserError("--text and --texts: give one of the two")
    if text is not None:
        if not text.strip():
            raise UserError("--text: it is empty; give a text")
        check_characters(text, "--text")
        return [Text("text", text)], {}
    if file is None and not examples:
        raise UserError("give a text with --text, a file of them with --texts, or a suite with --suite for examples")
    known = [("", entry) for entry in read_texts(file)] if file else shipped_texts()
    known_ids = [entry.id for _, entry in known]
    for name in ids:
        if name not in known_ids:
            raise UserError(f"--id {name}: no such text; {nearest(name, known_ids)}")
    chosen = [(task, entry) for task, entry in known if not ids or entry.id in ids]
    return [entry for _, entry in chosen], {entry.id: task for task, entry in chosen}


def pairs_of_suite(name: str, pair: str | None, prefix: str | None, device: str) -> list[ScoredPair]:
    """The pairs of a suite, scored as its stages score them, unless `prefix` or `device` say otherwise.

    Raises UserError if the suite cannot be read or has no pair, or not the one called `pair`.
    """
    pairs = pairs_of(load_suite(find_suite(name)))
    names = [entry.name for entry in pairs]
    if pair is not None and pair not in names:
        raise UserError(f"--pair {pair}: not in suite {name}; {nearest(pair, names)}")
    changes: dict[str, Any] = {} if prefix is None else {"prefix": prefix}
    changes |= {} if device == "auto" else {"device": find_device(device)}
    return [replace(entry, **changes) for entry in pairs if pair in (None, entry.name)]


def pair_of_models(large: str, small: str | None, prefix: str, dtype: str, device: str) -> ScoredPair:
    """A pair of two models by name, or one model alone, scored as `benchmark score` does."""
    check_known("device", device, DEVICES)
    named = [(name, named_spec(name, dtype)) for name in (large, small) if name is not None]
    title = " − ".join(name for name, _ in named)
    return ScoredPair(title, named[0], named[1] if len(named) > 1 else None, prefix=prefix, device=find_device(device))


def file_name(pair: str) -> str:
    """The name of a pair as a file name."""
    return re.sub(r"[^\w.-]+", "-", pair.replace("−", "minus"))
