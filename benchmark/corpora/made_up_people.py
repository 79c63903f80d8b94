"""A file of made-up people for the biography task, none of whom the tiny pair was trained on."""

from pathlib import Path

from benchmark.core.errors import UserError, nearest
from benchmark.core.files import replacing
from benchmark.data.people import (
    FIELDS,
    TRAINED_ON,
    ParagraphStyle,
    make_people,
    people_lines,
    place_universities,
    university_lines,
)


def field_order(words: str) -> tuple[str, ...] | None:
    """The order of the facts in a paragraph: "fixed", "shuffled" (None, drawn for each person), or "major,company,…".

    Raises UserError if a field is unknown, or if they are not all listed.
    """
    if words in ("fixed", "shuffled"):
        return FIELDS if words == "fixed" else None
    order = tuple(word.strip() for word in words.split(","))
    for field in order:
        if field not in FIELDS:
            known = list(FIELDS) if len(order) > 1 else ["fixed", "shuffled", *FIELDS]
            raise UserError(f"--order: unknown field {field!r}; {nearest(field, known)}")
    if sorted(order) != sorted(FIELDS):
        raise UserError(f"--order {words}: list every field once: {', '.join(FIELDS)}")
    return order


def write_people(file: Path, count: int, seed: int, style: ParagraphStyle, universities: Path | None = None) -> None:
    """Write people to a JSONL file, laid out as tasks/biography/people.jsonl.

    Args:
        file: The file.
        count: Number of people.
        seed: Seed of their names and facts.
        style: How their paragraphs are written.
        universities: Also write a file of the universities that they attended, laid out as
            tasks/biography/universities.jsonl.

    Raises:
        UserError: There are not that many different names.
    """
    from benchmark.tasks.biography import biography

    shots = {person["name"] for person in biography.read_shots()}
    shipped = {person["name"] for person in biography.read_people()}
    trained_on = {person.name for person in make_people(*TRAINED_ON, shots | shipped)}
    try:
        with replacing(file) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(people_lines(make_people(count, seed, shots | trained_on), style))
    except ValueError as error:
        raise UserError(f"--count: {error}; ask for fewer") from None
    if universities:
        with replacing(universities) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.writelines(university_lines(place_universities(make_people(count, seed, shots | trained_on))))
