"""`benchmark augment`: the training texts that a method makes of texts, as a JSONL file."""

import json
from pathlib import Path
from typing import Annotated, Any

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
from benchmark.cli.score import token_scores
from benchmark.core.errors import UserError


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
        bool, typer.Option("--report", help="Print also how many of the facts the copies keep, and their length.")
    ] = False,
) -> None:
    """Write the training texts that a method makes of a corpus.

    With --report: how much longer the copies are than the originals, in how many of them a fact stays whole, and in how
    many it stays whole beside the subject's name. Facts are the "entities" of the texts, except the "subject".
    """
    from benchmark.core.files import replacing
    from benchmark.data.texts import read_texts, write_lines
    from benchmark.methods import augment as make_texts
    from benchmark.methods import make_method
    from benchmark.models.loading import tokenizer_of
    from benchmark.models.spec import named_spec
    from benchmark.scoring.encoding import tokens_of
    from benchmark.scoring.requests import combined, score_requests

    chosen = make_method(method, named_values("--set", set_, "alpha=0.6"))
    check_writable(out)
    corpus = read_texts(texts)
    if chosen.reads != "nothing" and not large:
        raise UserError(f"method {method!r} looks at tokens: name a model with --large")
    if chosen.reads == "difference" and not small:
        raise UserError(f"method {method!r} contrasts two models: name the other one with --small")
    models = {"trained": str(large), "large": str(large), "small": str(small)}
    tokens = combined(
        {
            request.role: token_scores(
                models[request.role], corpus, request.reduction, request.prefix, dtype, device, request.part
            )
            for request in score_requests(chosen, "received", prefix)
        }
    )
    if chosen.reads == "tokens":
        tokens = tokens_of(tokenizer_of(named_spec(str(large))), corpus)
    made = list(make_texts(chosen, corpus, tokens, copies, seed))
    with replacing(out) as temporary:
        write_lines(temporary, made)
    print(f"{out}: {len(made)} texts from {len(corpus)}")
    if report:
        print(_report(corpus, made, large))
    if changes := chosen.training().model_dump(mode="json", exclude_defaults=True):
        listed = ", ".join(f"{key} {json.dumps(value)}" for key, value in changes.items())
        print(f"{method} also changes training ({listed}): these texts alone are not the method; a suite does the rest")


def _report(corpus: list[Any], made: list[Any], model: str | None) -> str:
    """What copies keep, in a line: tokens of a model, or without one words; and the facts that the texts mark."""
    from benchmark.corpora.base import Facts
    from benchmark.models.loading import tokenizer_of
    from benchmark.models.spec import named_spec
    from benchmark.stages.facts import count_facts

    def words(texts: list[str], **_: object) -> dict[str, list[list[str]]]:
        return {"input_ids": [text.split() for text in texts]}

    marked = {}
    for text in corpus:
        entities = (text.text[start:end] for start, end in text.entities)
        marked[text.id] = Facts(text.subject, [[told] for told in entities if told != text.subject])
    copies = [text for text in made if text.copy > 0]
    if not copies:
        return "no copies: this method changes no text"
    counts = count_facts(corpus, copies, marked, tokenizer_of(named_spec(model)) if model else words)
    told = [f"{counts['copies']} copies, {'tokens' if model else 'words'} {counts['tokens']:+.1%}"]
    if counts["facts"]:
        told.append(f"{counts['answer']:.1%} of {counts['facts']} facts whole")
    else:
        told.append('no facts counted: no text has "entities"')
    if counts["answer_and_name"] is not None:
        told.append(f"{counts['answer_and_name']:.1%} whole beside the subject's name")
    return "; ".join(told)
