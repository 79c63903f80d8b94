"""`benchmark augment`: the training texts that a method makes of texts, as a JSONL file."""

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


def augment(
    method: Annotated[str, typer.Argument(help="Name of a method.")],
    texts: TextsOption,
    out: Annotated[Path, typer.Option(help="JSONL file to write.")],
    large: Annotated[
        str | None, typer.Option(help="Large model of the pair, or the only model that the method reads.")
    ] = None,
    small: Annotated[str | None, typer.Option(help="Small model of the pair.")] = None,
    copies: Annotated[int, typer.Option(min=1, help="Number of copies of every text, beside the original.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the random choices.")] = 1,
    set_: SetOption = None,
    prefix: PrefixOption = "auto",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "auto",
    report: Annotated[
        bool, typer.Option("--report", help="Print also how long the copies are and which facts they keep.")
    ] = False,
) -> None:
    """Write the training texts that a method makes of a corpus.

    With --report: how much longer the copies are than the originals, in how many of them a fact stays whole, and in how
    many it stays whole beside the subject's name. Facts are the "entities" of the texts, except the "subject".
    """
    import benchmark
    from benchmark.core.files import replacing
    from benchmark.data.texts import read_texts, write_lines
    from benchmark.methods import make_method

    chosen = make_method(method, named_values("--set", set_, "alpha=0.6"))
    check_writable(out)
    corpus = read_texts(texts)
    made = benchmark.augment(
        corpus,
        chosen,
        large=large,
        small=small,
        copies=copies,
        seed=seed,
        prefix=prefix,
        dtype=dtype,
        device=device,
    )
    with replacing(out) as temporary:
        write_lines(temporary, made)
    print(f"{out}: {len(made)} texts from {len(corpus)}")
    if report:
        from benchmark.inspection.kept_facts import kept_facts_line

        print(kept_facts_line(corpus, made, large))
    if changes := chosen.training().model_dump(mode="json", exclude_defaults=True):
        listed = ", ".join(f"{key} {json.dumps(value)}" for key, value in changes.items())
        print(f"{method} also changes training ({listed}): these texts alone are not the method; a suite does the rest")
