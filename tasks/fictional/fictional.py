"""The FictionalQA task for lm-eval: documents about made-up events, and closed-book questions about them.

`fictional.yaml` calls `load` for the questions; `read_events` gives the documents that a model is trained on before it
is asked. It needs lm-eval alone. Source: Kirchenbauer et al., arXiv 2506.05639; README.md describes the files.
"""

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

if TYPE_CHECKING:
    from datasets import Dataset

    from tasks.biography import biography as metrics
    from tasks.wikipedia import wikipedia
else:  # by their places, since lm-eval may be started anywhere

    def _beside(name: str) -> ModuleType:
        file = Path(__file__).parents[1] / name / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"fictional_{name}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    metrics, wikipedia = _beside("biography"), _beside("wikipedia")

HUB = "tomg-group-umd/fictionalqa"
STYLES = ("news", "social", "corporate", "blog", "encyclopedia")
HALVES = ("development", "test")
DUPLICATES = {"exact": {"exact"}, "similar": {"exact", "similar"}}  # which relations make a question a duplicate
FORMATS = (".parquet", ".jsonl")

score_answer = wikipedia.score_answer  # exact match, F1 and `answered`, as of every free question
score_cloze = wikipedia.score_cloze


class Question(TypedDict):
    """A question that is asked, with its gold answers."""

    id: str
    question: str
    answers: list[str]


class Document(TypedDict):
    """A text to train on, and the questions that were made from it."""

    id: str
    event: str
    style: str
    half: str
    text: str
    questions: list[Question]


class Events(NamedTuple):
    """Documents in the order of their events; `left_out` counts the questions on them that are not asked, by reason."""

    documents: list[Document]
    left_out: dict[str, int]


def fetch(revision: str | None = None) -> Path:
    """Give the folder of the Hugging Face cache with the data set; its name is the commit.

    What is in the cache is taken without asking the hub. `revision` is a commit, branch or tag.
    Raises ValueError, which names local files as the remedy, if it is not there and the hub does not give it.
    """
    folders = ("fictions", "joined_qa")
    patterns = [f"{folder}/*{suffix}" for folder in folders for suffix in FORMATS]
    check = lambda folder: [_files(folder, name) for name in folders]  # noqa: E731
    return wikipedia.from_hub(HUB, patterns, revision, check, "fictional_path")


def read_events(
    path: str | Path,
    events: int | None = None,
    styles: Sequence[str] | None = None,
    duplicates: str = "exact",
    seed: int = 1,
) -> Events:
    """Read the documents of events in an order drawn by `seed`, with the questions that are asked.

    The order depends on the seed and the ids of the events alone. It puts the events in the halves by turns, so all
    documents of an event are in one half.

    Args:
        path: A folder with `fictions` and `joined_qa`, or with `fictions`, `fict_qa` and `blind_answer_attempts`.
        events: The number of events; None for all.
        styles: Take only documents of these styles, and the questions on them.
        duplicates: "exact" asks one of several questions of the same words, "similar" also one of several that the
            authors mark as similar.
        seed: Draws the events and the halves.

    Raises:
        ValueError: Naming file, row and field, something is missing or does not fit.
    """
    if duplicates not in DUPLICATES:
        raise ValueError(f"duplicates: {duplicates!r} is none of {', '.join(DUPLICATES)}")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one with fictions and joined_qa, as {HUB} has them")
    chosen_styles = _checked_styles(styles)
    documents = _documents(folder)
    names = sorted({document["event"] for document in documents.values()}, key=lambda name: _hash(f"{seed}:{name}"))
    names = names[: _checked_count(events, len(names))]
    halves = {name: HALVES[number % 2] for number, name in enumerate(names)}
    order = {name: number for number, name in enumerate(names)}
    chosen = [
        document
        for document in documents.values()
        if document["event"] in halves and document["style"] in chosen_styles
    ]
    for document in chosen:
        document["half"] = halves[document["event"]]
    chosen.sort(key=lambda document: (order[document["event"]], document["id"]))
    left_out = _ask({document["id"]: document for document in chosen}, _questions(folder, documents), duplicates)
    return Events(chosen, left_out)


def load(
    half: str = "test",
    events: int | None = None,
    styles: Sequence[str] | None = None,
    duplicates: str = "exact",
    subset_seed: int = 1,
    cloze: bool = False,
    open_book: bool = False,
    **others: object,
) -> "dict[str, Dataset]":
    """Build the data of an lm-eval task: the splits "questions" and "shots".

    lm-eval calls this as `custom_dataset` with the task's metadata (what `--metadata` gave, the version, the model's
    arguments: hence `others`) and `dataset_kwargs` (from the task's YAML).

    Args:
        half: Whose questions: those of "development", "test", or "all".
        events: The number of events; None for all.
        styles: Take only documents of these styles.
        duplicates: See `read_events`.
        subset_seed: Draws the events and the halves.
        cloze: Give the document up to the answer as `context` and what follows as `target`; questions whose answer does
            not stand in their document are left out.
        open_book: Put the document before the question; the examples stay as they are.
        others: "fictional_path" gives a folder in place of the hub's files, "fictional_revision" another commit.

    Raises:
        ValueError: An option has no such value, or the data cannot be had or does not fit.
    """
    from datasets import Dataset

    metrics.check_half(half)
    if not isinstance(subset_seed, int):
        raise ValueError(f"subset_seed: {subset_seed!r} is no whole number")
    given, revision = others.get("fictional_path"), others.get("fictional_revision")
    folder = Path(str(given)) if given else fetch(str(revision) if revision else None)
    rows: list[dict[str, Any]] = []
    for document in read_events(folder, events, styles, duplicates, subset_seed).documents:
        if half in (document["half"], "all"):
            rows += _rows(document, cloze, open_book)
    if not rows:
        raise ValueError(f"fictional: half: there is no question on the half {half!r}; take more events")
    blank = {"cluster": "", "half": "", "style": "", "before": ""}
    shots = [
        {"id": shot["id"], "question": shot["question"], "answers": shot["answers"], **blank}
        for shot in wikipedia.read_shots()
    ]
    return {"questions": Dataset.from_list(rows), "shots": Dataset.from_list(shots)}


def _rows(document: Document, cloze: bool, open_book: bool) -> Iterator[dict[str, Any]]:
    """A document's questions as lm-eval gets them. Questions on the same event are one cluster."""
    about = {"cluster": document["event"], "half": document["half"], "style": document["style"]}
    before = f"{document['text']}\n\n" if open_book else ""
    for question in document["questions"]:
        row = {**question, **about, "before": before}
        if not cloze:
            yield row
            continue
        if cut := metrics.cut_before(question["answers"], document["text"]):
            yield {**row, **cut}


def _documents(folder: Path) -> dict[str, Document]:
    """The documents by their ids, without halves and questions."""
    documents: dict[str, Document] = {}
    for where, row in _table(folder, "fictions"):
        name, style = wikipedia.string_of(where, row, "fiction_id"), wikipedia.string_of(where, row, "style")
        if name in documents:
            raise ValueError(f"{where}: fiction_id: {name!r} is there twice; give each document an id of its own")
        if style not in STYLES:
            raise ValueError(f"{where}: style: {style!r} is none of {', '.join(STYLES)}")
        documents[name] = {
            "id": name,
            "event": wikipedia.string_of(where, row, "event_id"),
            "style": style,
            "half": "",
            "text": wikipedia.string_of(where, row, "fiction"),
            "questions": [],
        }
    if not documents:
        raise ValueError(f"{folder}: fictions: no document in it; give the authors' files")
    return documents


def _questions(folder: Path, documents: Mapping[str, Document]) -> dict[str, dict[str, Any]]:
    """The rows of questions by their ids, each with `grade_blind`: 1 if a model answered it without the document."""
    joined = bool(_files(folder, "joined_qa", needed=False))
    grades = {}
    if not joined:
        for where, row in _table(folder, "blind_answer_attempts"):
            grades[wikipedia.string_of(where, row, "question_id")] = row.get("grade")
    questions: dict[str, dict[str, Any]] = {}
    for where, row in _table(folder, "joined_qa" if joined else "fict_qa"):
        name = wikipedia.string_of(where, row, "question_id")
        wikipedia.string_of(where, row, "question")
        if row.get("fiction_id") not in documents:
            raise ValueError(f"{where}: fiction_id: {row.get('fiction_id')!r} is no document of fictions")
        if name in questions:
            raise ValueError(f"{where}: question_id: {name!r} is there twice; give each question an id of its own")
        grade = row.get("grade_blind") if joined else grades.get(name)
        if grade not in (0, 1):
            field = "grade_blind" if joined else "question_id: no grade in blind_answer_attempts, which is"
            raise ValueError(f"{where}: {field} {grade!r}; expected 0 or 1, whether it was answered without the text")
        relation = row.get("duplicate_relationship")
        if relation not in (None, "", "exact", "similar"):
            raise ValueError(f"{where}: duplicate_relationship: {relation!r} is none of exact, similar and nothing")
        questions[name] = {**row, "grade_blind": grade, "question_id": name}
    return questions


def _ask(chosen: Mapping[str, Document], questions: Mapping[str, dict[str, Any]], duplicates: str) -> dict[str, int]:
    """Give the chosen documents the questions that are asked, and count the others by reason.

    As the authors' own subsets do: duplicates first, then what a model could answer without the document. Of duplicates
    the one they call the root is asked, or else the first by its id, where the root is on a document not chosen.
    """
    left_out = dict.fromkeys(("no_answer", "duplicate", "answered_without_the_text"), 0)
    groups: dict[str, list[str]] = {}
    for name in sorted(questions):
        if questions[name]["fiction_id"] in chosen:
            if str(questions[name].get("natural_answer") or "").strip():
                groups.setdefault(_root(name, questions, DUPLICATES[duplicates]), []).append(name)
            else:
                left_out["no_answer"] += 1
    for root, names in groups.items():
        left_out["duplicate"] += len(names) - 1
        row = questions[root if root in names else names[0]]
        if row["grade_blind"]:
            left_out["answered_without_the_text"] += 1
            continue
        question: Question = {
            "id": row["question_id"],
            "question": row["question"].strip(),
            "answers": [row["natural_answer"].strip()],
        }
        chosen[row["fiction_id"]]["questions"].append(question)
    return left_out


def _root(name: str, questions: Mapping[str, dict[str, Any]], relations: set[str]) -> str:
    """The question that this one repeats, by the authors' chain of roots; itself if it repeats none."""
    seen = set()
    while name in questions and name not in seen and questions[name].get("duplicate_relationship") in relations:
        seen.add(name)
        name = str(questions[name].get("duplicate_root"))
    return name


def _table(folder: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a configuration of the data set, each with its place."""
    for file in _files(folder, name):
        yield from wikipedia.rows_of(file)


def _files(folder: Path, name: str, needed: bool = True) -> list[Path]:
    """The files of a configuration: those in the folder of its name, or the file of its name."""
    places = [*(folder / name).glob("*"), *(folder / f"{name}{suffix}" for suffix in FORMATS)]
    files = sorted(file for file in places if file.suffix in FORMATS and file.is_file())
    if len({file.suffix for file in files}) > 1:
        raise ValueError(f"{folder}: {name} is there as .parquet and as .jsonl; leave one of them")
    if needed and not files:
        raise ValueError(
            f"{folder}: no {name}/*.parquet or {name}.jsonl in it; give fictions and joined_qa, or fictions, "
            "fict_qa and blind_answer_attempts"
        )
    return files


def _checked_styles(styles: Sequence[str] | None) -> tuple[str, ...]:
    if styles is None:
        return STYLES
    wrong = next((style for style in styles if style not in STYLES), None)
    if isinstance(styles, str) or not styles or wrong is not None:
        raise ValueError(f"styles: {wrong or styles!r}: expected a list of one or more of {', '.join(STYLES)}")
    return tuple(styles)


def _checked_count(count: int | None, there: int) -> int:
    if count is None:
        return there
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= there:
        raise ValueError(f"events: {count!r} is no number from 1 to {there}, the events that there are")
    return count


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
