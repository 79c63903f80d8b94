"""The biography task for lm-eval: people, questions about them, few-shot examples and scores. It needs lm-eval alone.

The YAML files beside this module call `load` for the questions and `score_answer` for the metrics. `read_people` gives
the paragraphs that a model is trained on before it is asked.
"""

import csv
import json
import random
import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from datasets import Dataset

PEOPLE = Path(__file__).with_name("people.jsonl")
REAL_PEOPLE = Path(__file__).with_name("real_people.jsonl")

_SPACED = 0x590  # below it are Latin, Greek, Cyrillic and Armenian letters, whose words have spaces between them

QUESTIONS = {
    "birth_date": "What is the birth date of {name}?",
    "birth_city": "In which city did {name} grow up?",
    "university": "Which university did {name} attend?",
    "major": "What was the major of {name}?",
    "company": "Which company did {name} work for?",
}
FIELDS = tuple(QUESTIONS)
HALVES = ("development", "test")
CHOICES = 10

MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATES = (
    rf"(?:{MONTHS}) \d{{1,2}},? \d{{4}}",
    rf"\d{{1,2}} (?:{MONTHS}),? \d{{4}}",
    r"\d{4}-\d\d-\d\d",
    r"\d{1,2}/\d{1,2}/\d{4}",
)
_DATE = re.compile(rf"(?:{'|'.join(_DATES)})\.?", re.IGNORECASE)

# The paper's CSV files mark the fields by tags of these names.
_FIELD_OF_TAG = {
    "name": "name",
    "date": "birth_date",
    "city": "birth_city",
    "university": "university",
    "major": "major",
    "company": "company",
}
_TAG = "|".join(_FIELD_OF_TAG)
_TAGGED = re.compile(rf"<({_TAG})>(.*?)</\1>", re.DOTALL)
_STRAY_TAG = re.compile(rf"</?(?:{_TAG})>")


class RealPerson(TypedDict):
    """Who a few-shot example is about; `facts` maps every name of FIELDS to its value."""

    id: str
    name: str
    facts: dict[str, str]


class Person(RealPerson):
    """Who a paragraph is about. `spans` gives [start, end) character offsets into `text` of "name" and every field."""

    half: str
    text: str
    spans: dict[str, tuple[int, int]]


def read_people(path: str | Path | None = None) -> list[Person]:
    """Read the people that are asked about, in the order of their file.

    `path` is a JSONL file laid out as `people.jsonl` or a folder with the paper's `biography_synthetic.csv`, whose rows
    are development and test by turns; None stands for the people that come with the task.

    Raises ValueError naming file, line and field if something is missing or does not fit.
    """
    path = _existing(path)
    if path.is_dir():
        return _tagged_people(path / "biography_synthetic.csv")
    people: list[Person] = []
    for where, row in _json_lines(path):
        half, text, spans = row.get("half"), row.get("text"), row.get("spans")
        if half not in HALVES:
            raise ValueError(f"{where}: half: {half!r} is none of {', '.join(HALVES)}")
        if not isinstance(text, str) or not isinstance(spans, dict):
            raise ValueError(f"{where}: text, spans: expected a string and an object of [start, end] offsets into it")
        person = _real_person(where, row)
        told = {"name": person["name"], **person["facts"]}
        offsets = {field: _span(where, field, spans.get(field), text, value) for field, value in told.items()}
        people.append({**person, "half": half, "text": text, "spans": offsets})
    _check_told_apart(path, people)
    return people


def check_half(half: str) -> None:
    """Raise ValueError unless `half` is "development", "test" or "all"."""
    if half not in (*HALVES, "all"):
        raise ValueError(f"half: {half!r} is none of {', '.join((*HALVES, 'all'))}")


def choose_people(
    path: str | Path | None = None, people: int | None = None, development: float | None = None
) -> list[Person]:
    """Read the people that are asked about: the first `people` of the file, in halves of the wanted sizes.

    Args:
        path: As in `read_people`.
        people: How many; None for all.
        development: The share of them whose questions are development, spread evenly over the file; None keeps the
            halves that the file gives.

    Raises:
        ValueError: The file has fewer people, the share leaves a half empty, or the files do not fit.
    """
    everyone = read_people(path)
    if people is not None and not (isinstance(people, int) and people >= 1):
        raise ValueError(f"people: {people!r} is no number from 1 to {len(everyone)}, the people that there are")
    if people is not None and people > len(everyone):
        raise ValueError(f"people: {people} asked for, but the data has {len(everyone)}")
    everyone = everyone[:people]
    if development is None:
        return everyone
    if not isinstance(development, int | float) or not 0 < development < 1:
        raise ValueError(f"development: {development!r} is no share between 0 and 1")
    so_far = [int(number * development + 1e-9) for number in range(len(everyone) + 1)]
    if so_far[-1] in (0, len(everyone)):
        raise ValueError(f"development: {development} of {len(everyone)} people leaves a half empty; take more people")
    for number, person in enumerate(everyone):
        person["half"] = HALVES[0] if so_far[number + 1] > so_far[number] else HALVES[1]
    return everyone


def read_shots(path: str | Path | None = None) -> list[RealPerson]:
    """Read the real people of the few-shot examples: `biography_real.csv` of a folder `path`, else those shipped.

    Raises ValueError as `read_people` does.
    """
    path = _existing(path)
    if path.is_dir():
        tagged = _tagged_people(path / "biography_real.csv")
        return [{"id": p["id"].replace("person", "real"), "name": p["name"], "facts": p["facts"]} for p in tagged]
    people = [_real_person(where, row) for where, row in _json_lines(REAL_PEOPLE)]
    _check_told_apart(REAL_PEOPLE, people)
    return people


def read_prompts(path: str | Path | None = None) -> dict[str, str]:
    """Give for every field the text that a model continues with the answer; "{name}" stands for the person's name.

    A folder `path` may bring its own wordings in `prompts.csv` (columns `field`, `prompt`; a row per field, the fields
    called by the tags of the CSV files). Raises ValueError if that file lacks a field or a prompt lacks "{name}".
    """
    folder = _existing(path)
    file = folder / "prompts.csv"
    if not folder.is_dir() or not file.exists():
        return {field: f"Question: {question}\nAnswer:" for field, question in QUESTIONS.items()}
    prompts: dict[str, str] = {}
    for where, row in _csv_rows(file, ("field", "prompt")):
        if "{name}" not in row["prompt"]:
            raise ValueError(f"{where}: prompt: {{name}} is missing from it")
        prompts[row["field"]] = row["prompt"]
    tags = {field: tag for tag, field in _FIELD_OF_TAG.items()}
    for field in FIELDS:
        if tags[field] not in prompts:
            raise ValueError(f"{file}: field: no row for {tags[field]!r} ({field})")
    return {field: prompts[tags[field]] for field in FIELDS}


def may_redistribute(path: str | Path | None = None) -> bool:
    """Say whether texts and answers of these people may be passed on: those that come with the task, and no others."""
    return path is None or Path(path).expanduser().resolve() == PEOPLE.resolve()


def load(
    half: str = "test",
    biography_path: str | None = None,
    people: int | None = None,
    development: float | None = None,
    field: str | None = None,
    choices: bool = False,
    cloze: bool = False,
    open_book: bool = False,
    **_: object,
) -> "dict[str, Dataset]":
    """Build the data of an lm-eval task: the splits "questions" and "shots", a row per person and field.

    lm-eval calls this as `custom_dataset` with the task's metadata (what `--metadata` gave, the version, the model's
    arguments: hence `_`) and `dataset_kwargs` (from the task's YAML).

    Args:
        half: Whose questions: those of "development", "test", or "all".
        biography_path: Other people than those shipped; see `read_people`.
        people: Take only so many people, the first of the file; wrong choices are theirs, too.
        development: The share of the people in the half "development", see `choose_people`.
        field: The one field to ask for; None asks for all.
        choices: Add `choices` (see `choose`) and `gold`, the answer's index among them.
        cloze: Add `context`, the person's text up to the answer, and `target`, what follows there.
        open_book: Put the person's text before the question; the examples stay as they are.

    Raises:
        ValueError: An option has no such value, or the people's files do not fit.
    """
    from datasets import Dataset

    check_half(half)
    if field is not None and field not in FIELDS:
        raise ValueError(f"field: {field!r} is none of {', '.join(FIELDS)}")
    everyone = choose_people(biography_path, people, development)
    asked = [person for person in everyone if half in (person["half"], "all")]
    if not asked:
        raise ValueError(f"{biography_path or PEOPLE}: half: nobody there is of the half {half!r}")
    prompts = read_prompts(biography_path)
    shots = read_shots(biography_path)
    fields = FIELDS if field is None else (field,)

    def rows(asked: Sequence[RealPerson], others: Sequence[RealPerson], texts: Mapping[str, Person]) -> "Dataset":
        # Wrong choices come from both halves, so that a question is the same whichever half is asked.
        values = {field: Values(person["facts"][field] for person in others) for field in fields if choices}
        made = []
        for person in asked:
            for field in fields:
                row = _question(person, field, prompts[field], values.get(field))
                row["source"] = str(biography_path or "")
                told = texts.get(person["id"])
                if told and cloze and told["name"] not in told["text"][: told["spans"][field][0]]:
                    continue
                if told:
                    if open_book:
                        row["question"] = f"{told['text']}\n\n{row['question']}"
                    if cloze:
                        row["context"], row["target"] = cut_at(told["text"], *told["spans"][field])
                made.append(row)
        return Dataset.from_list(made)

    return {
        "questions": rows(asked, everyone, {person["id"]: person for person in asked}),
        "shots": rows(shots, shots, {}),
    }


class Values:
    """What wrong choices are taken from: a field's values, distinct after normalisation, in alphabetical order.

    Of values that mean the same the first one counts. Made once for a field: to make it takes time in proportion to
    the values, to choose from it does not.
    """

    def __init__(self, values: Iterable[str]) -> None:
        by_meaning = {normalise(value): value for value in sorted(set(values), reverse=True)}
        self._values = sorted(by_meaning.values())
        self._places = {normalise(value): place for place, value in enumerate(self._values)}

    def others(self, gold: str, count: int, rng: random.Random) -> list[str]:
        """So many values that are not `gold`, drawn at random without repetition; all of them if there are fewer."""
        gone = self._places.get(normalise(gold), len(self._values))
        left = len(self._values) - (gone < len(self._values))
        # Places are drawn, and not values, so that no list without the gold value has to be made.
        return [self._values[place + (place >= gone)] for place in rng.sample(range(left), min(count, left))]


def choose(person_id: str, field: str, gold: str, values: Values) -> list[str]:
    """Put the gold value among up to nine others of `values`, all distinct after normalisation, in random order.

    The random stream depends on person and field alone, the order of what `values` was made of does not matter.
    Raises ValueError if `values` holds no other value.
    """
    rng = random.Random(f"{person_id}:{field}")
    chosen = values.others(gold, CHOICES - 1, rng)
    if not chosen:
        raise ValueError(f"{person_id}: {field}: a choice needs a second value, and everyone has {gold!r}")
    chosen.insert(rng.randrange(len(chosen) + 1), gold)
    return chosen


def normalise(text: str) -> str:
    """Normalise an answer as SQuAD v1.1 does: lower case, no ASCII punctuation, no articles, single spaces."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact_match(answer: str, golds: Iterable[str]) -> float:
    """1.0 if the normalised answer equals any normalised gold answer, else 0.0."""
    return float(normalise(answer) in {normalise(gold) for gold in golds})


def f1(answer: str, golds: Iterable[str]) -> float:
    """F1 of the bags of normalised words (0..1), maximum over the gold answers; 0.0 where no word is shared."""
    return max(_f1(normalise(answer).split(), normalise(gold).split()) for gold in golds)


def extract_answer(generation: str) -> str:
    """Take the answer from what a model wrote: all up to the first newline, stripped."""
    return generation.split("\n", 1)[0].strip()


def score_answer(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Score one question for lm-eval (`process_results`): exact match, F1, and whether it was answered at all."""
    answer = extract_answer(results[0])
    return {**scores(answer, doc["answers"]), "answered": float(is_answer(answer, doc["field"], doc["source"]))}


def scores(answer: str, golds: Iterable[str]) -> dict[str, float]:
    """Exact match and F1 of an answer against all gold answers."""
    return {"exact_match": exact_match(answer, golds), "f1": f1(answer, golds)}


def is_answer(answer: str, field: str, source: str = "") -> bool:
    """Say whether an answer is of the kind that a field asks for: a date, or a value that the field has for somebody.

    `source` is the `biography_path` of the people; "" stands for those that come with the task.
    """
    is_date = field == "birth_date" and _DATE.fullmatch(answer.strip()) is not None
    if is_date or (field == "birth_date" and not source):
        return is_date
    return normalise(answer) in _values_of(field, source)  # people from elsewhere may have dates of other forms


@lru_cache(maxsize=32)
def _values_of(field: str, source: str) -> frozenset[str]:
    """The normalised values of a field, of all people and of those in the examples."""
    everyone: list[RealPerson] = [*read_people(source or None), *read_shots(source or None)]
    return frozenset(normalise(person["facts"][field]) for person in everyone)


def score_cloze(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Score one cloze question: 1.0 if the likeliest continuation of the text, token by token, is the answer."""
    _, is_likeliest = results[0]
    return {"cloze": float(is_likeliest)}


def cut_at(text: str, start: int, end: int) -> tuple[str, str]:
    """Cut a text before the answer at [start, end): what comes before, and what follows up to the answer's end.

    White space before the answer belongs to what follows, as tokenizers have it, and so do the punctuation marks behind
    it, without which a longer word that begins like the answer would count, with the ends of lines after them. Marks
    before another word, as in 's or -like, stay away: tokenizers join all of these.
    """
    before = text[:start].rstrip()
    stop = end
    while stop < len(text) and not (text[stop].isalnum() or text[stop].isspace()):
        stop += 1
    if stop > end and not text[stop : stop + 1].isalnum():
        while text[stop : stop + 1] in ("\r", "\n"):
            stop += 1
        end = stop
    return before, text[len(before) : end]


def cut_before(golds: Sequence[str], text: str, start: int = -1) -> dict[str, str]:
    """A document before and from the first answer that stands in it as whole words, after some text.

    Args:
        golds: The answers.
        text: The document.
        start: Where the first answer stands, if the data says so; this place is tried first.

    Returns:
        `context` and `target`; nothing where no answer stands so.
    """
    places = [(start, golds[0])] if start >= 0 and text.startswith(golds[0], start) else []
    places += [(found.start(), gold) for gold in golds for found in re.finditer(f"(?={re.escape(gold)})", text)]
    for place, gold in places:
        end = place + len(gold)
        if text[:place].strip() and not (inside_word(text, place) or inside_word(text, end)):
            context, target = cut_at(text, place, end)
            return {"context": context, "target": target}
    return {}


def stands_in(answer: str, text: str) -> bool:
    """Whether a text holds an answer as whole words; both are normalised."""
    return answer in text and not longer_word(answer, text)


def longer_word(answer: str, text: str) -> str:
    """The word of the text that an answer is only a part of; "" if somewhere it stands by itself, or nowhere.

    Both are normalised. Scripts without spaces between words have no such parts.
    """
    found = ""
    for match in re.finditer(re.escape(answer), text):
        start, end = match.span()
        if not (inside_word(text, start) or inside_word(text, end)):
            return ""
        found = found or text[text.rfind(" ", 0, start) + 1 : (text + " ").find(" ", end)]
    return found


def inside_word(text: str, place: int) -> bool:
    """Whether a place lies between two letters, or two digits, of one word."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if before.isdigit() and after.isdigit():
        return True
    return before.isalpha() and after.isalpha() and max(ord(before), ord(after)) < _SPACED


def _f1(answer: list[str], gold: list[str]) -> float:
    shared = (Counter(answer) & Counter(gold)).total()
    # 2PR / (P + R) with P = shared / len(answer) and R = shared / len(gold)
    return 2 * shared / (len(answer) + len(gold)) if shared else 0.0


def _question(person: RealPerson, field: str, prompt: str, values: Values | None) -> dict[str, Any]:
    gold = person["facts"][field]
    row: dict[str, Any] = {
        "id": f"{person['id']}:{field}",
        "cluster": person["id"],
        "half": person.get("half", ""),
        "field": field,
        "name": person["name"],
        "question": prompt.replace("{name}", person["name"]),
        "answers": [gold],
    }
    if values is not None:
        chosen = choose(person["id"], field, gold, values)
        row |= {"choices": chosen, "gold": chosen.index(gold)}
    return row


def _existing(path: str | Path | None) -> Path:
    path = PEOPLE if path is None else Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; biography_path is a JSONL file or a folder of CSV files")
    return path


def _check_told_apart(file: Path, people: Sequence[RealPerson]) -> None:
    if not people:
        raise ValueError(f"{file}: there is nobody in it")
    most_common, count = Counter(person["id"] for person in people).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{file}: id: {most_common!r} stands there {count} times; give everyone an id of their own")
    name, count = Counter(normalise(person["name"]) for person in people).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"{file}: name: {count} people are called {name!r}, so questions about them are the same; rename or leave "
            "out all but one"
        )


def _span(where: str, field: str, span: object, text: str, value: str) -> tuple[int, int]:
    match span:
        case [int(start), int(end)] if start >= 0 and text[start:end] == value:
            return start, end
    raise ValueError(f"{where}: spans.{field}: {span} is not where the text has {value!r}")


def _real_person(where: str, row: dict[str, Any]) -> RealPerson:
    facts = row.get("facts")
    if not isinstance(facts, dict):
        raise ValueError(f"{where}: facts: expected an object with {', '.join(FIELDS)}")
    for field, value in {"id": row.get("id"), "name": row.get("name"), **{f: facts.get(f) for f in FIELDS}}.items():
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{where}: {field}: expected a string that is not empty, not {value!r}")
    return {"id": row["id"], "name": row["name"], "facts": {field: facts[field] for field in FIELDS}}


def _tagged_people(file: Path) -> list[Person]:
    people: list[Person] = []
    for number, (where, row) in enumerate(_csv_rows(file, ("text",))):
        text, spans = _strip_tags(where, row["text"])
        values = {field: text[start:end] for field, (start, end) in spans.items()}
        facts = {field: values[field] for field in FIELDS}
        person = Person(
            id=f"person-{number:05d}", half=HALVES[number % 2], name=values["name"], facts=facts, text=text, spans=spans
        )
        people.append(person)
    _check_told_apart(file, people)
    return people


def _strip_tags(where: str, tagged: str) -> tuple[str, dict[str, tuple[int, int]]]:
    text, done = "", 0
    spans: dict[str, tuple[int, int]] = {}
    for match in _TAGGED.finditer(tagged):
        tag, value = match.groups()
        text += tagged[done : match.start()]
        if _FIELD_OF_TAG[tag] in spans or not value.strip():
            raise ValueError(f"{where}: {_FIELD_OF_TAG[tag]}: <{tag}> is empty or stands there twice")
        spans[_FIELD_OF_TAG[tag]] = (len(text), len(text) + len(value))
        text += value
        done = match.end()
    text += tagged[done:]
    for tag, field in _FIELD_OF_TAG.items():
        if field not in spans:
            raise ValueError(f"{where}: {field}: no <{tag}>...</{tag}> in the text")
    if stray := _STRAY_TAG.search(text):
        raise ValueError(f"{where}: {stray[0]} has no counterpart")
    return text, spans


def _json_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8: {error}") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}:{number}: not JSON: {error.msg}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{file}:{number}: expected a JSON object")
            yield f"{file}:{number}", row


def _csv_rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    if not file.is_file():
        raise ValueError(f"{file}: no such file; the folder needs biography_synthetic.csv and biography_real.csv")
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            for column in columns:
                if column not in (reader.fieldnames or ()):
                    raise ValueError(f"{file}:1: no column {column!r}")
            # Rows are counted, since a quoted cell may run over several lines; row 1 is the first below the header.
            for number, row in enumerate(reader, start=1):
                for column in columns:
                    if not row[column]:
                        raise ValueError(f"{file}: row {number}: {column}: the cell is empty")
                yield f"{file}: row {number}", row
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not CSV in UTF-8: {error}") from None
