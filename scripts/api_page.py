"""Write docs/api.md from the docstrings of the Python API.

python -m scripts.api_page --write      (in the folder of the project)
python -m scripts.api_page              fails if the page is not current
"""

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Callable

import benchmark
from benchmark import ROOT

PAGE = ROOT / "docs" / "api.md"
INTRODUCTION = """\
# Python API

`import benchmark` gives these functions; nothing else is part of the API. The command line calls them, so they do what
the [commands](commands.md) of the same names do. [quickstart.ipynb](quickstart.ipynb) shows them at work. This page is
written from their docstrings (`python -m scripts.api_page --write`), and a test runs every example.
"""
ORDER = (
    *("load_suite", "run", "Run", "board", "adopt", "AdoptedModel", "ask", "score", "augment", "read_documents"),
    *("write_questions", "UserError"),
)
SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example")


def main() -> None:
    """Write the page, or exit with 1 if it is not current."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the page")
    if parser.parse_args().write:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE}: not current; run python -m scripts.api_page --write")


def page() -> str:
    """The page as the docstrings give it."""
    return "\n".join([INTRODUCTION, *(_entry(name) for name in ORDER)])


def _entry(name: str) -> str:
    """A function with its signature, or a class with its properties and methods."""
    value = getattr(benchmark, name)
    text = f"## `benchmark.{name}`\n\n"
    if inspect.isfunction(value):
        text += f"```python\n{_signature(name, value)}\n```\n\n"
    text += _markdown(inspect.getdoc(value) or "")
    for member, attribute in vars(value).items() if name == "Run" else ():
        if not member.startswith("_") and (doc := inspect.getdoc(attribute)) and not isinstance(attribute, str):
            call = "()" if inspect.isfunction(attribute) else ""
            text += f"\n### `Run.{member}{call}`\n\n{_markdown(doc)}"
    return text


def _signature(name: str, function: Callable[..., object]) -> str:
    """The signature of a function, a parameter a line; annotations are strings in the API's module."""
    signature = inspect.signature(function)
    lines = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in lines:
            lines.append("*")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"{parameter.name}: {parameter.annotation}{default}")
    parameters = "".join(f"    {line},\n" for line in lines)
    return f"{name}(\n{parameters}) -> {signature.return_annotation}"


def _markdown(docstring: str) -> str:
    """A Google-style docstring as Markdown: arguments as lists, the example as a code block."""
    summary, *sections = re.split(rf"^({'|'.join(SECTIONS)}):\n", docstring, flags=re.MULTILINE)
    text = f"{summary.rstrip()}\n"
    for heading, body in zip(sections[::2], sections[1::2], strict=True):
        body = textwrap.dedent(body).strip()
        if heading == "Example":
            prose, prompt, code = body.partition(">>>")
            body = f"{prose}```pycon\n{prompt}{code}\n```"
        elif heading != "Returns":
            body = re.sub(r"^(\w+): ", r"- `\1`: ", body, flags=re.MULTILINE)
        text += f"\n**{heading}**\n\n{body}\n"
    return text


if __name__ == "__main__":
    main()
