"""`benchmark corpus`: compare methods on the user's own documents."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import (
    RESULTS,
    JsonOption,
    PlainOption,
    RecordsOption,
    ResultsOption,
    WorkersOption,
    named_values,
)
from benchmark.cli.run import print_run
from benchmark.core.errors import UserError


def corpus(
    path: Annotated[
        Path,
        typer.Argument(
            help="Documents: a JSONL, CSV or Parquet file, or a folder with documents.* or with .txt, .md, .html, .pdf."
        ),
    ],
    questions: Annotated[Path | None, typer.Option(help="File of questions, if the documents hold none.")] = None,
    shots: Annotated[
        Path | None, typer.Option(help="File of questions with answers to show as few-shot examples.")
    ] = None,
    questions_by: Annotated[
        str | None,
        typer.Option(help="Writer of the questions, if there are none: a model as for --model, or api:ADDRESS#MODEL."),
    ] = None,
    set_writer: Annotated[
        list[str] | None,
        typer.Option(help="A field of the writer (docs/suite_file.md), as temperature=0.5; may be repeated."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Name of a column in your files, as text=body; may be repeated.")
    ] = None,
    free_answers: Annotated[
        bool, typer.Option("--free-answers", help="Accept answers that do not occur in the documents.")
    ] = False,
    fold_characters: Annotated[
        bool, typer.Option("--fold-characters", help="Treat characters that look alike as equal.")
    ] = False,
    model: Annotated[str, typer.Option(help="Model to train: zoo:NAME, hub id, folder or .gguf file.")] = "zoo:large",
    small: Annotated[str | None, typer.Option(help="Small model to contrast it with.")] = None,
    texts_by: Annotated[
        str | None,
        typer.Option(help="Writer of training texts, for self_qa and rewrite: as for --questions-by."),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Methods, as plain,random_dropout [default: all that the models allow].")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Number of optimizer steps.")] = 400,
    seeds: Annotated[str, typer.Option(help="Seeds, as 1,2,3.")] = "1",
    results: ResultsOption = RESULTS,
    records: RecordsOption = None,
    workers: WorkersOption = None,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare methods on your own documents: write a suite for them, run it and print the board.

    A folder of pages is read into RESULTS/corpora/NAME/documents.jsonl. With --questions-by, a language model writes
    the questions, into questions.jsonl beside it: read and mend them, and run the same command again. With --texts-by,
    a language model also writes texts to train on; it never sees the questions.
    """
    import benchmark
    from benchmark.models.input_checks import check_texts
    from benchmark.progress.bar import bar
    from benchmark.suite.document_folder import prepare
    from benchmark.suite.own_documents import check_models, content_for, write_suite
    from benchmark.writing.questions import SETTINGS
    from benchmark.writing.settings import LocalWriter
    from benchmark.writing.writers import writer_from_text

    listed = seeds.split(",")
    if not all(seed.strip().isdecimal() and len(seed) < 20 for seed in listed):
        raise UserError(f"--seeds {seeds}: expected numbers with commas between them, as 1,2,3")
    task = {
        "path": path,
        "questions": questions,
        "shots": shots,
        "columns": named_values("--column", column, "text=body"),
        "answers_in_text": "free" if free_answers else None,
        "characters": "folded" if fold_characters else None,
    }
    settings = named_values("--set-writer", set_writer, "temperature=0.5")
    if settings and not questions_by:
        raise UserError("--questions-by: missing; name the model or the server that --set-writer is for")
    writer = writer_from_text(questions_by, {**SETTINGS, **settings}) if questions_by else None
    prepared = prepare(task, results, writer)
    names = [name.strip() for name in methods.split(",")] if methods else []
    author = writer_from_text(texts_by, {}) if texts_by else None
    content = content_for(prepared.task, model, small, names, steps, [int(seed) for seed in listed], author)
    check_models(content)
    if isinstance(writer, LocalWriter):
        check_texts(writer.spec, prepared.documents, limit=False)
    prepared.write(bar, lambda line: None if as_json else print(line, flush=True))
    file, suite = write_suite(content, results)
    if not as_json:
        print(f"{file}: the suite, to edit and run with `benchmark run {file}`", flush=True)
    print_run(benchmark.run(suite, results, records, workers=workers, plain=plain or None), as_json)
