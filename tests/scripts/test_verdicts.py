"""docs/results.md holds what scripts/verdicts.py computes from the records."""

from benchmark import ROOT
from scripts.verdicts import BEGIN, END, PAGE, sections


def test_the_verdicts_on_the_page_are_those_of_the_records() -> None:
    on_the_page = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()
    computed = "\n\n".join(sections(ROOT / "leaderboard" / "results"))
    assert on_the_page == computed, "run python -m scripts.verdicts --write"
