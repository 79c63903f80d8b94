"""How tables name their rows and write their numbers."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmark.records.comparable import Facts, canonical, fact_text, point
from benchmark.records.record import Record

GREEK = {"alpha": "α", "beta": "β"}
# How a dropout method differs from the default. The released methods always leave blanks, so they need no word.
WORDS = {
    ("dropped", "blank"): "blanks",
    ("unit", "word"): "by word",
    ("rate", "as contrastive_dropout"): "at contrast's rate",
}


def row_label(record: Record) -> str:
    """A row's label from one of its records: the method, its α and β, its own label, and what was chosen."""
    parameters = record.method.parameters
    words = [
        f"{sign}={short_fact(parameters[name])}" for name, sign in GREEK.items() if parameters.get(name) is not None
    ]
    if not record.method.name.startswith("released_"):
        words += [word for (name, value), word in WORDS.items() if parameters.get(name) == value]
    if isinstance(parameters.get("label"), str):
        words.append(parameters["label"])
    chosen = {key.rpartition(".")[2]: value for key, value in point(record).items()}
    words += [f"{name}={short_fact(value)}" for name, value in chosen.items() if name not in GREEK]
    return " ".join([record.method.name, *words])


def tell_apart(labels: Sequence[str], facts: Sequence[Facts]) -> list[str]:
    """Make labels distinct: equal labels get facts in which their owners differ, as few as necessary.

    Args:
        labels: may be equal.
        facts: what each label stands for.
    """
    distinct = list(labels)
    for label in [label for label, times in Counter(labels).items() if times > 1]:
        members = [i for i, other in enumerate(labels) if other == label]
        for key in dict.fromkeys(key for i in members for key in facts[i]):
            if len({distinct[i] for i in members}) == len(members):
                break
            if len({canonical(facts[i].get(key)) for i in members}) > 1:
                for i in members:
                    if facts[i].get(key) is not None:
                        distinct[i] += f" {key.rpartition('.')[2]}={short_fact(facts[i][key])}"
        # The facts may differ only in what a label abbreviates: a hash then makes the difference.
        if len({distinct[i] for i in members}) < len(members):
            for i in members:
                distinct[i] += f" #{hashlib.sha256(canonical(facts[i]).encode()).hexdigest()[:6]}"
    return distinct


def short_number(value: float, digits: int = 3, sign: str = "") -> str:
    """A number as tables show it, without the zero before the point: .392, -.050, with sign "+" also +.050."""
    text = f"{round(value, digits) + 0.0:{sign}.{digits}f}"
    return _without_zero(text)


def short_fact(value: Any) -> str:
    """A fact as a label shows it: numbers without the leading zero, hashes by their first eight digits."""
    if isinstance(value, float):
        return _without_zero(f"{value:g}")
    text = fact_text(value)
    return text[:8] if re.fullmatch(r"[0-9a-f]{16,}", text) else text[:40]


def _without_zero(text: str) -> str:
    return re.sub(r"^([+-]?)0\.", r"\1.", text)
