"""Links between the pages lead to files and headings that exist, and the map of docs/ lists every page."""

import re
from pathlib import Path

import pytest

from benchmark import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tasks/*/README.md"), ROOT / "leaderboard" / "README.md"]
)


def anchors(page: Path) -> set[str]:
    """The fragments that the headings of a page have on code hosts: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, fragment = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


def test_the_map_of_the_docs_lists_every_page() -> None:
    map_page = ROOT / "docs" / "README.md"
    linked = set(re.findall(r"\]\(([\w.]+)\)", map_page.read_text(encoding="utf-8")))
    pages = {page.name for page in (ROOT / "docs").iterdir() if page.suffix in (".md", ".ipynb")} - {"README.md"}
    assert pages <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_folder_that_a_page_names_exists(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        return
    rooms = "benchmark|docs|leaderboard|perf|scripts|suites|tasks|tests"
    for path in re.findall(rf"(?<![\w./-])(?:{rooms})/[\w./-]*\w", page.read_text(encoding="utf-8")):
        placeholder = any(part in path for part in ("NAME", "TASK", "proverbs", "results/"))
        assert placeholder or (ROOT / path).exists() or (page.parent / path).exists(), path
