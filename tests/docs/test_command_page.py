"""docs/commands.md lists the commands and options of the command line as they are."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from benchmark.cli.app import app
from scripts import commands


def every_command(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, below in getattr(command, "commands", {}).items():
        yield from every_command(below, f"{name} {child}")


COMMANDS = dict(every_command(typer.main.get_command(app), "benchmark"))


def test_the_page_is_current() -> None:
    assert commands.PAGE.read_text(encoding="utf-8") == commands.page(), "run python -m scripts.commands --write"


def test_the_page_has_a_section_for_every_command() -> None:
    page = commands.PAGE.read_text(encoding="utf-8")
    for name in COMMANDS:
        assert name == "benchmark" or f"# `{name}`\n" in page


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_each_of_its_options_has_a_help_text(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        help_text = parameter.help or ""
        assert help_text[:1].isupper() or help_text.startswith(("zoo:", "csv")), (parameter.name, help_text)
