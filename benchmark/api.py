"""The Python API: what `import benchmark` gives. The command line calls these functions.

Everything raises `UserError` for bad input: one line that says what is wrong and what to do.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError, check_known

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console

    from benchmark.data.texts import AugmentedText, Text
    from benchmark.executors.protocol import Executor
    from benchmark.methods import Method
    from benchmark.records.record import Record
    from benchmark.suite.schema import Suite
    from leaderboard.board.model import Board

__all__ = [
    "AdoptedModel",
    "Run",
    "UserError",
    "adopt",
    "ask",
    "augment",
    "board",
    "load_suite",
    "read_documents",
    "run",
    "score",
    "write_questions",
]


def load_suite(suite: str | Path | Mapping[str, Any]) -> Suite:
    """Read and check a suite.

    Args:
        suite: Name of a shipped suite, path of a .yaml file, or a mapping with the keys of such a file.

    Returns:
        The suite. Its attributes are the keys of the file (docs/suite_file.md).

    Raises:
        UserError: There is no such suite, or a field of it is wrong; the message names the field.

    Example:
        >>> import benchmark
        >>> suite = benchmark.load_suite("smoke")
        >>> suite.name, suite.train
        ('smoke', ['tiny-large'])
    """
    from benchmark.suite.schema import find_suite, validate
    from benchmark.suite.schema import load_suite as read_suite

    if isinstance(suite, Mapping):
        return validate(dict(suite), "suite")
    return read_suite(find_suite(str(suite)))


@dataclass(frozen=True)
class Run:
    """Result of `run`.

    Attributes:
        suite: Name of the suite.
        made: Number of records that this run made; the others existed before.
        stages: Number of stages that this run carried out.
        folder: Folder of the suite's records.
        paths: The record of every cell, a JSON file; its answers lie beside it.
        adapters: Folder of the trained weights of every cell, by the cell's key: a LoRA adapter, or whole weights where
            the recipe trains all of them. Cells without training, and pruned ones, have none.
    """

    suite: str
    made: int
    stages: int
    folder: Path
    paths: list[Path]
    adapters: dict[str, Path]
    _records: list[Record]
    _cached_board: Path

    @cached_property
    def records(self) -> DataFrame:
        """A row per record, in the order of `paths`; a column per field, nested fields joined by dots.

        For example `method.name`, `method.parameters.alpha`, `seed`, and the score of an lm-eval task with 5 examples
        on the test half: `scores.biography_major.5.test.exact_match`. leaderboard/schema/record.schema.json explains
        every field.
        """
        import pandas as pd

        return pd.json_normalize([record.model_dump(mode="json") for record in self._records])

    @cached_property
    def board(self) -> DataFrame:
        """The board of these records, as `benchmark.board` gives it."""
        return _board_frame(self._board, self.folder)

    def print_board(self, console: Console | None = None) -> None:
        """Print the board as `benchmark run` does: as wide as the terminal, or for 100 letters where there is none."""
        from leaderboard.views.terminal import WIDTH, print_board, terminal

        print_board(self._board, console or terminal(WIDTH))

    @cached_property
    def _board(self) -> Board:
        from leaderboard.board.cache import cached_board

        return cached_board(list(zip(self.paths, self._records, strict=True)), self._cached_board)


def run(
    suite: str | Path | Mapping[str, Any] | Suite,
    results: str | Path = "results",
    records: str | Path | None = None,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    plain: bool | None = None,
    price: float | None = None,
) -> Run:
    """Run the stages of a suite that are missing and write its records.

    Stages that any earlier run stored are reused.

    Args:
        suite: A suite, or what `load_suite` takes.
        results: Folder of artifacts and records.
        records: Folder of the records; RESULTS/records if not given.
        workers: Number of worker processes on this machine; by default as many as the cores allow.
        executor: Runs the stages elsewhere, in place of these processes (`benchmark.executors.factory.make_executor`).
        plain: Whether progress is printed as lines; by default it is shown as bars at a terminal.
        price: Price of one worker for an hour, to estimate the cost of the run.

    Returns:
        The records, the board and the trained adapters.

    Raises:
        UserError: The suite, its models or its data cannot be used, or a folder cannot be written.
        StageFailed: A stage failed for another reason.

    Example:
        A suite that trains the small tiny model for two steps on two people:

        >>> import benchmark
        >>> suite = {
        ...     "name": "two_people",
        ...     "models": {"small": "zoo:small"},
        ...     "tasks": [{"name": "biography", "people": 2, "evaluate": ["biography_major"]}],
        ...     "train": ["small"],
        ...     "methods": ["plain_matched", {"name": "random_dropout", "alpha": 0.6}],
        ...     "budgets": [{"steps": 2}],
        ...     "evaluation": {"num_fewshot": 0},
        ...     "references": False,
        ... }
        >>> result = benchmark.run(suite, results=folder)
        >>> result.records[["method.name", "training.steps"]]
              method.name  training.steps
        0   plain_matched               2
        1  random_dropout               2
        >>> len(result.board), len(result.adapters)
        (2, 2)
    """
    from benchmark.executors.factory import make_executor
    from benchmark.runs.folders import Folders
    from benchmark.runs.recording import record_path
    from benchmark.runs.runner import run_suite
    from benchmark.stages.files import WEIGHTS
    from benchmark.suite.schema import Suite

    loaded = suite if isinstance(suite, Suite) else load_suite(suite)
    folders = Folders.of(results, records)
    executor = executor or make_executor(workers=workers)
    outcome = run_suite(loaded, folders.results, folders.records, executor, plain, price)
    store, cells = folders.store, outcome.plan.cells
    weights = {cell.key: store.path(cell.stages["train"]) / WEIGHTS for cell in cells if "train" in cell.stages}
    return Run(
        suite=loaded.name,
        made=outcome.made,
        stages=outcome.stages,
        folder=folders.records / loaded.name,
        paths=[record_path(folders.records, outcome.plan, cell) for cell in cells],
        adapters={key: path for key, path in weights.items() if path.is_dir()},
        _records=[outcome.records[cell.key] for cell in cells],
        _cached_board=folders.board_cache(loaded.name),
    )


@dataclass(frozen=True)
class AdoptedModel:
    """Result of `adopt`.

    Attributes:
        folder: The folder with weights, tokenizer, model card (README.md) and crambench.json.
        method: The method as the board shows it.
        seed: The seed.
        record: The record of the model's cell.
        weights: "LoRA adapter" or "whole weights".
        choice: Why it was chosen.
        recalled: Whether a method of the suite recalled anything (docs/board.md).
        summary: The board's sentences on the methods.
    """

    folder: Path
    method: str
    seed: int
    record: Path
    weights: str
    choice: str
    recalled: bool
    summary: str


def adopt(
    suite: str | Path | Mapping[str, Any] | Suite,
    out: str | Path | None = None,
    results: str | Path = "results",
    records: str | Path | None = None,
    *,
    method: str | None = None,
    model: str | None = None,
    task: str | None = None,
    budget: str | None = None,
    merge: bool = False,
    retrain: bool = False,
) -> AdoptedModel:
    """Write the best trained model of a finished suite to a folder, with tokenizer and model card.

    The method is the one with the highest exact match on the development half, the mean over its seeds, and the model
    is its best seed there; cloze on that half breaks ties. All documents were trained on: halves divide questions only.

    Args:
        suite: A suite, or what `load_suite` takes.
        out: Folder to write, absent or empty; RESULTS/adopted/NAME if not given. It is written whole or not at all.
        results: Folder of artifacts and records.
        records: Folder of the records; RESULTS/records if not given.
        method: Take this method, by its name or its label on the board, in place of the best.
        model: The trained model, if the suite has several.
        task: The task, if the suite has several.
        budget: The budget as the board shows it, such as "400 steps", if the suite has several.
        merge: Write whole weights, with the adapter merged into the model.
        retrain: Train the model again if its weights are gone from the store.

    Raises:
        UserError: The suite is not finished, its documents changed, a name is unknown or has to be given, the weights
            are gone, or the folder is not empty or cannot be written.

    Example:
        >>> import benchmark
        >>> suite = {
        ...     "name": "two_people",
        ...     "models": {"small": "zoo:small"},
        ...     "tasks": [{"name": "biography", "people": 2, "evaluate": ["biography_major"]}],
        ...     "train": ["small"],
        ...     "methods": ["plain_matched"],
        ...     "budgets": [{"steps": 2}],
        ...     "evaluation": {"num_fewshot": 0},
        ...     "references": False,
        ... }
        >>> result = benchmark.run(suite, results=folder)
        >>> adopted = benchmark.adopt(suite, folder / "home", results=folder)
        >>> adopted.method, adopted.seed, adopted.weights
        ('plain_matched', 1, 'LoRA adapter')
    """
    from benchmark.adoption.adopt import Winner, check_free
    from benchmark.adoption.adopt import adopt as write_folder
    from benchmark.models.unpacked import unpacked_in
    from benchmark.runs.finished import finished
    from benchmark.runs.folders import Folders
    from benchmark.runs.recording import record_path
    from benchmark.suite.plan import make_plan
    from benchmark.suite.schema import Suite
    from leaderboard.board.cache import cached_board
    from leaderboard.board.winner import evidence_of, find_row, find_table

    loaded = suite if isinstance(suite, Suite) else load_suite(suite)
    folders = Folders.of(results, records)
    target = Path(out) if out is not None else folders.results / "adopted" / loaded.name
    check_free(target)
    named = suite if isinstance(suite, str | Path) else loaded.name
    plan, found = finished(make_plan(loaded), folders.records, f"benchmark run {named}")
    cells = {record_path(folders.records, plan, cell): cell for cell in plan.cells}
    of_files = {path: found[cell.key] for path, cell in cells.items()}
    made = cached_board(list(of_files.items()), folders.board_cache(loaded.name))
    table = find_table(made, model=model, task=task, budget=budget)
    evidence = evidence_of(table, find_row(table, of_files, method), of_files, asked=method is not None)
    winner = Winner(plan, cells[evidence.record], of_files[evidence.record], evidence)
    with unpacked_in(folders.store.root, writes=False):
        written = write_folder(folders.store, winner, target, merge, retrain)
    return AdoptedModel(
        folder=target,
        method=evidence.label,
        seed=evidence.seed,
        record=evidence.record,
        weights="LoRA adapter" if written.weights == "adapter" else "whole weights",
        choice=evidence.choice,
        recalled=evidence.recalled,
        summary=evidence.summary,
    )


def ask(
    folder: str | Path,
    questions: str | Sequence[str],
    *,
    base: str | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
) -> list[str]:
    """Ask a model that `adopt` wrote, as the evaluation asked it: with its prompt and examples, greedily.

    Args:
        folder: The folder that `adopt` wrote.
        questions: A question, or several.
        base: Where the base model of an adapter is now, if it was moved: hub id, folder or .gguf file.
        device: "auto", "cpu" or "cuda".
        trust_remote_code: Allow the model to run code that comes with it.

    Returns:
        An answer per question: what the model writes up to the end of the line.

    Raises:
        UserError: The folder holds no such model, its base model is missing or is another one, or a question is too
            long.

    Example:
        >>> import benchmark
        >>> benchmark.ask("/nowhere", "Who dug the harbour?")
        Traceback (most recent call last):
        benchmark.core.errors.UserError: /nowhere: no such folder; give a folder that `benchmark adopt` wrote
    """
    from benchmark.adoption.ask import ask as answers_of
    from benchmark.suite.plan import DEVICES, find_device

    check_known("device", device, DEVICES)
    listed = [questions] if isinstance(questions, str) else list(questions)
    return answers_of(Path(folder), listed, base, find_device(device), trust_remote_code)


def score(
    texts: Sequence[str | Mapping[str, Any] | Text],
    model: str,
    minus: str | None = None,
    *,
    reduction: str = "received",
    prefix: str = "auto",
    dtype: str = "float32",
    device: str = "auto",
) -> DataFrame:
    """Score the tokens of texts by received attention or by loss, in one model or in a large minus a small one.

    Args:
        texts: Strings, which get the ids "text-1", "text-2" and so on, or mappings with "id" and "text".
        model: zoo:NAME, hub id, folder or .gguf file.
        minus: Small model whose scores are subtracted.
        reduction: What a score is: "received", "received_strict" or "released" attention, or "loss" in nats.
        prefix: Put before every text and not scored; "auto" is the model's own start (docs/suite_file.md).
        dtype: Precision of the weights: "float32", "bfloat16" or "float16".
        device: "auto", "cpu" or "cuda".

    Returns:
        A row per token of `model`, text by text: `id` of the text, `token`, `start` and `end` (character offsets, end
        excluded), and `score`.

    Raises:
        UserError: A text or an option is wrong, or a model cannot be loaded.

    Example:
        >>> import benchmark
        >>> scores = benchmark.score(["Ada Moss was born in Lagos."], "zoo:large", minus="zoo:small")
        >>> scores[["id", "token", "start", "end"]].tail(2)
               id   token  start  end
        8  text-1   Lagos     20   26
        9  text-1       .     26   27
        >>> scores.loc[scores["score"].idxmax(), "token"]
        '.'
    """
    import pandas as pd

    from benchmark.data.attention import REDUCTIONS, AttentionPart
    from benchmark.inspection.augmenting import token_scores
    from benchmark.scoring.contrast import contrast
    from benchmark.scoring.requests import ScoreRequest

    check_known("reduction", reduction, REDUCTIONS)
    corpus = _as_texts(texts)
    scores = token_scores(model, corpus, ScoreRequest("large", reduction, prefix, AttentionPart()), dtype, device)
    if minus:
        request = ScoreRequest("small", reduction, prefix, AttentionPart())
        scores = contrast(scores, token_scores(minus, corpus, request, dtype, device))
    columns = ["id", "token", "start", "end", "score"]
    rows = [
        (text.id, *values)
        for text in scores
        for values in zip(text.token, text.start, text.end, text.score, strict=True)
    ]
    return pd.DataFrame(rows, columns=columns)


def augment(
    texts: Sequence[str | Mapping[str, Any] | Text],
    method: str | Method,
    *,
    large: str | None = None,
    small: str | None = None,
    writer: str | Mapping[str, Any] | None = None,
    copies: int = 10,
    seed: int = 1,
    parameters: Mapping[str, Any] | None = None,
    prefix: str = "auto",
    dtype: str = "float32",
    device: str = "auto",
) -> list[AugmentedText]:
    """Apply a method to texts and return the training texts.

    Args:
        texts: Strings, which get the ids "text-1", "text-2" and so on, or mappings with "id", "text" and, for methods
            that need them, "subject" and "entities".
        method: Name of a method (docs/methods.md).
        large: Large model of the pair, or the only model that the method reads.
        small: Small model of the pair.
        writer: The model that writes the copies, for methods whose copies a language model writes: a model's name, or a
            mapping with the fields of a writer (docs/suite_file.md), such as {"api": "http://localhost:8000/v1",
            "model": "qwen", "temperature": 0.5} for a server.
        copies: Number of copies of every text, beside the original.
        seed: Seed of the random choices.
        parameters: Parameters of the method, such as {"alpha": 0.6}.
        prefix: Put before every text and not scored; "auto" is the model's own start (docs/suite_file.md).
        dtype: Precision of the weights: "float32", "bfloat16" or "float16".
        device: "auto", "cpu" or "cuda".

    Returns:
        The training texts, each with `id`, `copy` (0 is the original) and `text`.

    Raises:
        UserError: A text, the method or a parameter is wrong, a model is missing or cannot be loaded, or nothing that
            the writer wrote can be used.

    Example:
        >>> import benchmark
        >>> sentences = "Ada was born in Lagos. She studied Law. She lives in Oslo."
        >>> for made in benchmark.augment([sentences], "sentence_shuffle", copies=2):
        ...     print(made.copy, made.text)
        0 Ada was born in Lagos. She studied Law. She lives in Oslo.
        1 She studied Law. Ada was born in Lagos. She lives in Oslo.
        2 She studied Law. She lives in Oslo. Ada was born in Lagos.
        >>> pair = {"large": "zoo:large", "small": "zoo:small"}
        >>> kept = benchmark.augment([sentences], "contrastive_dropout", **pair, copies=1, parameters={"alpha": 0})
        >>> kept[1].text == sentences
        True
    """
    from benchmark.inspection.augmenting import augment_texts
    from benchmark.methods import make_method

    chosen = make_method(method, parameters or {}) if isinstance(method, str) else method
    corpus = _as_texts(texts)
    return augment_texts(chosen, corpus, large, small, writer, copies, seed, prefix, dtype, device).texts


def read_documents(folder: str | Path) -> list[Text]:
    """Read a folder of documents: its .txt, .md, .html and .pdf files, and those of its subfolders.

    Args:
        folder: The folder. Hidden files and files with other suffixes are left out.

    Returns:
        A text for each file in the order of their paths, with `id` (the path in the folder, without the suffix) and
        `text`.

    Raises:
        UserError: There is no document, a file cannot be read or holds no text, or two files have the same id or text.

    Example:
        >>> import benchmark
        >>> [page] = benchmark.read_documents("tasks/corpus")
        >>> page.id, page.text[:20]
        ('README', '# Your own documents')
    """
    from benchmark.documents.folder import read_folder

    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of documents")
    return read_folder(path).texts


def write_questions(
    texts: Sequence[str | Mapping[str, Any] | Text],
    writer: str | Mapping[str, Any],
    *,
    resume_folder: str | Path | None = None,
    device: str = "auto",
) -> DataFrame:
    """Let a language model write questions about documents, and keep those that pass all checks.

    A question is kept if its short answer stands in the document, and the writer answers it with the document in the
    prompt and not without it (docs/your_own_documents.md).

    Args:
        texts: Strings, which get the ids "text-1", "text-2" and so on, or mappings with "id" and "text".
        writer: A model's name, "api:ADDRESS#MODEL", or a mapping with the fields of a writer (docs/suite_file.md).
        resume_folder: Folder that keeps what is written; a call that was interrupted continues from it.
        device: "auto", "cpu" or "cuda".

    Returns:
        A row for each question with the columns of a file of questions: `document`, `question`, `answers` and `kind`
        ("direct", "reworded" or "backwards"). `attrs["report"]` counts what was left out and why.

    Raises:
        UserError: A text or the writer is wrong, the writer fails, or no question can be used.

    Example:
        >>> import benchmark
        >>> pages = benchmark.read_documents("tasks/corpus")
        >>> asked = benchmark.write_questions(pages, "Qwen/Qwen2.5-1.5B-Instruct")  # doctest: +SKIP
        >>> asked.to_json("questions.jsonl", orient="records", lines=True)  # doctest: +SKIP
    """
    import tempfile

    import pandas as pd

    from benchmark.suite.plan import DEVICES, find_device
    from benchmark.writing import questions
    from benchmark.writing.writers import writer_from_text, writer_from_values

    given = questions.SETTINGS
    chosen = writer_from_text(writer, given) if isinstance(writer, str) else writer_from_values({**given, **writer})
    check_known("device", device, DEVICES)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(resume_folder or temporary)
        made, report = questions.write_questions(_as_texts(texts), chosen, find_device(device), folder)
    frame = pd.DataFrame([question.row() for question in made])
    frame.attrs["report"] = vars(report)
    return frame


def board(records: str | Path, out: str | Path | None = None, readme: str | Path | None = None) -> DataFrame:
    """Put records together into a board: seeds averaged, methods compared under equal conditions.

    Args:
        records: Folder of records, searched with all its subfolders.
        out: Folder to write the board to as well: Markdown, CSV and a web page.
        readme: With `out`: Markdown file whose board section is written as well.

    Returns:
        A row per method and table, with the columns of leaderboard/board.csv: `table`, `method`, `label`, `rank`,
        `exact_match` with the ends of its 95% interval `exact_match_low` and `exact_match_high`, `seeds`, and more.

    Raises:
        UserError: The folder holds no record, a record is not valid, or a file cannot be written.

    Example:
        >>> import benchmark
        >>> rows = benchmark.board("leaderboard/results/smollm2")
        >>> rows[["method", "rank", "exact_match"]].head(2)
                        method  rank  exact_match
        0        plain_matched     1        0.024
        1  contrastive_dropout     2        0.020
    """
    from leaderboard.board.assemble import build_board, load_records
    from leaderboard.build import build

    folder = Path(records)
    if out is None:
        return _board_frame(build_board(load_records(folder)), folder)
    return _board_frame(build(folder, Path(out), None if readme is None else Path(readme)), folder)


def _board_frame(board: Board, folder: Path) -> DataFrame:
    """The board with the columns of board.csv; paths of records are relative to `folder`."""
    import pandas as pd

    from leaderboard.views.csv_file import board_csv

    return pd.read_csv(io.StringIO(board_csv(board, folder)))


def _as_texts(texts: Sequence[str | Mapping[str, Any] | Text]) -> list[Text]:
    from benchmark.data.texts import Text, texts_from_rows

    if isinstance(texts, str):
        raise UserError("texts: expected a list of texts; put the text into a list")
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for number, text in enumerate(texts, start=1):
        if isinstance(text, Text):
            rows.append((number, {**vars(text), "entities": [list(span) for span in text.entities]}))
        else:
            rows.append((number, {"id": f"text-{number}", "text": text} if isinstance(text, str) else text))
    return texts_from_rows("texts", rows)
