"""`benchmark show`: what a method sees and does, text by text."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import DTYPES, DeviceOption, JsonOption, SetOption, check_folder_exists, named_values
from benchmark.core.errors import UserError, check_known

if TYPE_CHECKING:
    from benchmark.data.token_views import TokenView
    from benchmark.inspection.token_view import ScoredPair

show_app = typer.Typer(no_args_is_help=True, help="What a method sees and does, text by text.", rich_markup_mode=None)


@show_app.callback()
def _show() -> None:
    """What a method sees and does, text by text."""


@show_app.command("tokens")
def tokens(
    text: Annotated[str | None, typer.Option(help="A text to show.")] = None,
    texts: Annotated[
        Path | None, typer.Option(help='Or a JSONL file of texts, one {"id": …, "text": …} a line.')
    ] = None,
    id_: Annotated[list[str] | None, typer.Option("--id", help="Show only this text; may be repeated.")] = None,
    large: Annotated[str | None, typer.Option(help="Large model: zoo:NAME, hub id, folder or .gguf file.")] = None,
    small: Annotated[str | None, typer.Option(help="Small model to contrast it with.")] = None,
    suite: Annotated[str | None, typer.Option(help="Or a suite, whose pairs, precisions and prefix are used.")] = None,
    pair: Annotated[str | None, typer.Option(help="With --suite: show only this pair.")] = None,
    method: Annotated[str, typer.Option(help="Name of a method.")] = "contrastive_dropout",
    set_: SetOption = None,
    copies: Annotated[int, typer.Option(min=1, help="Number of copies to show.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the copies.")] = 1,
    prefix: Annotated[
        str | None, typer.Option(help="Put before every text and not scored [default: the suite's, or auto].")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help=f"With --large: {DTYPES} [default: float32].")] = None,
    device: DeviceOption = "auto",
    table: Annotated[bool, typer.Option("--table", help="Print numbers instead of colours.")] = False,
    as_json: JsonOption = False,
    out: Annotated[
        Path | None, typer.Option(help="JSON file to write; into a folder, a file for each pair is written.")
    ] = None,
) -> None:
    """Show the tokens of texts by the scores of both models, their difference and the chance to be kept, and copies.

    With a suite and no text: the examples that ship with the project, for every pair of the suite.
    """
    from benchmark.inspection.choices import choose_texts
    from benchmark.inspection.token_view import make_views
    from benchmark.methods import make_method

    if out:
        check_folder_exists(out)
    chosen = make_method(method, named_values("--set", set_, "alpha=0.6"))
    corpus, tasks = choose_texts(text, texts, id_ or [], suite is not None)
    pairs = _pairs(large, small, suite, pair, prefix, dtype, device)
    views = [view for scored in pairs for view in make_views(corpus, scored, chosen, copies, seed, tasks)]
    _print_or_write(views, table, as_json, out)


def _pairs(
    large: str | None,
    small: str | None,
    suite: str | None,
    pair: str | None,
    prefix: str | None,
    dtype: str | None,
    device: str,
) -> "list[ScoredPair]":
    """The pairs that the options name: those of a suite, or two models."""
    from benchmark.inspection.choices import pair_of_models, pairs_of_suite

    check_known("device", device, ("auto", "cpu", "cuda"))
    if suite is not None:
        wrong = [name for name, value in (("--large", large), ("--small", small), ("--dtype", dtype)) if value]
        if wrong:
            raise UserError(f"{wrong[0]}: the suite names the models; leave {wrong[0]} or --suite out")
        return pairs_of_suite(suite, pair, prefix, device)
    if pair is not None:
        raise UserError("--pair: names a pair of a suite; give --suite as well, or --large and --small instead")
    if large is None:
        raise UserError("name the models with --large and --small, or a suite that has them with --suite")
    return [pair_of_models(large, small, "auto" if prefix is None else prefix, dtype or "float32", device)]


def _print_or_write(views: "Sequence[TokenView]", table: bool, as_json: bool, out: Path | None) -> None:
    from benchmark.core.files import write_atomically
    from benchmark.data.token_views import views_json
    from benchmark.inspection.choices import file_name

    if out is not None:
        files: dict[Path, list[TokenView]] = {}
        for view in views:
            files.setdefault(out / f"{file_name(view.pair)}.json" if out.is_dir() else out, []).append(view)
        for file, written in files.items():
            write_atomically(file, views_json(written))
            print(f"{file}: {len(written)} texts of pair {', '.join(dict.fromkeys(view.pair for view in written))}")
    elif as_json:
        sys.stdout.write(views_json(views))
    else:
        from rich.console import Console

        from benchmark.inspection.terminal import print_view

        for view in views:
            print_view(view, Console(), table)
