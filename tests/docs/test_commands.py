"""The commands that the pages name exist, with the options that the pages give them."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from benchmark import ROOT
from benchmark.cli.app import app

GENERATED = ROOT / "docs" / "commands.md"  # written from the commands themselves; it also names groups of commands
PAGES = sorted(
    {ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"), *ROOT.glob("tasks/*/README.md")}
    - {GENERATED}
)
FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def command_lines(page: Path) -> Iterator[str]:
    """Yield the lines of shell blocks and the code within sentences, comments removed and continued lines joined."""
    text = page.read_text(encoding="utf-8")
    code = [block for kind, block in FENCED.findall(text) if kind in ("", "sh")]
    for paragraph in re.split(r"\n\s*\n|\n(?=\|)", FENCED.sub("", text)):
        indented = all(line.startswith("    ") for line in paragraph.splitlines())
        code += [paragraph] if indented else [part.replace("\n", " ") for part in re.findall("`([^`]+)`", paragraph)]
    for block in code:
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            yield re.sub(r"\s#.*", "", line).strip()


def options(line: str) -> list[str]:
    """The options that a line gives to its command."""
    return re.findall(r"(?<=\s)--[\w-]+", line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_benchmark_command_of_a_page_exists_with_its_options(page: Path) -> None:
    root = typer.main.get_command(app)
    for line in command_lines(page):
        words = re.match(r"(?:docker compose .*run .*)?benchmark ([a-z].*)", line)
        if words is None or line.startswith("docker compose build"):
            continue
        command, names = root, words[1].split()
        while hasattr(command, "commands") and names:
            assert names[0].rstrip(",") in command.commands, line
            command = command.commands[names.pop(0).rstrip(",")]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert set(options(words[1])) <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_script_of_a_page_exists_with_its_options(page: Path) -> None:
    for line in command_lines(page):
        words = re.search(r"python -m ((?:scripts|perf)\.\w+)(.*)", line)
        if words is None:
            continue
        assert importlib.util.find_spec(words[1]), line
        module = ROOT / words[1].replace(".", "/")
        folder = module.parent if words[1].startswith("perf.") else module
        sources = folder.glob("*.py") if folder.is_dir() else [module.with_suffix(".py")]
        text = "".join(source.read_text(encoding="utf-8") for source in sources)
        assert all(f'"{option}"' in text for option in options(words[2])), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_of_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in command_lines(page):
        named = re.match(r"make ([a-z-]+)", line.strip())
        assert named is None or named[1] in targets, line
