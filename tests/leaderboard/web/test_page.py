"""The page's text and data, without a browser: test_page_in_browser.py has what happens in one."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import altair as alt
import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.board.assemble import build_board, load_records
from leaderboard.web.charts import KINDS, chart_specs
from leaderboard.web.html import html_page, script_json
from leaderboard.web.pareto import pareto_front
from tests.inspection.test_terminal import VIEW
from tests.leaderboard.factory import retention, write_record

EVIL = "</script><script>hacked=1</script><!-- <img src=x onerror=hacked=1> ]]> {{library}} \\1 \x1b[31m\u202e \u2028"


class Elements(HTMLParser):
    """What a page holds as a stock parser reads it: elements with their attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.at = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.at = tag
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.at = ""

    def handle_data(self, data: str) -> None:
        if self.at in self.inside:
            self.inside[self.at][-1] += data


def page_of(folder: Path) -> str:
    return html_page(build_board(load_records(folder / "results")), folder)


def data_of(page: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Elements(page).inside["script"][0])
    return data


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(one: tuple[int, int]) -> bool:
        return any(other[0] <= one[0] and other[1] >= one[1] and other != one for other in points)

    assert pareto_front(points) == [not dominated(one) for one in points]


def test_the_front_of_three_points_by_hand() -> None:
    assert pareto_front([(10, 0.5), (20, 0.4), (30, 0.6)]) == [True, False, True]


@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_no_json_of_the_page_can_end_or_open_an_element_and_all_of_it_comes_back(value: Any) -> None:
    text = script_json({"value": value, "list": [value, value]})
    assert not set(text) & set("<>&")
    assert json.loads(text) == {"value": value, "list": [value, value]}


def test_names_of_records_make_no_element_and_no_address(tmp_path: Path) -> None:
    write_record(tmp_path / "results")
    harmless = [tag for tag, _ in Elements(page_of(tmp_path)).found]
    write_record(
        tmp_path / "results" / '"><img src=x>',
        "evil",
        name="javascript:hacked=1 #?%'\"",
        method__parameters={"label": EVIL},
        suite=EVIL,
        retention={EVIL: retention(0.1)},
    )
    write_record(tmp_path / "results", EVIL, name="x", model__name=EVIL, training__budget=EVIL)
    page = page_of(tmp_path)
    assert [tag for tag, _ in Elements(page).found] == harmless
    shown = EVIL.replace("\x1b", "�").replace("\u202e", "�").replace("\u2028", "�")
    data = data_of(page)
    assert {EVIL, shown} & {row["method"] for row in data["rows"]} == {shown}
    assert any(table["model"] == shown for table in data["tables"])
    assert "\x1b" not in page and "\u202e" not in page


def test_token_views_lose_what_steers_letter_for_letter_and_tell_how_strong_colours_are(tmp_path: Path) -> None:
    write_record(tmp_path / "results")
    (tmp_path / "tokens").mkdir()
    hostile = {"text": "A\u202ea was\x1bborn.", "parameters": {"\u2028": "\x1b"}}
    (tmp_path / "tokens" / "a.json").write_text(json.dumps([VIEW | hostile]), encoding="utf-8")
    (view,) = data_of(page_of(tmp_path))["views"]
    assert (view["text"], view["parameters"]) == ("A�a was�born.", {"�": "�"})
    assert view["tokens"] == VIEW["tokens"]
    assert view["limits"] == {"large": 0.5, "small": 0.25, "difference": 0.25, "keep": 1.0}


def test_links_are_quoted_relative_paths_of_the_record_and_its_answers(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_record(tmp_path / "results" / "a b", seed=seed, name=f"javascript:{seed} #?%\"<'&")
    (row,) = data_of(page_of(tmp_path))["rows"]
    for links, suffix in ((row["records"], ".json"), (row["answers"], ".answers.parquet")):
        assert len(links) == 2
        for seed, link in enumerate(links, start=1):
            parts = urlsplit(link)
            assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
            assert unquote(link) == f"results/a b/javascript:{seed} #?%\"<'&{suffix}"
            assert (tmp_path / unquote(link)).is_file()


def test_the_page_is_the_same_bytes_each_time_and_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("plain_matched", "plain"):
        write_record(tmp_path / "results", method)
    first = page_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert page_of(Path()) == first == page_of(tmp_path)


def test_the_page_names_nothing_outside_and_its_policy_allows_its_own_scripts_alone(tmp_path: Path) -> None:
    write_record(tmp_path / "results")
    elements = Elements(page_of(tmp_path))
    addresses = [value for _, attributes in elements.found for key in ("src", "href") if (value := attributes.get(key))]
    assert set(addresses) == {"data:,", "#main", "README.md", "board.csv"}
    assert not [attributes for _, attributes in elements.found for key in attributes if key.startswith("on")]
    policy = next(a["content"] or "" for tag, a in elements.found if tag == "meta" and "http-equiv" in a)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and "unsafe" not in policy

    def hashes(texts: list[str]) -> str:
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    _, *scripts = elements.inside["script"]  # the first is the data, which nothing runs
    assert rules["script-src"] == hashes(scripts)
    assert rules["style-src"] == hashes(elements.inside["style"])
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", scripts[0])


def test_rows_have_the_numbers_and_the_front_of_the_board(tmp_path: Path) -> None:
    def always(value: float) -> Any:
        return lambda field, person, seed: value

    results = tmp_path / "results"
    write_record(results, grade=always(1), training__tokens=300, retention={"words": retention(0.25)})
    write_record(results, "cheap", grade=lambda f, p, s: float(p % 2), training__tokens=100, distance=lambda f, p: 7)
    write_record(results, "poor", grade=always(0), training__tokens=200, training__steps=7)
    rows = {row["method"]: row for row in data_of(page_of(tmp_path))["rows"]}
    assert [rows[name]["rank"] for name in ("plain_matched", "cheap", "poor")] == [1, 2, 3]
    assert [rows[name]["scores"]["exact_match"][0] for name in ("plain_matched", "cheap", "poor")] == [1, 0.5, 0]
    assert [rows[name]["front"] for name in ("plain_matched", "cheap", "poor")] == [
        ["tokens", "seconds"],  # all took 11 seconds, so the best alone is on that front
        ["tokens"],
        [],
    ]
    assert rows["cheap"]["to_baseline"]["interval"][0] == -0.5
    assert rows["plain_matched"]["forgetting"] == [[0.25, None, None]]
    assert [one[:2] + one[3:] for one in rows["cheap"]["by_distance"]] == [[7, 7, 40]]
    assert rows["poor"]["steps"] == [7, 7]


def test_a_name_is_known_in_html_by_no_template_mark(tmp_path: Path) -> None:
    write_record(tmp_path / "results", "{{data}}")
    page = page_of(tmp_path)
    assert data_of(page)["rows"][0]["method"] == "{{data}}"
    assert page.count("{{data}}") == len(re.findall(r"\{\{data\}\}", json.dumps(data_of(page))))


VALUES = {
    "cost": {
        "label": "a",
        "cost": 1,
        "mean": 0.5,
        "low": 0.4,
        "high": 0.6,
        "kind": KINDS[0],
        "front": True,
        "named": True,
    },
    "distance": {"series": "a", "distance": "0–3", "place": 0, "mean": 0.5, "low": 0.4, "high": 0.6},
    "curve": {"series": "a", "step": 100, "mean": 0.5},
    "forgetting": {"label": "a", "place": 0, "mean": 0.5, "low": 0.4, "high": 0.6},
}


@pytest.mark.parametrize("name", VALUES)
def test_every_chart_is_valid_and_draws_its_points(name: str) -> None:
    spec = chart_specs()[name]
    alt.LayerChart.from_dict(spec)  # validates
    drawn = vl_convert.vegalite_to_svg(spec | {"width": 300, "datasets": {"points": [VALUES[name] | {"text": "a"}]}})
    assert drawn.count("mark-symbol role-mark") == 1
    assert "exact match" in drawn.lower() or name == "forgetting"


def test_every_chart_of_the_page_is_tried_here() -> None:
    assert chart_specs().keys() == VALUES.keys()
