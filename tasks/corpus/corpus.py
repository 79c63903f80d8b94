"""The corpus task for lm-eval: a user's own documents and the questions about them. It needs lm-eval alone.

`corpus.yaml` calls `load` for the questions and `score_answer` for the metrics, which are those of the biography task
beside it. `read_corpus` gives the documents that a model is trained on before it is asked.
"""

import importlib.util
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, NotRequired, TypedDict

if TYPE_CHECKING:
    from datasets import Dataset

    from tasks.biography import biography as metrics
    from tasks.corpus import tables, wording
    from tasks.wikipedia import wikipedia
else:  # by their places, since lm-eval may be started anywhere

    def _beside(place: str) -> ModuleType:
        file = Path(__file__).parents[1] / place
        spec = importlib.util.spec_from_file_location(f"corpus_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    metrics, wikipedia = (_beside(f"{name}/{name}.py") for name in ("biography", "wikipedia"))
    tables, wording = (_beside(f"corpus/{name}.py") for name in ("tables", "wording"))

HALVES = ("development", "test")
CHARACTERS = ("as_written", "folded")
PROMPT = "Question: {question}\nAnswer:"
MOST_KINDS, LONGEST_KIND = 20, 40  # kinds in a corpus, each a column of the board; characters of a kind


def score_answer(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Score one question for lm-eval (`process_results`): exact match and F1, the best over `doc["answers"]`.

    `answered` says whether it was answered at all, as in the Wikipedia tasks. Where the question says that characters
    are folded, those that look alike count as equal.
    """
    if doc.get("characters") == "folded":
        doc = {**doc, "answers": [wording.fold(gold) for gold in doc["answers"]]}
        results = [wording.fold(metrics.extract_answer(result)) for result in results]
    answer = metrics.extract_answer(results[0])
    scores = metrics.scores(answer, doc["answers"])
    return {**scores, "answered": float(scores["exact_match"] == 1 or wikipedia.is_answer(answer, doc["question"]))}


def score_cloze(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Score one cloze question as the biography task does."""
    scores: dict[str, float] = metrics.score_cloze(doc, results)
    return scores


class Question(TypedDict):
    """A question, all the answers that count as right, and what kind of question it is, if the file says so."""

    question: str
    answers: list[str]
    kind: NotRequired[str]


class Document(TypedDict):
    """A text to train on, and the questions about it; there may be none."""

    id: str
    text: str
    half: str
    questions: list[Question]


class Files(NamedTuple):
    """The files of a corpus; `questions` is None where they stand beside the documents' texts."""

    documents: Path
    questions: Path | None
    shots: Path | None


def find_files(path: str | Path | None, questions: str | Path | None = None, shots: str | Path | None = None) -> Files:
    """Say which files make up a corpus.

    `path` is a file of documents or a folder with `documents.*` and, it may be, `questions.*` and `shots.*`; the other
    two name such files wherever they lie. Raises ValueError if a file is not there, is named twice or is of no known
    format.
    """
    if path is None:
        raise ValueError('corpus_path: missing; name a file or folder of documents, as in {"corpus_path": "PATH"}')
    path = Path(path).expanduser()
    given = {"questions": questions, "shots": shots}
    found = {role: Path(file).expanduser() if file else None for role, file in given.items()}
    documents: Path | None = path
    if path.is_dir():
        documents = tables.in_folder(path, "documents")
        if documents is None:
            raise ValueError(f"{path}: no documents{'|'.join(tables.FORMATS)} in this folder; name the file itself")
        for role, file in found.items():
            beside = tables.in_folder(path, role)
            if file and beside:
                raise ValueError(f"{beside}: {role}: {file} is given besides; leave one of the two out")
            found[role] = file or beside
    assert documents is not None
    for file in (documents, *found.values()):
        if file and not file.is_file():
            known = tables.listed(tables.FORMATS)
            raise ValueError(f"{file}: no such file; give a {known} file, or a folder with documents.*")
        if file and file.suffix.lower() not in tables.FORMATS:
            raise ValueError(f"{file}: unknown format {file.suffix!r}; give a {tables.listed(tables.FORMATS)} file")
    return Files(documents, found["questions"], found["shots"])


def read_corpus(
    path: str | Path | None,
    questions: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    answers_in_text: str = "check",
    characters: str = "as_written",
) -> list[Document]:
    """Read documents with their questions, in the order of their file. README.md describes the layouts.

    Args:
        path: A file, or a folder with `documents.*` and `questions.*`.
        questions: A file of questions that name their document by its id.
        columns: Names of columns that are not called as in `tables.COLUMNS`.
        answers_in_text: "check" refuses a question none of whose answers stands in its document, "free" allows it.
        characters: "folded" counts characters that look alike as equal, "as_written" does not.

    Raises:
        ValueError: Naming file, row and field, something is missing or does not fit.
    """
    check_columns(columns or {})
    if answers_in_text not in ("check", "free"):
        raise ValueError(f"answers_in_text: {answers_in_text!r} is none of check, free")
    if characters not in CHARACTERS:
        raise ValueError(f"characters: {characters!r} is none of {tables.listed(CHARACTERS)}")
    files = find_files(path, questions)
    table = tables.Table(files.documents, columns)
    documents, asked = _documents(table, apart=files.questions)
    if files.questions:
        asked = _questions(tables.Table(files.questions, columns), documents)
    seen: dict[tuple[str, str], str] = {}
    for where, name, question in asked:
        if (name, question["question"]) in seen:
            before = seen[name, question["question"]]
            raise ValueError(
                f"{where}: question: asked of document {name!r} at {before} already; put all its answers in one list"
            )
        seen[name, question["question"]] = where
        documents[name]["questions"].append(question)
    _check_kinds(asked)
    _check_one_line(asked)
    _check_told_apart(asked)
    if answers_in_text == "check":
        _check_answers(asked, documents, characters)
    _set_halves(files.questions or files.documents, list(documents.values()), table.column("half") is not None)
    return list(documents.values())


def read_shots(
    file: Path | None, documents: Iterable[Document], columns: Mapping[str, str] | None = None
) -> list[Question]:
    """Read the examples of a shots file, rows with a question and its answers; None gives none.

    Raises ValueError as `read_corpus` does, and if an example is one of the questions asked about `documents`.
    """
    if file is None:
        return []
    table = tables.Table(file, columns)
    question, answers = table.needed("question"), table.needed("answers")
    asked = {question["question"] for document in documents for question in document["questions"]}
    shots = []
    for where, row in table.rows:
        shot = _question(where, question, row.get(question), answers, row.get(answers), table.is_csv)
        if shot["question"] in asked:
            raise ValueError(f"{where}: {question}: {shot['question']!r} is asked as well; take it out of one of them")
        shots.append(shot)
    return shots


def check_columns(columns: Mapping[str, str]) -> None:
    """Raise ValueError if a name is given for a column that there is no use for."""
    for role in columns:
        if role not in tables.COLUMNS:
            raise ValueError(f"there is no {role!r} to name a column for; {tables.nearest(role, tables.COLUMNS)}")


def load(
    half: str = "test",
    corpus_path: str | None = None,
    corpus_questions: str | None = None,
    corpus_shots: str | None = None,
    corpus_columns: dict[str, str] | None = None,
    corpus_answers_in_text: str = "check",
    corpus_characters: str = "as_written",
    cloze: bool = False,
    open_book: bool = False,
    **_: object,
) -> "dict[str, Dataset]":
    """Build the data of an lm-eval task: the splits "questions" and "shots", a row per question, with its prompt.

    lm-eval calls this as `custom_dataset` with the task's metadata: what `--metadata` gave, the version, the model's
    arguments (hence `_`), and with `dataset_kwargs` from the task's YAML.

    Args:
        half: Whose questions: those of "development", "test", or "all".
        corpus_path: Of `read_corpus`, and so the four below.
        corpus_questions: See there.
        corpus_columns: See there.
        corpus_answers_in_text: See there.
        corpus_characters: See there.
        corpus_shots: A file of examples; `--num_fewshot` says how many of them stand before a question, the first ones.
        cloze: Give the document up to the answer as `context` and what follows as `target`; questions none of whose
            answers stands in their document are left out.
        open_book: Put the document before the question; the examples stay as they are.

    Raises:
        ValueError: An option has no such value, or the files do not fit.
    """
    from datasets import Dataset

    if half not in (*HALVES, "all"):
        raise ValueError(f"half: {half!r} is none of {', '.join((*HALVES, 'all'))}")
    documents = read_corpus(corpus_path, corpus_questions, corpus_columns, corpus_answers_in_text, corpus_characters)
    shots = read_shots(find_files(corpus_path, corpus_questions, corpus_shots).shots, documents, corpus_columns)
    rows = []
    for document in documents:
        for number, question in enumerate(document["questions"]):
            if half in (document["half"], "all"):
                row = {**_row(question, f"{document['text']}\n\n" if open_book else ""), "half": document["half"]}
                row |= {"id": f"{document['id']}:{number}", "cluster": document["id"]}
                if corpus_characters != "as_written":
                    row["characters"] = corpus_characters
                if not cloze:
                    rows.append(row)
                elif cut := metrics.cut_before(question["answers"], document["text"]):
                    rows.append(row | cut)
    examples = [
        {**_row(shot, ""), "id": f"shot:{number}", "cluster": "", "half": ""} for number, shot in enumerate(shots)
    ]
    return {"questions": Dataset.from_list(rows), "shots": Dataset.from_list(examples)}


def _row(question: Question, before: str) -> dict[str, Any]:
    prompt = before + PROMPT.format(question=question["question"])
    return {"prompt": prompt, "question": question["question"], "answers": question["answers"]}


# --- from rows to documents

_Asked = list[tuple[str, str, Question]]  # where it stands, the document's id, the question


def _documents(table: "tables.Table", apart: Path | None) -> tuple[dict[str, Document], _Asked]:
    """The documents of a file by id, without questions, and the questions that stand in the same file."""
    for role in ("id", "half", "questions"):
        if role in table.named:
            table.needed(role)
    text_column, id_column, half_column = table.needed("text"), table.column("id"), table.column("half")
    nested, flat = table.column("questions"), table.column("question")
    kind = _kind_column(table) if flat else None
    here = [column for column in (nested, flat) if column]
    if len(here) + bool(apart) > 1:
        places = [*(f"the column {column}" for column in here), *([str(apart)] if apart else [])]
        raise ValueError(f"{table.file}: questions stand in {' and in '.join(places)}; leave one of the two out")
    if not here and not apart:
        raise ValueError(
            f"{table.file}: {table.lacking('questions')}; or give a file of questions, or one question a row"
        )
    documents: dict[str, Document] = {}
    asked: _Asked = []
    names = _Names(table, text_column, id_column, one_question_a_row=flat is not None)
    for (where, row), (name, text) in zip(table.rows, names.of_rows(), strict=True):
        half = row.get(half_column) if half_column else ""
        if half_column and half not in HALVES:
            raise ValueError(f"{where}: {half_column}: {half!r} is none of {', '.join(HALVES)}")
        if name not in documents:
            documents[name] = {"id": name, "text": text, "half": str(half), "questions": []}
        elif documents[name]["half"] != half:
            raise ValueError(f"{where}: {half_column}: document {name!r} is of both halves; give it one")
        if nested:
            items = _items(where, nested, row.get(nested), table)
            asked += [(where, name, question) for question in items]
        elif flat and (row.get(flat) is not None or row.get(table.needed("answers")) is not None):
            answers = table.needed("answers")
            question = _question(where, flat, row.get(flat), answers, row.get(answers), table.is_csv)
            asked.append((where, name, _with_kind(question, where, kind, row.get(kind or ""))))
    return documents, asked


class _Names:
    """What the documents of a table's rows are called. One text is one document, whatever its id.

    In a file with a question a row, as SQuAD lies on the hub, a text comes several times. Its ids are then those of the
    documents, or, if none comes twice, those of the questions.
    """

    def __init__(
        self, table: "tables.Table", text_column: str, id_column: str | None, one_question_a_row: bool
    ) -> None:
        self._column = id_column
        self._texts: list[tuple[str, str]] = []  # of every row: where it stands, its text
        self._ids: list[str] = []
        self._several_rows = one_question_a_row
        alike: dict[str, tuple[str, str]] = {}
        for where, row in table.rows:
            text = tables.document_text(where, text_column, row.get(text_column))
            before, same = alike.setdefault(_key(text), (where, text))
            if same != text:
                raise ValueError(
                    f"{where}: {text_column}: differs from the text at {before} in white space or Unicode form alone; "
                    "make the two equal"
                )
            if before != where and not one_question_a_row:
                raise ValueError(
                    f"{where}: {text_column}: the same text stands at {before}; put all questions about it there"
                )
            self._texts.append((where, text))
            if id_column:
                self._ids.append(tables.text_of(where, id_column, row.get(id_column)))

    def of_rows(self) -> Iterator[tuple[str, str]]:
        """The document's name and text, row by row. Raises ValueError if ids and texts contradict each other."""
        are_documents = bool(self._ids) and not (self._several_rows and self._are_of_questions())
        numbers: dict[str, str] = {}
        texts: dict[str, str] = {}
        for row, (where, text) in enumerate(self._texts):
            name = self._ids[row] if are_documents else numbers.setdefault(text, f"doc-{len(numbers):05d}")
            if name in texts and (texts[name] != text or not self._several_rows):
                how = " with another text" if self._several_rows else ""
                raise ValueError(
                    f"{where}: {self._column}: {name!r} stands there twice{how}; give every document its own id"
                )
            texts[name] = text
            yield name, text

    def _are_of_questions(self) -> bool:
        """Whether the ids name the rows' questions. Raises ValueError if some name texts, and others do not."""
        ids_of: dict[str, list[str]] = {}
        for (_, text), name in zip(self._texts, self._ids, strict=True):
            ids_of.setdefault(text, []).append(name)
        if all(len(set(ids)) == 1 for ids in ids_of.values()):
            return False
        if len(set(self._ids)) == len(self._ids):
            return True
        for (where, text), name in zip(self._texts, self._ids, strict=True):
            if name != ids_of[text][0]:
                raise ValueError(
                    f"{where}: {self._column}: {name!r} has the text of {ids_of[text][0]!r}; give a text one id, or "
                    "every row its own"
                )
        return False


def _key(text: str) -> str:
    """Equal for texts that differ in white space or in how accents are composed alone."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _questions(table: "tables.Table", documents: Mapping[str, Document]) -> _Asked:
    """The questions of a file of their own."""
    document, question, answers = (table.needed(role) for role in ("document", "question", "answers"))
    kind = _kind_column(table)
    if half := table.column("half"):
        raise ValueError(f"{table.file}: {half}: whole documents are of a half; move the column to their file")
    asked: _Asked = []
    for where, row in table.rows:
        name = tables.text_of(where, document, row.get(document))
        if name not in documents:
            raise ValueError(f"{where}: {document}: no document {name!r}; {tables.nearest(name, documents)}")
        made = _question(where, question, row.get(question), answers, row.get(answers), table.is_csv)
        asked.append((where, name, _with_kind(made, where, kind, row.get(kind or ""))))
    return asked


def _items(where: str, column: str, value: object, table: "tables.Table") -> Iterator[Question]:
    """The questions in one cell of the documents' file."""
    if value is None:
        return
    if table.is_csv:
        value = tables.json_cell(where, column, str(value))
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f'{where}: {column}: expected a list of {{"question": …, "answers": …}}')
    for number, item in enumerate(value):
        place = f"{where}: {column}[{number}]"
        question = table.among("question", list(item))
        answers = table.among("answers", [key for key in item if item[key] is not None])
        if question is None or answers is None:
            lacking = "question" if question is None else "answers"
            raise ValueError(f"{place}: {lacking}: missing; the fields there are {', '.join(map(repr, item))}")
        kind = table.among("kind", list(item))
        made = _question(place, question, item[question], answers, item[answers], in_csv=False)
        yield _with_kind(made, place, kind, item.get(kind or ""))


def _question(where: str, question: str, asked: object, answers: str, values: object, in_csv: bool) -> Question:
    text = tables.text_of(where, question, asked).strip()
    if in_csv and isinstance(values, str) and values.lstrip().startswith("["):
        values = tables.json_cell(where, answers, values)
    given = _texts_of(values)
    if not given:
        raise ValueError(f"{where}: {answers}: a question without an answer; give it one, or leave the question out")
    golds = list(dict.fromkeys(tables.text_of(where, answers, value).strip() for value in given))
    for gold in golds:
        if not metrics.normalise(gold):
            raise ValueError(
                f"{where}: {answers}: {gold!r} is nothing but articles and punctuation, which are not compared; "
                "give another answer"
            )
    return {"question": text, "answers": golds}


def _kind_column(table: "tables.Table") -> str | None:
    """The column with the kinds of questions; it is optional unless `columns` names it."""
    return table.needed("kind") if "kind" in table.named else table.column("kind")


def _with_kind(question: Question, where: str, column: str | None, value: object) -> Question:
    """A question with its kind, unless the cell is empty.

    Raises ValueError if the kind is no short text in one line.
    """
    if column is None or value is None or value == "":
        return question
    kind = value.strip() if isinstance(value, str) else ""
    if not kind or len(kind) > LONGEST_KIND or not kind.isprintable():
        raise ValueError(
            f"{where}: {column}: expected a kind of question in at most {LONGEST_KIND} characters, not "
            f"{str(value)[:LONGEST_KIND]!r}; shorten it, or rename the column if it holds something else"
        )
    return {**question, "kind": kind}


def _check_kinds(asked: _Asked) -> None:
    """Refuse more kinds than a table can show; the column then holds something else."""
    seen: set[str] = set()
    for where, _, question in asked:
        seen.add(question.get("kind", ""))
        if len(seen - {""}) > MOST_KINDS:
            raise ValueError(
                f"{where}: kind: more than {MOST_KINDS} kinds of questions, and each is a column of the board; use "
                "fewer, or rename the column if it holds something else"
            )


def _texts_of(values: object) -> list[object]:
    """Answers one by one: of a list, of SQuAD's {"text": […], "answer_start": […]}, or a single one."""
    if isinstance(values, dict) and "text" in values:
        return _texts_of(values["text"])
    if isinstance(values, list):
        return [value["text"] if isinstance(value, dict) and "text" in value else value for value in values]
    return [] if values is None else [values]


def _check_one_line(asked: _Asked) -> None:
    """Refuse answers that nobody can give: what a model writes counts up to the end of its first line."""
    for where, _, question in asked:
        if all("\n" in gold or "\r" in gold for gold in question["answers"]):
            raise ValueError(
                f"{where}: answers: {question['answers'][0]!r} has several lines, and an answer ends with its first; "
                "give it in one line"
            )


def _check_told_apart(asked: _Asked) -> None:
    """Refuse a question asked of several documents with unlike answers: closed-book the prompts are the same."""
    first: dict[str, tuple[str, set[str]]] = {}
    for where, name, question in asked:
        golds = {metrics.normalise(gold) for gold in question["answers"]}
        other, others = first.setdefault(question["question"], (name, golds))
        if not golds & others:
            raise ValueError(
                f"{where}: question: {question['question']!r} is asked of document {other!r} as well, with another "
                "answer; name in the question what it is about, since the document is not shown"
            )


def _check_answers(asked: _Asked, documents: Mapping[str, Document], characters: str) -> None:
    """Refuse questions none of whose answers stands in its document as whole words, compared as the metrics do."""
    folded = wording.fold if characters == "folded" else str
    texts = {name: metrics.normalise(folded(document["text"])) for name, document in documents.items()}
    strange = [
        (where, name, question)
        for where, name, question in asked
        if not any(metrics.stands_in(metrics.normalise(folded(gold)), texts[name]) for gold in question["answers"])
    ]
    if strange:
        where, name, question = strange[0]
        raise ValueError(
            f"{where}: answers: {' | '.join(question['answers'])!r} is not in the text of document {name!r} "
            f"({len(strange)} of {len(asked)} questions are so); "
            f"{_remedy(question['answers'], documents[name]['text'], characters)}"
        )


def _remedy(golds: list[str], text: str, characters: str) -> str:
    """Why an answer is not in a text that looks as if it had it, and what to do."""
    for gold in golds:
        if characters != "folded" and (what := wording.difference(gold, text, _stands_in)):
            return f"it is but for {what}; set characters: folded (--fold-characters), or write both alike"
        if gold.endswith(".0") and gold[:-2].isdigit() and _stands_in(gold[:-2], text):
            return f"{gold[:-2]!r} is: a table program wrote it as a decimal number; write it as text"
        if word := metrics.longer_word(metrics.normalise(gold), metrics.normalise(text)):
            return f"only as a part of {word!r}; give the whole word, or set answers_in_text: free"
    return "correct it, or set answers_in_text: free"


def _stands_in(answer: str, text: str) -> bool:
    return metrics.stands_in(metrics.normalise(answer), metrics.normalise(text))


def _set_halves(file: Path, documents: list[Document], given: bool) -> None:
    """Let the documents that have questions be development and test by turns, unless a column says what they are."""
    with_questions = [document for document in documents if document["questions"]]
    if not given:
        for document in documents:
            document["half"] = HALVES[0]
        for number, document in enumerate(with_questions):
            document["half"] = HALVES[number % 2]
    for half in HALVES:
        if half not in {document["half"] for document in with_questions}:
            raise ValueError(
                f"{file}: half: no question in the {half} half; settings are chosen on one half and reported on the "
                f"other, so {'let the column half name both' if given else 'ask about two documents at least'}"
            )
