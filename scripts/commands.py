"""Write docs/commands.md from the help texts of the command line.

    python -m scripts.commands --write      (in the folder of the project)
    python -m scripts.commands              fails if the page is not current

The page is what `typer benchmark.cli.app utils docs` prints, with the summaries of commands in full.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import typer.main

from benchmark import ROOT
from benchmark.cli.app import app

PAGE = ROOT / "docs" / "commands.md"
INTRODUCTION = """\
# Commands

This page lists every command and option. It is written from the help texts (`python -m scripts.commands --write`).
Bad input ends a command with one line that names the file, the field and the remedy, and with exit code 2.
"""


def main() -> None:
    """Write the page, or exit with 1 if it is not current."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the page")
    if parser.parse_args().write:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE}: not current; run python -m scripts.commands --write")


def page() -> str:
    """The page as the help texts give it."""
    command = [sys.executable, "-m", "typer", "benchmark.cli.app", "utils", "docs", "--name", "benchmark"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    _, commands = printed.split("**Commands**:\n", 1)
    return f"{INTRODUCTION}{_with_summaries(commands)}".rstrip("\n") + "\n"


def _with_summaries(printed: str) -> str:
    """Replace the summaries in lists of commands, which Typer cuts at 45 letters, by whole ones with links."""
    summaries = dict(_summaries(typer.main.get_command(app), "benchmark"))
    group = "benchmark"
    lines = []
    for line in printed.split("\n"):
        if heading := re.fullmatch(r"#+ `(.*)`", line):
            group = heading[1]
        name = f"{group} {entry[1]}" if (entry := re.match(r"\* `([\w-]+)`: ", line)) else ""
        link = name.replace(" ", "-")
        lines.append(f"* [`{name}`](#{link}): {summaries[name]}" if name in summaries else line)
    return "\n".join(lines)


def _summaries(command: object, name: str) -> Iterator[tuple[str, str]]:
    """The first lines of the help texts of a command and of those below it, by name."""
    yield name, (getattr(command, "help", None) or "").split("\n\n")[0].replace("\n", " ")
    for child, below in getattr(command, "commands", {}).items():
        yield from _summaries(below, f"{name} {child}")


if __name__ == "__main__":
    main()
