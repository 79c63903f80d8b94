"""The Wikipedia tasks for lm-eval: paragraphs, closed-book questions about them and shots. It needs lm-eval alone.

The YAML files beside this module call `load` for the questions and `score_answer` for the metrics. `read_paragraphs`
and `read_mini` give the paragraphs that a model is trained on before it is asked.
"""

import hashlib
import importlib.util
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from datasets import Dataset

MINI = Path(__file__).with_name("mini.jsonl")
SHOTS = Path(__file__).with_name("shots.jsonl")
LISTS = {"seal": Path(__file__).with_name("seal_passages.txt")}  # lists of paragraphs that ship, by name
METRICS_FILE = Path(__file__).parents[1] / "biography" / "biography.py"  # the formulas are those of every task

HUB = {"squad": "rajpurkar/squad", "pwqa": "lmqg/qa_harvesting_from_wikipedia"}
HALVES = ("development", "test")
KINDS = ("direct", "coreference")
SPLIT = "validation"

# What the files of a split are called: SQuAD's own are dev-v1.1.json and train-v1.1.json.
_SPLITS = {"train": ("train",), "validation": ("validation", "dev"), "test": ("test",)}
_SUFFIXES = (".json", ".jsonl", ".parquet")


class Question(TypedDict):
    """A question and its gold answers, any of which will do.

    `kind` is one of KINDS, or "" where it is not known; `start` is where the first answer stands in the paragraph, -1
    where that is not known.
    """

    id: str
    question: str
    answers: list[str]
    kind: str
    start: int


class Paragraph(TypedDict):
    """A paragraph of Wikipedia with the questions about it."""

    id: str
    title: str
    half: str
    text: str
    questions: list[Question]


def fetch(source: str, split: str | None = None, revision: str | None = None) -> Path:
    """Give the folder of the Hugging Face cache with the split of a data set; its name is the commit.

    What is in the cache is taken without asking the hub. `revision` is a commit, branch or tag.
    Raises ValueError, which names local files as the remedy, if it is not there and the hub does not give it.
    """
    _check_split(split)
    patterns = [f"*{name}*{suffix}" for name in _SPLITS[split or SPLIT] for suffix in _SUFFIXES]
    option = f"wikipedia_{source}_path"
    return from_hub(HUB[source], patterns, revision, lambda folder: _files_of_split(folder, split), option)


def from_hub(
    repository: str, patterns: list[str], revision: str | None, check: Callable[[Path], object], option: str
) -> Path:
    """Give the folder of the Hugging Face cache with the files of a data set that match `patterns`, as `fetch` does.

    `check` raises an exception where a cached folder lacks files; `option` is lm-eval's option for local files.
    """
    from huggingface_hub import snapshot_download

    failure: Exception | None = None
    for cached in (True, False):
        try:
            folder = Path(
                snapshot_download(
                    repository,
                    repo_type="dataset",
                    revision=revision,
                    allow_patterns=patterns,
                    local_files_only=cached,
                )
            )
            check(folder)
            return folder
        except Exception as error:  # the hub client raises many kinds; each means the same to the user
            failure = error
    reason = f"{type(failure).__name__}: {' '.join(str(failure).split())[:300]}"
    raise ValueError(
        f"the hub did not give {repository!r} ({reason}); get its files elsewhere and give the file or folder as path "
        f"(in lm-eval: {option})"
    )


def read_paragraphs(
    path: str | Path, split: str | None = None, count: int | str | Path | None = None, seed: int = 1
) -> list[Paragraph]:
    """Read paragraphs, each once, in an order drawn by `seed`; a number `count` keeps the first so many of it.

    A path `count` keeps the paragraphs whose ids, or whose questions' ids, are in that file (`read_ids`), each with all
    of its questions.

    `path` is a file or a folder with the files of a split (default: validation); a file is SQuAD's JSON, or has a row
    per question with `context`, `question`, `answers` and maybe `title`, as JSON lines, a JSON list or Parquet.
    The order depends on the seed and the paragraphs' words alone; it puts the paragraphs in the halves by turns.

    Raises ValueError naming file, place and field if something is missing or does not fit.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; give a .json, .jsonl or .parquet file or a folder of these")
    if path.is_file() and split is not None:
        raise ValueError(f"split: {path} is a file, all of which is taken; leave split out, or give the folder")
    by_text: dict[str, Paragraph] = {}
    named: dict[str, set[str]] = {}  # ids of the paragraphs that have a question with this id in the data
    for file in [path] if path.is_file() else _files_of_split(path, split):
        for title, text, questions in _read(file):
            paragraph = by_text.setdefault(
                text, {"id": _hash(text, 16), "title": title, "half": "", "text": text, "questions": []}
            )
            paragraph["questions"] += [_question(*question) for question in questions]
            for _, row in questions:
                if isinstance(row.get("id"), str):
                    named.setdefault(row["id"].strip(), set()).add(paragraph["id"])
    if not by_text:
        raise ValueError(f"{path}: there is no paragraph in it")
    drawn = sorted(by_text.values(), key=lambda paragraph: _hash(f"{seed}:{paragraph['id']}"))
    if isinstance(count, str | Path) and not str(count).isdigit():
        listed = _listed(ids_file(count), drawn, named, path)
        drawn = [paragraph for paragraph in drawn if paragraph["id"] in listed]
    else:
        drawn = drawn[: _checked_count(count, len(drawn))]
    for number, paragraph in enumerate(drawn):
        paragraph["half"] = HALVES[number % 2]
        _name_questions(paragraph)
    return drawn


def ids_file(chosen: str | Path) -> Path:
    """The file of a list of paragraphs: one that ships, by its name in LISTS, or a user's, by its path."""
    return LISTS.get(str(chosen)) or Path(chosen).expanduser()


def read_ids(file: Path) -> dict[str, int]:
    """Read ids, one a line, with the number of their line. Empty lines, and lines that begin with "#", are no ids.

    Raises ValueError naming file and line if an id stands there twice or none does.
    """
    if not file.is_file():
        known = ", ".join(LISTS)
        raise ValueError(
            f"{file}: paragraphs: no such file; give a file with an id a line, a number, or one of: {known}"
        )
    ids: dict[str, int] = {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if name in ids:
            raise ValueError(f"{file}:{number}: {name[:80]!r} is already in line {ids[name]}; remove one of the two")
        if name and not name.startswith("#"):
            ids[name] = number
    if not ids:
        raise ValueError(f"{file}: no id in it; give the ids of paragraphs or questions, one a line")
    return ids


def _listed(file: Path, paragraphs: list[Paragraph], named: dict[str, set[str]], data: Path) -> set[str]:
    """The ids of the paragraphs that a file of ids lists, by their own ids or by those of their questions."""
    known = dict(named)
    for paragraph in paragraphs:
        _name_questions(paragraph)
        names = (paragraph["id"], *(question["id"] for question in paragraph["questions"]))
        known |= {name: {paragraph["id"]} for name in names}
    listed: set[str] = set()
    for name, line in read_ids(file).items():
        of_name = known.get(name, set())
        if not of_name:
            raise ValueError(
                f"{file}:{line}: {name[:80]!r} is no paragraph or question of {data}; correct or remove this line, or "
                "choose another split"
            )
        if len(of_name) > 1:
            raise ValueError(
                f"{file}:{line}: {name[:80]!r} is a question of {len(of_name)} paragraphs; give the id of one of them"
            )
        listed |= of_name
    return listed


def read_mini(count: int | None = None, path: Path = MINI) -> list[Paragraph]:
    """Read the paragraphs that come with the task, in the order of their file; `count` keeps the first so many.

    Raises ValueError naming file, line and field if something is missing or does not fit.
    """
    paragraphs: list[Paragraph] = []
    for where, row in _json_lines(path):
        if row.get("half") not in HALVES:
            raise ValueError(f"{where}: half: {row.get('half')!r} is none of {', '.join(HALVES)}")
        if not isinstance(row.get("questions"), list):
            raise ValueError(f"{where}: questions: expected a list")
        paragraphs.append(
            {
                "id": string_of(where, row, "id"),
                "title": string_of(where, row, "title"),
                "half": row["half"],
                "text": string_of(where, row, "text"),
                "questions": [_mini_question(where, question) for question in row["questions"]],
            }
        )
    _check_ids(path, "id", [paragraph["id"] for paragraph in paragraphs])
    _check_ids(path, "questions.id", [question["id"] for p in paragraphs for question in p["questions"]])
    return paragraphs[: _checked_count(count, len(paragraphs))]


def read_shots() -> list[Question]:
    """Read the few-shot examples: general knowledge, and none of it from a corpus, so that they fit every one."""
    shots = []
    for where, row in _json_lines(SHOTS):
        shot = _question(where, row)
        shot["id"] = string_of(where, row, "id")
        shots.append(shot)
    return shots


def load(
    source: str,
    half: str = "test",
    paragraphs: int | str | None = None,
    subset_seed: int = 1,
    split: str | None = None,
    cloze: bool = False,
    open_book: bool = False,
    **others: object,
) -> "dict[str, Dataset]":
    """Build the data of an lm-eval task: the splits "questions" and "shots".

    lm-eval calls this as `custom_dataset` with the task's metadata (what `--metadata` gave, the version, the model's
    arguments: hence `others`) and `dataset_kwargs` (from the task's YAML).

    Args:
        source: "squad", "pwqa" or "mini".
        half: Whose questions: those of "development", "test", or "all".
        paragraphs: Take only so many paragraphs, or those of a file of ids (`read_ids`); for "mini" a number.
        subset_seed: Draws them, and the halves; not for "mini", whose order and halves are those of its file.
        split: "train", "validation" or "test" of the hub's data set or of a folder; not for "mini".
        cloze: Give the paragraph up to the answer as `context` and what follows as `target`; questions none of whose
            answers stands in their paragraph are left out.
        open_book: Put the paragraph before the question; the examples stay as they are.
        others: "wikipedia_squad_path" and "wikipedia_pwqa_path" give files in place of the hub's,
            "wikipedia_squad_revision" and "wikipedia_pwqa_revision" another commit of the hub's.

    Raises:
        ValueError: An option has no such value, or the data cannot be had or does not fit.
    """
    from datasets import Dataset

    _metrics.check_half(half)
    if source == "mini":
        if isinstance(paragraphs, str):
            raise ValueError(f"paragraphs: {paragraphs!r} is no number; wikipedia_mini takes the first so many")
        chosen = read_mini(paragraphs)
    else:
        if not isinstance(subset_seed, int):
            raise ValueError(f"subset_seed: {subset_seed!r} is no whole number")
        path, revision = (others.get(f"wikipedia_{source}_{what}") for what in ("path", "revision"))
        files = Path(str(path)) if path else fetch(source, split, str(revision) if revision else None)
        chosen = read_paragraphs(files, split, paragraphs, subset_seed)
    rows = [
        _row(question, paragraph, open_book)
        for paragraph in chosen
        if half in (paragraph["half"], "all")
        for question in paragraph["questions"]
    ]
    if cloze:
        cuts = {
            question["id"]: cut
            for p in chosen
            for question in p["questions"]
            if (cut := _metrics.cut_before(question["answers"], p["text"], question["start"]))
        }
        rows = [{**row, **cuts[row["id"]]} for row in rows if row["id"] in cuts]
    if not rows:
        raise ValueError(f"wikipedia_{source}: half: there is no question about a paragraph of the half {half!r}")
    shots = [_row(shot, None, open_book=False) for shot in read_shots()]
    return {"questions": Dataset.from_list(rows), "shots": Dataset.from_list(shots)}


def _row(question: Question, paragraph: Paragraph | None, open_book: bool) -> dict[str, Any]:
    """A question as lm-eval gets it; an example has no paragraph."""
    told = {name: value for name, value in question.items() if name != "start"}
    if paragraph is None:
        return {**told, "cluster": "", "half": "", "title": "", "before": ""}
    before = f"{paragraph['text']}\n\n" if open_book else ""
    return {
        **told,
        "cluster": paragraph["id"],
        "half": paragraph["half"],
        "title": paragraph["title"],
        "before": before,
    }


_QUESTION_MARKS = "?？؟"
_UNSPACED = 0x2E80  # from it on are Chinese and Japanese characters
MOST_WORDS = 32  # of an answer; what is longer ran on until the limit of tokens


def score_answer(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Score one question for lm-eval (`process_results`): exact match and F1, each the best over `doc["answers"]`.

    `answered` says whether it was answered at all: rightly, or with what `is_answer` takes for an answer.
    """
    answer = _metrics.extract_answer(results[0])
    scores = _metrics.scores(answer, doc["answers"])
    return {**scores, "answered": float(scores["exact_match"] == 1 or is_answer(answer, doc["question"]))}


def is_answer(answer: str, question: str) -> bool:
    """Say whether what a model wrote answers a free question, right or wrong.

    It does not if it is empty, runs on until the limit of tokens, asks a question itself, or repeats three words in a
    row of the question or of what stands around it.
    """
    words = _metrics.normalise(answer).split()
    # In scripts without spaces between words, every character counts.
    count = len(words) + sum(ord(letter) >= _UNSPACED for letter in answer)
    if not words or count > MOST_WORDS or any(mark in answer for mark in _QUESTION_MARKS):
        return False
    asked = _metrics.normalise(f"Question: {question} Answer:").split()
    echoes = {tuple(asked[start : start + 3]) for start in range(len(asked) - 2)}
    begins_as_prompt = words[0] in ("question", "answer") and answer.lstrip()[len(words[0]) :][:1] == ":"
    return not begins_as_prompt and not any(
        tuple(words[start : start + 3]) in echoes for start in range(len(words) - 2)
    )


def score_cloze(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Score one cloze question as the biography task does."""
    scores: dict[str, float] = _metrics.score_cloze(doc, results)
    return scores


def _load_metrics() -> ModuleType:
    """The biography task's module by its file: for lm-eval this one is in no package, and `!function` cannot go up."""
    spec = importlib.util.spec_from_file_location("biography_metrics", METRICS_FILE)
    if spec is None or spec.loader is None:
        raise ImportError(f"{METRICS_FILE}: cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_metrics = _load_metrics()


def _hash(text: str, digits: int = 64) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _check_split(split: str | None) -> None:
    if split is not None and split not in _SPLITS:
        raise ValueError(f"split: {split!r} is none of {', '.join(_SPLITS)}")


def _checked_count(count: object, there: int) -> int:
    if count is None:
        return there
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= there:
        raise ValueError(f"paragraphs: {count!r} is no number from 1 to {there}, the paragraphs that there are")
    return count


def _files_of_split(folder: Path, split: str | None) -> list[Path]:
    """The files of a folder whose names, or those of their folders within it, have the split's name as a word."""
    _check_split(split)
    word = re.compile(rf"(?<![a-z])({'|'.join(_SPLITS[split or SPLIT])})(?![a-z])")
    files = sorted(file for file in folder.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
    found = [file for file in files if word.search(file.relative_to(folder).as_posix().lower())]
    if not found:
        there = ", ".join(file.relative_to(folder).as_posix() for file in files[:5]) or "no data file"
        raise ValueError(f"{folder}: split: no .json, .jsonl or .parquet file of {split or SPLIT!r}; there is {there}")
    if len({file.suffix for file in found}) > 1:
        raise ValueError(
            f"{folder}: split: {split or SPLIT!r} is there in several formats ({found[0].name}, {found[-1].name}); "
            "leave one of them"
        )
    return found


def _read(file: Path) -> Iterator[tuple[str, str, list[tuple[str, Any]]]]:
    """Per paragraph of SQuAD's layout, or per row: title, text, and the questions with the places where they stand."""
    for where, row in rows_of(file):
        articles = [(where, row)]
        if isinstance(row.get("data"), list):
            articles = [(f"{where}: data[{number}]", article) for number, article in enumerate(row["data"])]
        for place, article in articles:
            title = article.get("title") if isinstance(article, dict) else None
            title = title if isinstance(title, str) else ""
            if not isinstance(article, dict) or not isinstance(article.get("paragraphs"), list):
                yield title, string_of(place, article, "context"), [(place, article)]
                continue
            for number, paragraph in enumerate(article["paragraphs"]):
                spot = f"{place}.paragraphs[{number}]"
                text = string_of(spot, paragraph, "context")
                if not isinstance(paragraph.get("qas"), list):
                    raise ValueError(f"{spot}: qas: expected a list of questions")
                yield title, text, [(f"{spot}.qas[{n}]", question) for n, question in enumerate(paragraph["qas"])]


def rows_of(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a .json, .jsonl or .parquet file, each with its place. Raises ValueError as `_read` does."""
    if file.suffix == ".jsonl":
        yield from _json_lines(file)
    elif file.suffix == ".json":
        yield from _json_rows(file)
    elif file.suffix == ".parquet":
        yield from _parquet_rows(file)
    else:
        raise ValueError(f"{file}: not a .json, .jsonl or .parquet file; give one of these")


def _json_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The one object of a file or those of its list; a file of several objects is JSON lines under another name."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8: {error}") from None
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise ValueError(f"{file}: not JSON: {error}") from None
        yield from _json_lines(file)
        return
    listed = content if isinstance(content, list) else [content]
    for number, row in enumerate(listed):
        where = f"{file}: [{number}]" if isinstance(content, list) else str(file)
        if not isinstance(row, dict):
            raise ValueError(f"{where}: expected a JSON object")
        yield where, row


def _parquet_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(file).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{file}: row {number}", row
    except pa.ArrowException as error:
        raise ValueError(f"{file}: not Parquet: {' '.join(str(error).split())[:120]}") from None


def _json_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{file}:{number}: not JSON: {error}") from None
                if not isinstance(row, dict):
                    raise ValueError(f"{file}:{number}: expected a JSON object")
                yield f"{file}:{number}", row
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: not UTF-8: {error}") from None


def _question(where: str, row: object) -> Question:
    """A question yet without id and kind. Answers are texts, objects with a text each, or an object with all texts."""
    question = string_of(where, row, "question")
    answers = row.get("answers") if isinstance(row, dict) else None
    start = _first_start(answers)
    if isinstance(answers, dict):
        answers = answers.get("text")
    if not isinstance(answers, list) or not answers:
        raise ValueError(f"{where}: answers: expected a list of one or more; every question needs a gold answer")
    golds = [string_of(where, one if isinstance(one, dict) else {"text": one}, "text", "answers") for one in answers]
    return {"id": "", "question": question, "answers": list(dict.fromkeys(golds)), "kind": "", "start": start}


def _first_start(answers: object) -> int:
    """Where SQuAD's layouts say that the first answer begins; -1 where they do not."""
    first = answers.get("answer_start") if isinstance(answers, dict) else answers
    first = first[0] if isinstance(first, list) and first else first
    first = first.get("answer_start") if isinstance(first, dict) else first
    return first if type(first) is int and first >= 0 else -1


def _mini_question(where: str, row: object) -> Question:
    question = _question(f"{where}: questions", row)
    question["id"] = string_of(f"{where}: questions", row, "id")
    question["kind"] = string_of(f"{where}: questions", row, "kind")
    if question["kind"] not in KINDS:
        raise ValueError(f"{where}: questions: kind: {question['kind']!r} is none of {', '.join(KINDS)}")
    return question


def _name_questions(paragraph: Paragraph) -> None:
    """Name questions by paragraph and words; what is asked there again gets a number, since people were asked apart."""
    asked: Counter[str] = Counter()
    for question in paragraph["questions"]:
        name = f"{paragraph['id']}:{_hash(question['question'], 12)}"
        asked[name] += 1
        question["id"] = name if asked[name] == 1 else f"{name}-{asked[name]}"


def _check_ids(file: Path, what: str, ids: Sequence[str]) -> None:
    if not ids:
        raise ValueError(f"{file}: {what}: there is none in it")
    most_common, count = Counter(ids).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{file}: {what}: {most_common!r} stands there {count} times; give each an id of its own")


def string_of(where: str, row: object, key: str, name: str = "") -> str:
    """A string of an object, without the white space around it."""
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: {name or key}: expected a string that is not empty, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: {name or key}: {value[error.start]!a} is no character; take it out") from None
    return value.strip()
