"""`benchmark augment`: a method applied to the texts of a JSONL file."""

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import (
    DeviceOption,
    DtypeOption,
    PrefixOption,
    SetOption,
    TextsOption,
    check_writable,
    named_values,
)
from benchmark.core.errors import UserError


def augment(
    method: Annotated[str, typer.Argument(help="Name of a method.")],
    texts: TextsOption,
    out: Annotated[Path, typer.Option(help="JSONL file to write.")],
    large: Annotated[
        str | None, typer.Option(help="Large model of the pair, or the only model that the method reads.")
    ] = None,
    small: Annotated[str | None, typer.Option(help="Small model of the pair.")] = None,
    writer: Annotated[
        str | None,
        typer.Option(
            help="Model that writes the copies: zoo:NAME, hub id, folder, .gguf file, or address of a server."
        ),
    ] = None,
    writer_model: Annotated[str | None, typer.Option(help="Name of the model on the server of --writer.")] = None,
    set_writer: Annotated[
        list[str] | None,
        typer.Option(help="A field of the writer (docs/suite_file.md), as temperature=0.5; may be repeated."),
    ] = None,
    copies: Annotated[int, typer.Option(min=1, help="Number of copies of every text, beside the original.")] = 10,
    seed: Annotated[
        int, typer.Option(help="Seed of the random choices, and of the writer unless --set-writer gives it one.")
    ] = 1,
    set_: SetOption = None,
    prefix: PrefixOption = "auto",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "auto",
    report: Annotated[
        bool, typer.Option("--report", help="Print also how long the copies are and which facts they keep.")
    ] = False,
) -> None:
    """Apply a method to texts and write the training texts.

    With --report: how much longer the copies are than the originals, in how many of them a fact stays whole, and in how
    many it stays whole beside the subject's name. Facts are the "entities" of the texts, except the "subject". For
    copies that a writer writes also: the names and numbers that it invented, the texts that are missing and why, and
    the tokens that it read and wrote.
    """
    import shutil

    from benchmark.core.files import replacing
    from benchmark.data.texts import read_texts, write_lines
    from benchmark.inspection.augmenting import augment_texts
    from benchmark.inspection.kept_facts import by_problem, kept_facts_line, written_lines
    from benchmark.methods import make_method
    from benchmark.progress.bar import bar

    chosen = make_method(method, named_values("--set", set_, "alpha=0.6"))
    values = _writer(writer, writer_model, set_writer)
    check_writable(out)
    corpus, resume_folder = read_texts(texts), out.with_name(f"{out.name}.begun")
    with bar("texts written") as progress:
        made = augment_texts(
            chosen, corpus, large, small, values, copies, seed, prefix, dtype, device, resume_folder, progress
        )
    with replacing(out) as temporary:
        write_lines(temporary, made.texts)
    shutil.rmtree(resume_folder, ignore_errors=True)
    print(f"{out}: {len(made.texts)} texts from {len(corpus)}")
    if made.report and made.report.left_out and not report:
        print(f"texts left out: {by_problem(made.report.left_out)}; --report says more")
    if report:
        print(kept_facts_line(corpus, made.texts, large))
        for line in written_lines(corpus, made.texts, made.report) if made.report else []:
            print(line)
    if changes := chosen.training().model_dump(mode="json", exclude_defaults=True):
        listed = ", ".join(f"{key} {json.dumps(value)}" for key, value in changes.items())
        print(f"{method} also changes training ({listed}): these texts alone are not the method; a suite does the rest")


def _writer(writer: str | None, model: str | None, settings: list[str] | None) -> dict[str, str] | None:
    """The fields of a writer; None if none is named.

    Raises:
        UserError: An option is missing, or is not for this kind of writer.
    """
    values = named_values("--set-writer", settings, "temperature=0.5")
    if writer is None:
        if model or values:
            raise UserError(
                "--writer: missing; name the model or the server that --writer-model or --set-writer is for"
            )
        return None
    if not writer.startswith(("http://", "https://")):
        if model:
            raise UserError(f"--writer-model: is for a server alone, and --writer {writer} is a model; leave it out")
        return {"model": writer, **values}
    if not model:
        raise UserError("--writer-model: missing; give the name that the server of --writer knows its model by")
    return {"api": writer, "model": model, **values}
