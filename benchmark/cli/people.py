"""`benchmark people`: a file of made-up people for the biography task."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import check_writable
from benchmark.core.errors import UserError, check_known


def people(
    out: Annotated[Path, typer.Option(help="JSONL file to write.")],
    count: Annotated[int, typer.Option(min=2, help="Number of people.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the names and facts.")] = 2026,
    order: Annotated[
        str, typer.Option(help="Order of the facts in a paragraph: fixed, shuffled, or the fields with commas between.")
    ] = "fixed",
    wordings: Annotated[
        int, typer.Option(min=1, max=5, help="Number of sentence templates for each fact, from which one is drawn.")
    ] = 1,
    names: Annotated[
        str, typer.Option(help="How sentences after the first name the person: pronouns or full.")
    ] = "pronouns",
    universities: Annotated[
        Path | None, typer.Option(help="Also write this JSONL file of their universities, each with a city.")
    ] = None,
) -> None:
    """Make up people for the biography task: a file for `path` of a suite, or `biography_path` of lm-eval.

    Nobody in it has a name from the training of the tiny pair or from the few-shot examples. The defaults give the
    shipped people; order, wordings and names change the paragraphs, not the facts.
    """
    from benchmark.corpora.made_up_people import field_order, write_people
    from benchmark.data.people import ParagraphStyle

    check_known("names", names, ("pronouns", "full"))
    style = ParagraphStyle(field_order(order), wordings, names == "full", seed)
    if universities == out:
        raise UserError(f"--universities: {out} is the file of the people; give another one")
    for file in (out, universities):
        if file:
            check_writable(file)
    write_people(out, count, seed, style, universities)
    print(f"{out}: {count} people")
