"""The commands under `benchmark show`. Heavy imports stand inside them, as in cli.py."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import in_a_folder, model_spec, named_values, one_of
from benchmark.core.errors import UserError, nearest

if TYPE_CHECKING:
    from benchmark.data.texts import Text
    from benchmark.data.token_views import TokenView
    from benchmark.inspection.token_view import ScoredPair

show_commands = typer.Typer(
    no_args_is_help=True, help="What a method sees and does, text by text.", rich_markup_mode=None
)


@show_commands.callback()
def _show() -> None:
    """What a method sees and does, text by text."""


@show_commands.command("tokens")
def tokens(
    text: Annotated[str | None, typer.Option(help="the text to look at")] = None,
    texts: Annotated[Path | None, typer.Option(help='or a file with one {"id": …, "text": …} a line')] = None,
    id_: Annotated[list[str] | None, typer.Option("--id", help="only this text; may come again")] = None,
    large: Annotated[str | None, typer.Option(help="the large model: zoo:NAME, hub id, folder or .gguf file")] = None,
    small: Annotated[str | None, typer.Option(help="the small one, to contrast it with")] = None,
    suite: Annotated[str | None, typer.Option(help="or a suite, for its pairs, its dtypes and its prefix")] = None,
    pair: Annotated[str | None, typer.Option(help="of the suite's pairs only this one")] = None,
    method: Annotated[str, typer.Option(help="name of a method")] = "contrastive_dropout",
    set_: Annotated[list[str] | None, typer.Option("--set", help="a parameter, as alpha=0.6; may come again")] = None,
    copies: Annotated[int, typer.Option(min=1)] = 3,
    seed: int = 1,
    prefix: Annotated[str | None, typer.Option(help="put before every text [default: the suite's, or auto]")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; a suite says its own")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    table: Annotated[bool, typer.Option("--table", help="numbers in place of colours")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for machines")] = False,
    out: Annotated[Path | None, typer.Option(help="JSON file to write; a folder takes a file per pair")] = None,
) -> None:
    """Show a text's tokens by both models' scores, by the difference and by the chance to be kept, and some copies.

    With a suite and no text: the project's own examples, for every pair of the suite.
    """
    from benchmark.inspection.token_view import make_views
    from benchmark.methods import make_method

    if out:
        in_a_folder(out)
    chosen = make_method(method, named_values("--set", set_, "alpha=0.6"))
    sources, corpus = _texts(text, texts, id_ or [], suite is not None)
    found = _chosen_pairs(large, small, suite, pair, prefix, dtype, device)
    views = [view for one in found for view in make_views(corpus, one, chosen, copies, seed, sources)]
    _show_views(views, table, as_json, out)


def _show_views(views: "Sequence[TokenView]", table: bool, as_json: bool, out: Path | None) -> None:
    from benchmark.core.files import write_atomically
    from benchmark.data.token_views import views_json

    if out is not None:
        files: dict[Path, list[TokenView]] = {}
        for view in views:
            files.setdefault(out / f"{file_name(view.pair)}.json" if out.is_dir() else out, []).append(view)
        for file, some in files.items():
            write_atomically(file, views_json(some))
            print(f"{file}: {len(some)} texts of pair {', '.join(dict.fromkeys(view.pair for view in some))}")
    elif as_json:
        sys.stdout.write(views_json(views))
    else:
        from rich.console import Console

        from benchmark.inspection.terminal import print_view

        for view in views:
            print_view(view, Console(), table)


def _texts(text: str | None, file: Path | None, ids: list[str], examples: bool) -> "tuple[dict[str, str], list[Text]]":
    """The texts to look at, and which task each is of where they are the project's own."""
    from benchmark.data.texts import Text, check_characters, read_texts
    from benchmark.inspection.token_view import shipped_texts

    if (text is not None) + (file is not None) > 1:
        raise UserError("--text and --texts: give one of the two")
    if text is not None:
        if not text.strip():
            raise UserError("--text: it is empty; give a text")
        check_characters(text, "--text")
        return {}, [Text("text", text)]
    if file is None and not examples:
        raise UserError("give a text with --text, a file of them with --texts, or a suite with --suite for examples")
    known = [("", one) for one in read_texts(file)] if file else shipped_texts()
    for name in ids:
        if name not in (every := [one.id for _, one in known]):
            raise UserError(f"--id {name}: no such text; {nearest(name, every)}")
    found = [(source, one) for source, one in known if not ids or one.id in ids]
    return {one.id: source for source, one in found}, [one for _, one in found]


def _chosen_pairs(
    large: str | None,
    small: str | None,
    suite: str | None,
    pair: str | None,
    prefix: str | None,
    dtype: str | None,
    device: str,
) -> "list[ScoredPair]":
    """The pairs that the options name: those of a suite, or of two models."""
    from benchmark.inspection.token_view import pairs_of
    from benchmark.suite.plan import find_device
    from benchmark.suite.schema import find_suite, load_suite

    one_of("device", device, ("auto", "cpu", "cuda"))
    if suite is not None:
        wrong = [name for name, value in (("--large", large), ("--small", small), ("--dtype", dtype)) if value]
        if wrong:
            raise UserError(f"{wrong[0]}: the suite names the models; leave {wrong[0]} or --suite out")
        found = pairs_of(load_suite(find_suite(suite)))
        if pair is not None and pair not in (names := [one.name for one in found]):
            raise UserError(f"--pair {pair}: not in suite {suite}; {nearest(pair, names)}")
        changes: dict[str, Any] = {} if prefix is None else {"prefix": prefix}
        changes |= {} if device == "auto" else {"device": find_device(device)}
        return [_changed(one, changes) for one in found if pair in (None, one.name)]
    if pair is not None:
        raise UserError("--pair names a pair of a suite: give --suite, too, or --large and --small in its place")
    if large is None:
        raise UserError("name the models with --large and --small, or a suite that has them with --suite")
    return [named_pair(large, small, "auto" if prefix is None else prefix, dtype or "float32", device)]


def named_pair(large: str, small: str | None, prefix: str, dtype: str, device: str) -> "ScoredPair":
    """The pair of two models by name, or one model alone; scored as `benchmark score` does."""
    from benchmark.inspection.token_view import ScoredPair
    from benchmark.suite.plan import find_device

    one_of("dtype", dtype, ("float32", "bfloat16", "float16"))
    ends = [(name, model_spec(name, dtype)) for name in (large, small) if name is not None]
    name = " − ".join(name for name, _ in ends)
    return ScoredPair(name, ends[0], ends[1] if len(ends) > 1 else None, prefix=prefix, device=find_device(device))


def _changed(pair: "ScoredPair", changes: dict[str, Any]) -> "ScoredPair":
    from dataclasses import replace

    return replace(pair, **changes)


def file_name(pair: str) -> str:
    """A pair's name as that of a file."""
    return re.sub(r"[^\w.-]+", "-", pair.replace("−", "minus"))
