"""Questions beside the direct ones: in other words, from facts to the name, and in two steps. It needs lm-eval alone.

A model that finishes the sentences of its texts may still fail these. The city of a university stands in a document of
its own: `universities.jsonl` has one for every university of the people in `people.jsonl`.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from tasks.biography import biography
    from tasks.biography.biography import Person, RealPerson
else:  # by its place, since lm-eval may be started anywhere

    def _beside(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"biography_{name}", Path(__file__).with_name(f"{name}.py"))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    biography = _beside("biography")

UNIVERSITIES = Path(__file__).with_name("universities.jsonl")

# Three other wordings of each direct question, numbered from 1.
PARAPHRASES: dict[str, tuple[str, str, str]] = {
    "birth_date": (
        "When was {name} born?",
        "On which day did {name} come into the world?",
        "What is the full date on which the life of {name} began?",
    ),
    "birth_city": (
        "What is the home town of {name}?",
        "Which city was {name} raised in?",
        "Where did {name} spend the years of childhood?",
    ),
    "university": (
        "Where did {name} study?",
        "From which university does {name} hold a degree?",
        "At which institution was {name} enrolled as a student?",
    ),
    "major": (
        "What subject did {name} study?",
        "In which field did {name} specialize?",
        "Which discipline did {name} choose at university?",
    ),
    "company": (
        "Who was the employer of {name}?",
        "At which firm did {name} have a job?",
        "Where was {name} employed?",
    ),
}

# From two facts to the name. Every field is asked from; neighbours in the text as well as facts far apart.
REVERSE: dict[tuple[str, str], str] = {
    ("birth_date", "birth_city"): "Who was born on {birth_date} and grew up in {birth_city}?",
    ("university", "major"): "Who attended {university} and majored in {major}?",
    ("birth_city", "company"): "Who grew up in {birth_city} and worked for {company}?",
}

CITY_OF = "In which city is {university}?"
CITY_OF_THEIRS = "In which city is the university that {name} attended?"
FIRST_BORN = "Who was born first, {name} or {other}?"

_FORMS = ("%B %d %Y", "%d %B %Y", "%Y-%m-%d")  # of birth dates, without commas


class University(TypedDict):
    """A university. `spans` gives [start, end) character offsets into `text` of "name" and "city".

    `half` is "development" for the first university of the table, "test" for the second, and so on by turns.
    """

    id: str
    half: str
    name: str
    city: str
    text: str
    spans: dict[str, tuple[int, int]]


def read_universities(path: str | Path | None = None) -> list[University]:
    """Read a table of universities, by default the one of the people that come with the task.

    Raises ValueError naming file, line and field if something is missing or does not fit.
    """
    file = UNIVERSITIES if path is None else Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{file}: no such file; universities is a JSONL file laid out as universities.jsonl")
    universities: list[University] = []
    lines: dict[str, str] = {}
    for number, (where, row) in enumerate(biography._json_lines(file)):
        for field in ("id", "name", "city", "text"):
            if not isinstance(row.get(field), str) or not row[field].strip():
                raise ValueError(f"{where}: {field}: expected a string that is not empty, not {row.get(field)!r}")
        if not isinstance(row.get("spans"), dict):
            raise ValueError(f"{where}: spans: expected an object with the [start, end] offsets of name and city")
        for field in ("id", "name"):
            if (value := row[field]) in lines:
                raise ValueError(f"{where}: {field}: {value!r} stands in {lines[value]} already; list it once")
            lines[value] = where
        universities.append(
            University(
                id=row["id"],
                half=biography.HALVES[number % 2],
                name=row["name"],
                city=row["city"],
                text=row["text"],
                spans={field: _span(where, field, row) for field in ("name", "city")},
            )
        )
    if not universities:
        raise ValueError(f"{file}: there is no university in it")
    return universities


def attended(people: "Sequence[Person]", path: str | Path | None = None) -> list[University]:
    """The universities of a table that these people attended, in the order of the table.

    Raises ValueError as `read_universities` does, or if a university of these people is not in the table.
    """
    universities = read_universities(path)
    known = {university["name"] for university in universities}
    for person in people:
        if (name := person["facts"]["university"]) not in known:
            raise ValueError(
                f"{path or UNIVERSITIES}: name: no line for {name!r}, which {person['id']} attended; add it, or give "
                "the table of these people as universities"
            )
    wanted = {person["facts"]["university"] for person in people}
    return [university for university in universities if university["name"] in wanted]


def may_redistribute(path: str | Path | None = None) -> bool:
    """Say whether answers about these universities may be passed on: those that come with the task, and no others."""
    return path is None or Path(path).expanduser().resolve() == UNIVERSITIES.resolve()


def couples(people: "Sequence[Person]") -> "list[tuple[Person, Person]]":
    """Couples of people of the same half who were born on different days; each person is in one couple at most.

    A person joins the first one before them who has no partner yet, so the couples of the first n people stay the same
    when more people follow. Whoever finds no partner is left out.
    """
    alone: dict[str, list[Person]] = {half: [] for half in biography.HALVES}
    made: list[tuple[Person, Person]] = []
    for person in people:
        waiting = alone[person["half"]]
        other = next((each for each in waiting if _born(each) != _born(person)), None)
        if other is None:
            waiting.append(person)
        else:
            waiting.remove(other)
            made.append((other, person))
    return made


def questions_about(people: "Sequence[Person]", universities: Sequence[University]) -> dict[str, list[str]]:
    """Every question of this module, by the id of the person or university that it is about."""
    asked: dict[str, list[str]] = {}
    for person in people:
        name, facts = person["name"], person["facts"]
        wordings = [wording for field in biography.FIELDS for wording in PARAPHRASES[field]]
        asked[person["id"]] = [wording.replace("{name}", name) for wording in (*wordings, CITY_OF_THEIRS)]
        asked[person["id"]] += [wording.format(**facts) for wording in REVERSE.values()]
    for one, other in couples(people):
        asked[one["id"]].append(FIRST_BORN.format(name=one["name"], other=other["name"]))
        asked[other["id"]].append(FIRST_BORN.format(name=other["name"], other=one["name"]))
    for university in universities:
        asked[university["id"]] = [CITY_OF.format(university=university["name"])]
    return asked


def _born(person: "RealPerson") -> date:
    """The day on which a person was born.

    Raises ValueError if it is in no form that `_FORMS` lists; days such as 3/4/1960 may mean March or April.
    """
    day = person["facts"]["birth_date"].strip().rstrip(".").replace(",", "")
    for form in _FORMS:
        with suppress(ValueError):
            return datetime.strptime(day, form).date()
    raise ValueError(
        f"{person['id']}: birth_date: {person['facts']['birth_date']!r} cannot be compared; write dates as "
        "'May 4, 1931', '4 May 1931' or '1931-05-04'"
    )


def _span(where: str, field: str, row: Mapping[str, object]) -> tuple[int, int]:
    """A span of a line; the name may begin with a capital there, since it begins the text."""
    text, value, spans = str(row["text"]), str(row[field]), row["spans"]
    match spans.get(field) if isinstance(spans, dict) else None:
        case [int(start), int(end)] if start >= 0 and text[start:end] in (value, value[:1].upper() + value[1:]):
            return start, end
        case span:
            raise ValueError(f"{where}: spans.{field}: {span} is not where the text has {value!r}")
