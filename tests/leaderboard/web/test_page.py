"""The page's HTML and data, without a browser. test_page_in_browser.py tests its behaviour in Chromium."""

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
from leaderboard.views.csv_file import board_csv
from leaderboard.web.charts import KINDS, chart_specs
from leaderboard.web.html import html_page, script_json
from leaderboard.web.pareto import pareto_front
from tests.inspection.test_terminal import VIEW
from tests.leaderboard.factory import retention, right, write_record, wrong

EVIL = "</script><script>hacked=1</script><!-- <img src=x onerror=hacked=1> ]]> {{library}} \\1 \x1b[31m\u202e \u2028"


class Elements(HTMLParser):
    """A page as the standard parser reads it: elements with their attributes, and the text of each script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.current = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.current = tag
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.current = ""

    def handle_data(self, data: str) -> None:
        if self.current in self.texts:
            self.texts[self.current][-1] += data


def page_of(folder: Path) -> str:
    return html_page(build_board(load_records(folder / "results")), folder)


def data_of(page: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Elements(page).texts["script"][0])
    return data


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_pareto_front_holds_the_points_that_no_other_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(point: tuple[int, int]) -> bool:
        return any(other[0] <= point[0] and other[1] >= point[1] and other != point for other in points)

    assert pareto_front(points) == [not dominated(point) for point in points]


def test_the_pareto_front_of_three_points_is_as_worked_out_by_hand() -> None:
    assert pareto_front([(10, 0.5), (20, 0.4), (30, 0.6)]) == [True, False, True]


@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_json_of_the_page_contains_no_markup_and_is_read_back_unchanged(value: Any) -> None:
    text = script_json({"value": value, "list": [value, value]})
    assert not set(text) & set("<>&")
    assert json.loads(text) == {"value": value, "list": [value, value]}


def test_hostile_names_in_records_add_no_element_and_no_link(tmp_path: Path) -> None:
    write_record(tmp_path / "results")
    harmless = [tag for tag, _ in Elements(page_of(tmp_path)).elements]
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
    assert [tag for tag, _ in Elements(page).elements] == harmless
    shown = EVIL.replace("\x1b", "�").replace("\u202e", "�").replace("\u2028", "�")
    data = data_of(page)
    assert {EVIL, shown} & {row["method"] for row in data["rows"]} == {shown}
    assert any(table["model"] == shown for table in data["tables"])
    assert "\x1b" not in page and "\u202e" not in page


def test_token_views_replace_each_control_character_and_give_the_limits_of_colours(tmp_path: Path) -> None:
    write_record(tmp_path / "results")
    (tmp_path / "tokens").mkdir()
    hostile = {"text": "A\u202ea was\x1bborn.", "parameters": {"\u2028": "\x1b"}}
    (tmp_path / "tokens" / "a.json").write_text(json.dumps([VIEW | hostile]), encoding="utf-8")
    (view,) = data_of(page_of(tmp_path))["views"]
    assert (view["text"], view["parameters"]) == ("A�a was�born.", {"�": "�"})
    assert view["tokens"] == VIEW["tokens"]
    assert view["limits"] == {"large": 0.5, "small": 0.25, "difference": 0.25, "keep": 1.0}


def test_links_are_quoted_relative_paths_to_records_and_answers(tmp_path: Path) -> None:
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


def test_the_page_has_the_same_bytes_each_time_and_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("plain_matched", "plain"):
        write_record(tmp_path / "results", method)
    first = page_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert page_of(Path()) == first == page_of(tmp_path)


def test_the_page_loads_nothing_and_its_policy_allows_its_own_scripts_alone(tmp_path: Path) -> None:
    write_record(tmp_path / "results")
    elements = Elements(page_of(tmp_path))
    addresses = [
        value for _, attributes in elements.elements for key in ("src", "href") if (value := attributes.get(key))
    ]
    assert set(addresses) == {"data:,", "#main", "README.md", "board.csv"}
    assert not [attributes for _, attributes in elements.elements for key in attributes if key.startswith("on")]
    policy = next(a["content"] or "" for tag, a in elements.elements if tag == "meta" and "http-equiv" in a)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'" and "unsafe" not in policy

    def hashes(texts: list[str]) -> str:
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    _, *scripts = elements.texts["script"]  # the first is the data, which is not executed
    assert rules["script-src"] == hashes(scripts)
    assert rules["style-src"] == hashes(elements.texts["style"])
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", scripts[0])


def test_rows_have_the_scores_of_the_board_and_their_pareto_front(tmp_path: Path) -> None:
    def constant(value: float) -> Any:
        return lambda field, person, seed: value

    results = tmp_path / "results"
    write_record(results, grade=constant(1), training__tokens=300, retention={"words": retention(0.25)})
    write_record(results, "cheap", grade=lambda f, p, s: float(p % 2), training__tokens=100, distance=lambda f, p: 7)
    write_record(results, "poor", grade=constant(0), training__tokens=200, training__steps=7)
    rows = {row["method"]: row for row in data_of(page_of(tmp_path))["rows"]}
    assert [rows[name]["rank"] for name in ("plain_matched", "cheap", "poor")] == [1, 2, 3]
    assert [rows[name]["exact_match"][0] for name in ("plain_matched", "cheap", "poor")] == [1, 0.5, 0]
    assert [rows[name]["front"] for name in ("plain_matched", "cheap", "poor")] == [
        ["tokens", "seconds"],  # all took 11 seconds, so only the best is on the front of seconds
        ["tokens"],
        [],
    ]
    assert rows["cheap"]["to_baseline"]["interval"][0] == -0.5
    assert rows["plain_matched"]["retention"] == [[0.25, None, None]]
    assert [distance_bin[:2] + distance_bin[3:] for distance_bin in rows["cheap"]["by_distance"]] == [[7, 7, 40]]
    assert rows["poor"]["steps"] == [7, 7]


def test_other_questions_are_columns_of_the_tables_that_ask_them_alone(tmp_path: Path) -> None:
    write_record(tmp_path / "results", "a", others={"_reverse": right, "_paraphrased": wrong})
    write_record(tmp_path / "results", "b", model__name="other-model")
    data = data_of(page_of(tmp_path))
    asked = {
        table["model"]: [column["key"] for column in table["columns"] if column["part_of"] == "other_questions"]
        for table in data["tables"]
    }
    assert asked == {"tiny-large": ["paraphrased", "reverse"], "other-model": []}
    with_others = next(row for row in data["rows"] if row["method"] == "a")
    assert (with_others["reverse"][0], with_others["paraphrased"][0]) == (1.0, 0.0)
    header = board_csv(build_board(load_records(tmp_path / "results")), tmp_path).splitlines()[0]
    assert "reverse_low" in header and "two_hop" not in header


def test_a_placeholder_of_the_template_in_a_name_is_not_replaced(tmp_path: Path) -> None:
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
    "reverse": {
        "label": "a",
        "direct": 0.6,
        "direct_low": 0.5,
        "direct_high": 0.7,
        "mean": 0.5,
        "low": 0.4,
        "high": 0.6,
        "kind": KINDS[2],
        "named": True,
    },
    "retention": {"label": "a", "place": 0, "mean": 0.5, "low": 0.4, "high": 0.6},
}


@pytest.mark.parametrize("name", VALUES)
def test_every_chart_is_valid_vega_lite_and_draws_its_points(name: str) -> None:
    spec = chart_specs()[name]
    alt.LayerChart.from_dict(spec)  # validates
    drawn = vl_convert.vegalite_to_svg(spec | {"width": 300, "datasets": {"points": [VALUES[name] | {"text": "a"}]}})
    assert drawn.count("mark-symbol role-mark") == 1
    assert "exact match" in drawn.lower() or name == "retention"


def test_every_chart_of_the_page_is_tested() -> None:
    assert chart_specs().keys() == VALUES.keys()
