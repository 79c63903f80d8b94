"""Options that several commands share, and checks of their values."""

import os
from pathlib import Path
from typing import Annotated

import typer

from benchmark.core.errors import UserError

RESULTS = Path("results")
BOARD = Path("leaderboard")
DTYPES = "float32, bfloat16 or float16"
DEVICES = "auto, cpu or cuda"

SuiteArgument = Annotated[str, typer.Argument(help="Name of a shipped suite, or path of a .yaml file.")]
ResultsOption = Annotated[Path, typer.Option(help="Folder of artifacts and records.")]
RecordsOption = Annotated[Path | None, typer.Option(help="Folder of the records [default: RESULTS/records].")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Number of worker processes [default: as many as the cores allow].")
]
PlainOption = Annotated[bool, typer.Option("--plain", help="Show progress as lines instead of bars.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

TextsOption = Annotated[Path, typer.Option(help='JSONL file with one {"id": …, "text": …} a line.')]
PrefixOption = Annotated[
    str,
    typer.Option(help="Put before every text and not scored; auto is the model's own start (docs/suite_file.md)."),
]
DtypeOption = Annotated[str, typer.Option(help=f"Precision of the weights: {DTYPES}.")]
DeviceOption = Annotated[str, typer.Option(help=f"Where the models run: {DEVICES}.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A parameter of the method, as alpha=0.6; may be repeated.")
]
BoardRecordsOption = Annotated[Path, typer.Option("--records", help="Folder of records.")]


def named_values(option: str, items: list[str] | None, example: str) -> dict[str, str]:
    """The values of an option that is given as NAME=VALUE, by name. Raises UserError for an item without "="."""
    values = {}
    for item in items or []:
        name, separator, value = item.partition("=")
        if not separator:
            raise UserError(f"{option} {item}: expected NAME=VALUE, as {example}")
        values[name] = value
    return values


def check_writable(file: Path) -> None:
    """Raise UserError if a file cannot be written, before the work that makes its content."""
    check_folder_exists(file)
    if file.is_dir():
        raise UserError(f"{file}: is a folder; give the name of a file to write")
    if not os.access(file.parent, os.W_OK):
        raise UserError(f"{file}: the folder {file.parent} cannot be written to; give a file in another folder")


def check_folder_exists(path: Path) -> None:
    """Raise UserError if the folder that a file or folder is to be written in does not exist."""
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; make it first")
