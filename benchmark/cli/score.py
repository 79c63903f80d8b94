"""`benchmark score`: token scores of texts, as a Parquet file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import DeviceOption, DtypeOption, PrefixOption, TextsOption, check_writable
from benchmark.core.errors import check_known

if TYPE_CHECKING:
    from pandas import DataFrame

    from benchmark.data.texts import TokenScores


def score(
    model: Annotated[str, typer.Argument(help="zoo:NAME, hub id, folder or .gguf file.")],
    texts: TextsOption,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    minus: Annotated[str | None, typer.Option(help="Small model whose scores are subtracted.")] = None,
    reduction: Annotated[
        str, typer.Option(help="What a score is: received, received_strict or released attention, or loss.")
    ] = "received",
    prefix: PrefixOption = "auto",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "auto",
) -> None:
    """Score the tokens of texts by received attention or by loss, in one model or in a large minus a small one."""
    import benchmark
    from benchmark.core.files import replacing
    from benchmark.data.attention import REDUCTIONS
    from benchmark.data.texts import read_texts, write_scores

    check_known("reduction", reduction, REDUCTIONS)
    check_writable(out)
    corpus = read_texts(texts)
    scores = benchmark.score(corpus, model, minus, reduction=reduction, prefix=prefix, dtype=dtype, device=device)
    with replacing(out) as temporary:
        write_scores(temporary, _by_text(scores, [text.id for text in corpus]))
    print(f"{out}: {len(corpus)} texts, {len(scores)} tokens")


def _by_text(scores: "DataFrame", ids: list[str]) -> "list[TokenScores]":
    """A row per token as lists per text; a text without tokens has empty lists."""
    from benchmark.data.texts import TokenScores

    texts = {name: TokenScores(name, [], [], [], []) for name in ids}
    for name, rows in scores.groupby("id", sort=False):
        columns = [rows[column].tolist() for column in ("token", "start", "end", "score")]
        texts[str(name)] = TokenScores(str(name), *columns)
    return list(texts.values())
