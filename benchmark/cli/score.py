"""`benchmark score`: token scores of texts, as a Parquet file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.options import DeviceOption, DtypeOption, PrefixOption, TextsOption, check_writable
from benchmark.core.errors import check_known


def score(
    model: Annotated[str, typer.Argument(help="zoo:NAME, hub id, folder or .gguf file.")],
    texts: TextsOption,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    minus: Annotated[str | None, typer.Option(help="Small model whose scores are subtracted.")] = None,
    reduction: Annotated[
        str, typer.Option(help="What a score is: received, received_strict, released or loss.")
    ] = "received",
    prefix: PrefixOption = "auto",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "auto",
) -> None:
    """Score the tokens of texts by received attention or by loss, in one model or in a large minus a small one."""
    from benchmark.core.files import replacing
    from benchmark.data.attention import REDUCTIONS
    from benchmark.data.texts import read_texts, write_scores
    from benchmark.scoring.contrast import contrast

    check_known("reduction", reduction, REDUCTIONS)
    check_writable(out)
    corpus = read_texts(texts)
    scores = token_scores(model, corpus, reduction, prefix, dtype, device)
    if minus:
        scores = contrast(scores, token_scores(minus, corpus, reduction, prefix, dtype, device))
    with replacing(out) as temporary:
        write_scores(temporary, scores)
    print(f"{out}: {len(scores)} texts, {sum(len(row.token) for row in scores)} tokens")


def token_scores(
    model: str, corpus: list[Any], reduction: str, prefix: str, dtype: str, device: str, part: Any = None
) -> list[Any]:
    """Score texts with a model that an option names."""
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.models.spec import named_spec
    from benchmark.scoring.scores import score_texts
    from benchmark.suite.plan import find_device

    spec = named_spec(model, dtype)
    check_known("device", device, ("auto", "cpu", "cuda"))
    return score_texts(
        load_model(spec, find_device(device)), tokenizer_of(spec), corpus, reduction=reduction, prefix=prefix, part=part
    )
