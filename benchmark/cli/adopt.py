"""`benchmark adopt` and `benchmark ask`: take a trained model home, and ask it."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import DEVICES, RESULTS, JsonOption, RecordsOption, ResultsOption, SuiteArgument


def adopt(
    suite: SuiteArgument,
    method: Annotated[
        str | None, typer.Option(help="Method, by its name or its label on the board [default: the best].")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write, absent or empty [default: RESULTS/adopted/NAME].")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Write whole weights, with the adapter merged into the model.")
    ] = False,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train the model again if its weights are gone from the store.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Trained model, if the suite has several.")] = None,
    task: Annotated[str | None, typer.Option(help="Task, if the suite has several.")] = None,
    budget: Annotated[str | None, typer.Option(help='Budget, as "400 steps", if the suite has several.')] = None,
    results: ResultsOption = RESULTS,
    records: RecordsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the best trained model of a finished suite to a folder, with tokenizer and model card.

    The method is the one with the highest exact match on the development half, the mean over its seeds, and the model
    is its best seed there; cloze breaks ties.
    """
    import benchmark

    adopted = benchmark.adopt(
        suite, out, results, records,
        method=method, model=model, task=task, budget=budget, merge=merge, retrain=retrain,
    )  # fmt: skip
    if as_json:
        content = {"folder": str(adopted.folder), "method": adopted.method, "seed": adopted.seed}
        print(json.dumps({**content, "record": str(adopted.record), "recalled": adopted.recalled}))
        return
    print(f"{adopted.method}, seed {adopted.seed}: {adopted.choice}")
    if not adopted.recalled:
        print(adopted.summary)
    print(f"{adopted.folder}: {adopted.weights}, tokenizer and model card; ask it with")
    print(f'    benchmark ask {shlex.quote(str(adopted.folder))} "…"')


def ask(
    folder: Annotated[Path, typer.Argument(help="Folder that `benchmark adopt` wrote.")],
    questions: Annotated[list[str], typer.Argument(help="Questions; - reads them from stdin, one a line.")],
    base: Annotated[
        str | None, typer.Option(help="Where the base model of an adapter is now: hub id, folder or .gguf file.")
    ] = None,
    device: Annotated[str, typer.Option(help=f"Where the model runs: {DEVICES}.")] = "auto",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Allow the model to run code that comes with it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask an adopted model, with the prompt of its evaluation; print an answer a line."""
    import benchmark
    from benchmark.adoption.card import CARD
    from benchmark.adoption.settings import read_adopted

    asked = [line for given in questions for line in (_lines() if given == "-" else [given])]
    answers = benchmark.ask(folder, asked, base=base, device=device, trust_remote_code=trust_remote_code)
    for question, answer in zip(asked, answers, strict=True):
        print(json.dumps({"question": question, "answer": answer}, ensure_ascii=False) if as_json else answer)
    if not read_adopted(folder).recalled:
        print(f"note: this model recalled nothing when it was chosen ({folder / CARD})", file=sys.stderr)


def _lines() -> list[str]:
    """The lines of stdin that are not empty."""
    return [line.strip() for line in sys.stdin if line.strip()]
