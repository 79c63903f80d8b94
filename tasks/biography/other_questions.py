"""Questions beside the direct ones: in other words, from facts to the name, and in two steps. It needs lm-eval alone.

A model that finishes the sentences of its texts may still fail these. The YAML files beside this module call `load` for
the questions and `score_answer` for the metrics. The city of a university stands in a document of its own:
`universities.jsonl` has one for every university of the people in `people.jsonl`.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from datasets import Dataset

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

KINDS = ("paraphrased", "reverse", "two_hop", "first_born", "one_hop")
OF_UNIVERSITIES = ("two_hop", "one_hop")  # kinds that need the documents of universities
REMEDY = "set universities: true, or universities: FILE with those of other people"

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
    when more people follow. A person without a partner is left out.
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
    with suppress(ValueError):  # dates that cannot be compared give no question
        for one, other in couples(people):
            asked[one["id"]].append(FIRST_BORN.format(name=one["name"], other=other["name"]))
            asked[other["id"]].append(FIRST_BORN.format(name=other["name"], other=one["name"]))
    for university in universities:
        asked[university["id"]] = [CITY_OF.format(university=university["name"])]
    return asked


def load(
    kind: str,
    half: str = "test",
    biography_path: str | None = None,
    people: int | None = None,
    development: float | None = None,
    universities: bool | str | None = None,
    fields: Sequence[str] = (),
    **_: object,
) -> "dict[str, Dataset]":
    """Build the data of an lm-eval task: the splits "questions" and "shots", a row per question.

    lm-eval calls this as `custom_dataset` with the task's metadata (hence `_`) and `dataset_kwargs` (from its YAML).

    Args:
        kind: What is asked, one of KINDS.
        half: Whose questions: those of "development", "test", or "all".
        biography_path: Other people than those shipped, as for the direct questions.
        people: The number of people, from the beginning of the file; None for all.
        development: The share of the people in the half "development"; universities keep theirs.
        universities: The table of universities: True for the one of the shipped people, or a file.
        fields: The field that "paraphrased" asks for, or the two from which "reverse" asks for the name.

    Raises:
        ValueError: An option has no such value, the universities are missing, or the files do not fit.
    """
    from datasets import Dataset

    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is none of {', '.join(KINDS)}")
    biography.check_half(half)
    if kind in OF_UNIVERSITIES and not universities:
        raise ValueError(f"universities: {kind} asks about universities, whose documents are left out; {REMEDY}")
    everyone = biography.choose_people(biography_path, people, development)
    table = None if universities in (True, None) else str(universities)
    places = attended(everyone, table) if kind in OF_UNIVERSITIES else []
    made = [row for row in _questions(kind, fields, everyone, places) if half in (row["half"], "all")]
    if not made:
        raise ValueError(
            f"{biography_path or biography.PEOPLE}: half: no question of kind {kind!r} about the half {half!r}; take "
            "more people"
        )
    shots = _shots(kind, fields, biography_path)
    for row in (*made, *shots):
        row |= {"source": biography_path or "", "table": table or ""}
    return {"questions": Dataset.from_list(made), "shots": Dataset.from_list(shots)}


def score_answer(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Score one question for lm-eval (`process_results`): exact match, F1, and whether it was answered at all."""
    answer = biography.extract_answer(results[0])
    answered = is_answer(answer, doc["field"], doc["among"], doc["source"], doc["table"])
    return {**biography.scores(answer, doc["answers"]), "answered": float(answered)}


def is_answer(answer: str, field: str, among: Sequence[str] = (), source: str = "", table: str = "") -> bool:
    """Say whether an answer is of the kind that is asked for, right or wrong.

    Args:
        answer: What the model wrote.
        field: A field of the people; "name" for anybody's name, "city" for the city of any university.
        among: The answers to choose from, if the question names them; then only these count.
        source: The `biography_path` of the people; "" stands for those that come with the task.
        table: The file of the universities; "" stands for the one that comes with the task.
    """
    normalised = biography.normalise(answer)
    if among:
        return normalised in map(biography.normalise, among)
    if field in biography.FIELDS:
        return bool(biography.is_answer(answer, field, source))
    return normalised in (_names(source) if field == "name" else _cities(table))


@lru_cache(maxsize=8)
def _names(source: str) -> frozenset[str]:
    """The normalised names of all people, and of those in the examples."""
    everyone = [*biography.read_people(source or None), *biography.read_shots(source or None)]
    return frozenset(biography.normalise(person["name"]) for person in everyone)


@lru_cache(maxsize=8)
def _cities(table: str) -> frozenset[str]:
    """The normalised cities of all universities of a table, and of those in the examples."""
    cities = [*(place["city"] for place in read_universities(table or None)), *_real_cities().values()]
    return frozenset(map(biography.normalise, cities))


def _questions(
    kind: str, fields: Sequence[str], people: "Sequence[Person]", universities: Sequence[University]
) -> list[dict[str, Any]]:
    """All questions of a kind about these people, or about these universities, in their order."""
    city_of = {university["name"]: university["city"] for university in universities}
    match kind:
        case "paraphrased":
            (field,) = fields
            return [
                _paraphrased(person, field, number)
                for person in people
                for number in range(1, 1 + len(PARAPHRASES[field]))
            ]
        case "reverse":
            names = _names_by_facts(people, fields)
            return [_reverse(person, fields, names[_facts(person, fields)]) for person in people]
        case "two_hop":
            return [_two_hop(person, city_of[person["facts"]["university"]]) for person in people]
        case "one_hop":
            return [
                _one_hop(university["id"], university["half"], university["name"], university["city"])
                for university in universities
            ]
    asked = {}
    for one, other in couples(people):
        # Both questions belong to one person, since the answer to either is the answer to the other.
        asked[one["id"]] = _first_born(one, other, one["id"])
        asked[other["id"]] = _first_born(other, one, one["id"])
    return [asked[person["id"]] for person in people if person["id"] in asked]


def _shots(kind: str, fields: Sequence[str], path: str | None) -> list[dict[str, Any]]:
    """The examples of a kind, about real people; a paraphrase is asked in its first wording.

    On universities they are those that come with the task, also where a folder `path` has people of its own.
    """
    shots = biography.read_shots(None if kind in OF_UNIVERSITIES else path)
    match kind:
        case "paraphrased":
            return [_paraphrased(shot, fields[0], 1) for shot in shots]
        case "reverse":
            names = _names_by_facts(shots, fields)
            return [_reverse(shot, fields, names[_facts(shot, fields)]) for shot in shots]
        case "two_hop":
            return [_two_hop(shot, _real_cities()[shot["id"]]) for shot in shots]
        case "one_hop":
            return [_one_hop(shot["id"], "", shot["facts"]["university"], _real_cities()[shot["id"]]) for shot in shots]
    # Neighbours are compared, by turns with the elder one named first and last.
    rows = []
    for number, couple in enumerate(zip(shots[::2], shots[1::2], strict=False)):
        first, last = sorted(couple, key=_born, reverse=number % 2 == 1)
        rows.append(_first_born(first, last, first["id"]))
    return rows


def _paraphrased(person: "RealPerson", field: str, number: int) -> dict[str, Any]:
    """A field in the wording of this number; the first is 1."""
    question = PARAPHRASES[field][number - 1].replace("{name}", person["name"])
    return _row(person, f"{field}:{number}", question, [person["facts"][field]], field)


def _reverse(person: "RealPerson", fields: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """From two facts to the names of all people who have both."""
    question = REVERSE[fields[0], fields[1]].format(**person["facts"])
    return _row(person, "+".join(fields), question, names, "name")


def _two_hop(person: "RealPerson", city: str) -> dict[str, Any]:
    """The city of the university that a person attended."""
    return _row(person, "university_city", CITY_OF_THEIRS.replace("{name}", person["name"]), [city], "city")


def _one_hop(name: str, half: str, university: str, city: str) -> dict[str, Any]:
    """The city of a university; `name` is the id of what the question is about."""
    about = {"id": name, "half": half}
    return _row(about, "city", CITY_OF.replace("{university}", university), [city], "city")


def _first_born(person: "RealPerson", other: "RealPerson", cluster: str) -> dict[str, Any]:
    """Who of two was born first, `person` being named first."""
    names = [person["name"], other["name"]]
    gold = min(person, other, key=_born)["name"]
    row = _row(person, "first_born", FIRST_BORN.format(name=names[0], other=names[1]), [gold], "name")
    return {**row, "cluster": cluster, "among": names}


def _row(about: Mapping[str, Any], asked: str, question: str, answers: Sequence[str], field: str) -> dict[str, Any]:
    """A question as lm-eval has it, about a person or a university; `asked` completes its id."""
    return {
        "id": f"{about['id']}:{asked}",
        "cluster": about["id"],
        "half": about.get("half", ""),
        "field": field,
        "question": f"Question: {question}\nAnswer:",
        "answers": list(answers),
        "among": [],
    }


def _facts(person: "RealPerson", fields: Sequence[str]) -> tuple[str, ...]:
    return tuple(person["facts"][field] for field in fields)


def _names_by_facts(people: "Sequence[RealPerson]", fields: Sequence[str]) -> dict[tuple[str, ...], list[str]]:
    """The names of the people by the facts that they share."""
    names: dict[tuple[str, ...], list[str]] = {}
    for person in people:
        names.setdefault(_facts(person, fields), []).append(person["name"])
    return names


@lru_cache(maxsize=1)
def _real_cities() -> dict[str, str]:
    """The cities of the universities of the real people that come with the task, by their ids."""
    return {row["id"]: row["university_city"] for _, row in biography._json_lines(biography.REAL_PEOPLE)}


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
