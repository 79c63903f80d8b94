"""How tables name their rows and write their numbers."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmark.records.comparable import Facts, canonical, fact_text, point
from benchmark.records.record import Record

GREEK = {"alpha": "α", "beta": "β"}
# How a dropout works where it is not as usual; the released ones always leave blanks.
WORDS = {
    ("dropped", "blank"): "blanks",
    ("unit", "word"): "by word",
    ("rate", "as contrastive_dropout"): "at contrast's rate",
}


def row_label(record: Record) -> str:
    """A row's label from one of its records: the method, its α and β, the name it was given and what was chosen."""
    given = record.method.parameters
    known = [f"{sign}={short_fact(given[name])}" for name, sign in GREEK.items() if given.get(name) is not None]
    if not record.method.name.startswith("released_"):
        known += [word for (name, value), word in WORDS.items() if given.get(name) == value]
    others = {key: value for key, value in point(record).items() if key.rpartition(".")[2] not in GREEK}
    chosen = [f"{key.rpartition('.')[2]}={short_fact(value)}" for key, value in others.items()]
    named = [given["label"]] if isinstance(given.get("label"), str) else []
    return " ".join([record.method.name, *known, *named, *chosen])


def tell_apart(labels: Sequence[str], facts: Sequence[Facts]) -> list[str]:
    """Make equal labels unequal by adding the facts in which their owners differ, no more of them than it takes."""
    told = list(labels)
    for label in [label for label, times in Counter(labels).items() if times > 1]:
        members = [i for i, other in enumerate(labels) if other == label]
        for key in dict.fromkeys(key for i in members for key in facts[i]):
            if len({told[i] for i in members}) == len(members):
                break
            if len({canonical(facts[i].get(key)) for i in members}) > 1:
                for i in members:
                    if facts[i].get(key) is not None:
                        told[i] += f" {key.rpartition('.')[2]}={short_fact(facts[i][key])}"
        # What differs beyond what a label shows of it is told by a hash.
        if len({told[i] for i in members}) < len(members):
            for i in members:
                told[i] += f" #{hashlib.sha256(canonical(facts[i]).encode()).hexdigest()[:6]}"
    return told


def short_number(value: float, digits: int = 3, sign: str = "") -> str:
    """A number as tables show it, without the zero before the point: .392, -.050, with sign "+" also +.050."""
    text = f"{round(value, digits) + 0.0:{sign}.{digits}f}"
    return _without_zero(text)


def short_fact(value: Any) -> str:
    """A fact as it stands in a label: numbers without the leading zero, hashes by their first eight digits."""
    if isinstance(value, float):
        return _without_zero(f"{value:g}")
    text = fact_text(value)
    return text[:8] if re.fullmatch(r"[0-9a-f]{16,}", text) else text[:40]


def _without_zero(text: str) -> str:
    return re.sub(r"^([+-]?)0\.", r"\1.", text)
