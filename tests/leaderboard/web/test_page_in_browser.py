"""The board's page in Chromium, opened from disk."""

import itertools
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from leaderboard import web
from leaderboard.build import build
from tests.leaderboard.factory import cost, retention, write_record, written

pytestmark = pytest.mark.browser

METHODS = ("plain_matched", "plain", "random_dropout", "attention_dropout", "contrastive_dropout", "eda")
EVIL = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2> [x](javascript:window.hacked=3)"
WEB = Path(web.__file__).parent
MANY = 120  # rows of the other table, more than two pages


def skill(method: int) -> Callable[[str, int, int], float]:
    return lambda field, person, seed: float(zlib.crc32(f"{field}{person}{seed}{method}".encode()) % 7 < method)


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two tables: one with all measurements and hostile names, one with many rows."""
    folder = tmp_path_factory.mktemp("board")
    results = folder / "results"
    for index, method in enumerate(METHODS):
        for seed in (1, 2):
            write_record(
                results,
                method,
                seed=seed,
                grade=skill(index),
                distance=lambda field, person: 5 * person + len(field),
                method__parameters={"alpha": 0.2} if method == "random_dropout" else {},
                training__tokens=1000 * (10 - index),
                retention={"words": retention(0.1 * index + 0.01 * seed)},
                curve=[{"steps": 100, "scores": {"biography": {"5": {"test": {"exact_match": 0.1}}}}}],
            )
    write_record(results, "evil", name="javascript:window.hacked=4", method__parameters={"label": EVIL}, suite=EVIL)
    for i in range(MANY):
        write_record(results, "eda", grade=skill(i % 7), people=2, training__budget="9 steps", method__copies=i)
    for method, of_writer in (("rewrite", written()), ("implications", written(EVIL, EVIL)), ("plain", None)):
        took = cost(train=10.0, **({"write": 200.0} if of_writer else {}))
        kept = (
            {"copies": 8, "facts": 40, "answer": 0.5, "answer_and_name": 0.25, "tokens": 0.125} if of_writer else None
        )
        write_record(results, method, training__budget="7 steps", written=of_writer, cost=took, facts=kept)
    build(results, folder)
    return folder / "index.html"


class Visit:
    """An open page with its requests, and its messages and errors on the console."""

    def __init__(self, browser: Browser, address: str, **settings: Any) -> None:
        self.page: Page = browser.new_page(**settings)
        self.page.set_default_timeout(15_000)
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.goto(address)
        self.page.wait_for_selector("#body tr.row")

    def column(self, number: int) -> list[str]:
        """The texts of a column of the table, counted from 1 with the names of rows."""
        return self.page.locator(f"#body tr.row > :nth-child({number})").all_inner_texts()

    def names(self) -> list[str]:
        return self.page.locator("#body tr.row th .name:first-child").all_inner_texts()


@pytest.fixture
def visit(board: Path, chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """A function that opens the page with a view, the part of its address after the #."""
    opened: list[Visit] = []

    def open_page(view: str = "table=biography, tiny-large, 400 steps", **settings: Any) -> Visit:
        opened.append(Visit(chromium, f"{board.as_uri()}#{view}", **settings))
        return opened[-1]

    yield open_page
    for open_visit in opened:
        open_visit.page.close()


def number(text: str) -> float:
    return float(text.split()[0])


def test_hostile_names_are_shown_as_text_and_no_script_request_or_error_results(visit: Callable[..., Visit]) -> None:
    seen = visit(viewport={"width": 1280, "height": 3000})
    seen.page.wait_for_selector("#figures svg")
    assert any(EVIL in name for name in seen.names())
    for button in seen.page.locator("#body th button").all():
        button.click()
    for name in ("suite", "method", "table"):
        for value in seen.page.locator(f"#{name} option").evaluate_all(
            "options => options.map(option => option.value)"
        ):
            seen.page.select_option(f"#{name}", value)
        seen.page.click("#reset")
    seen.page.select_option("#table", label="biography, tiny-large, 400 steps")
    seen.page.hover("#chart-cost .mark-symbol.role-mark path >> nth=-1")
    seen.page.wait_for_selector("#tip")
    assert "training tokens" in seen.page.locator("#tip").inner_text()
    assert seen.page.evaluate("window.hacked") is None
    assert seen.page.locator("img, iframe, object").count() == 0
    hrefs = seen.page.locator("a").evaluate_all("all => all.map(a => a.protocol)")
    assert set(hrefs) == {"file:"}
    assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []
    assert len(seen.requests) == 1
    assert seen.messages == []


def test_injected_markup_and_scripts_are_blocked_by_the_policy(visit: Callable[..., Visit]) -> None:
    seen = visit()
    seen.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.hacked=1>')")
    seen.page.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = 'window.hacked = 2';
        document.body.append(script);
    }""")
    # With a timer, since scripts that the test itself evaluates are exempt from the policy.
    seen.page.evaluate("() => { setTimeout(() => { eval('window.hacked = 3'); }); }")
    seen.page.wait_for_timeout(200)
    assert seen.page.evaluate("window.hacked") is None
    assert seen.messages, "the browser reports what it blocked"


def test_a_column_heading_sorts_and_announces_the_order(visit: Callable[..., Visit]) -> None:
    seen = visit()
    page = seen.page
    heads = page.locator("#head th")
    assert set(heads.evaluate_all("all => all.map(th => th.ariaSort)")) == {"none"}
    texts = page.locator("#head td, #head th").all_inner_texts()
    column = 1 + next(i for i, text in enumerate(texts) if text.startswith("Exact match"))
    for press, direction in ((1, "descending"), (2, "ascending")):
        page.get_by_role("button", name="Exact match").click()
        values = [number(text) for text in seen.column(column)]
        assert values == sorted(values, reverse=press == 1) and len(set(values)) > 3
        assert page.locator("th:has(#sort-exact_match)").get_attribute("aria-sort") == direction
        assert direction in page.locator("#status").inner_text()
    page.click("#sort-label")
    assert seen.names() == sorted(seen.names())
    page.click("#sort-to_baseline")
    assert seen.column(1 + next(i for i, text in enumerate(texts) if text.startswith("Δ to plain")))[-1].strip() == "–"


def test_filters_narrow_the_rows_and_the_address_restores_the_view(visit: Callable[..., Visit]) -> None:
    seen = visit()
    page = seen.page
    page.select_option("#method", "eda")
    assert [name.split()[0] for name in seen.names()] == ["eda"]
    page.select_option("#table", "*")
    assert page.locator("#heading").inner_text() == "All tables"
    page.click("#sort-rank")
    page.click("#next")
    url, shown = page.url, seen.names()
    assert "page 2 of 3" in page.locator("#count").inner_text()
    again = visit(url.partition("#")[2])
    assert again.names() == shown
    assert again.page.input_value("#method") == "eda"
    again.page.click("#reset")
    again.page.select_option("#table", label="biography, tiny-large, 400 steps")
    again.page.fill("#search", "DROPOUT contrast")
    assert again.names() == ["contrastive_dropout"]
    again.page.fill("#search", "no such thing")
    assert "No row fits" in again.page.locator("#body").inner_text()
    assert "No row fits" in again.page.locator("#charts-note").inner_text()


def test_a_method_that_the_largest_table_lacks_shows_a_table_that_has_it(visit: Callable[..., Visit]) -> None:
    seen = visit("")
    seen.page.select_option("#method", "implications")
    assert [name.split()[0] for name in seen.names()] == ["implications"]
    assert seen.page.locator("#heading").inner_text() == "biography, tiny-large, 7 steps"
    assert seen.page.locator("#table option:checked").inner_text() == "biography, tiny-large, 7 steps"


def test_menus_follow_the_address(visit: Callable[..., Visit]) -> None:
    page = visit().page
    assert not page.is_checked("#columns")
    page.evaluate("location.hash = 'table=biography, tiny-large, 400 steps&columns=1&cost=seconds'")
    page.wait_for_function("document.querySelector('#columns').checked")
    assert page.input_value("#cost") == "seconds"


@pytest.fixture
def functions(chromium: Browser) -> Iterator[Page]:
    """A page without a board, on which the functions of two scripts can be called."""
    page = chromium.new_page()
    page.set_content('<script id="data" type="application/json">{"tables": [], "rows": []}</script>')
    for name in ("dom.js", "state.js"):
        page.add_script_tag(path=WEB / name)
    yield page
    page.close()


def test_names_sort_by_the_value_of_their_numbers_whole_or_not(functions: Page) -> None:
    order = functions.evaluate(
        "(labels) => sorted(labels.map((label, id) => ({ id, label })), { key: (row) => row.label }, false)"
        ".map(({ label }) => label)",
        ["a=.25", "a=10", None, "a=.05", "a=9", "a=.1"],
    )
    assert order == ["a=.05", "a=.1", "a=.25", "a=9", "a=10", None]


def test_the_page_rounds_as_python_does(functions: Page) -> None:
    values = [n / 32 for n in range(-64, 65)] + [n / 2000 for n in range(2000)]
    shown = functions.evaluate("(values) => values.map((value) => number(value))", values)
    expected = [f"{value:.3f}".replace("-0.000", "0.000") for value in values]
    assert shown == [re.sub(r"^(-?)0\.", r"\1.", text) for text in expected]


def test_thousands_that_round_up_take_the_next_unit(functions: Page) -> None:
    shown = functions.evaluate("[999, 1500, 999499, 999500, 999950000].map(short)")
    assert shown == ["999", "1.50 k", "999 k", "1.00 M", "1.00 G"]


def test_the_page_can_be_used_with_the_keyboard_alone(visit: Callable[..., Visit]) -> None:
    seen = visit()
    page = seen.page

    def focused() -> str:
        return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))

    page.keyboard.press("Tab")
    assert focused() == "skip"
    page.keyboard.press("Enter")
    assert focused() == "main"
    order = []
    for _ in range(40):
        page.keyboard.press("Tab")
        order.append(focused())
        if order[-1] == "sort-exact_match":
            break
    assert order[:3] == ["table", "task", "model"] and "scroll" in order
    page.keyboard.press("Enter")
    assert focused() == "sort-exact_match", "the focus stays on the heading"
    assert page.locator("th:has(#sort-exact_match)").get_attribute("aria-sort") == "descending"
    button = page.locator("#body th button").first
    button.focus()
    page.keyboard.press("Space")
    assert button.get_attribute("aria-expanded") == "true"
    sheet = page.locator(f"#{button.get_attribute('aria-controls')}")
    assert sheet.is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"\.json$"))


def test_an_open_row_links_to_its_records_and_answers(visit: Callable[..., Visit], board: Path) -> None:
    seen = visit()
    seen.page.locator("#body th button").first.click()
    links = seen.page.locator("tr.details a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert len(links) == 4  # two seeds, a record and answers each
    assert all((board.parent / link).is_file() for link in links)
    assert sorted({Path(link).suffix for link in links}) == [".json", ".parquet"]


def test_all_controls_have_accessible_names_and_ids_are_unique(visit: Callable[..., Visit]) -> None:
    seen = visit("table=biography, tiny-large, 400 steps&columns=1")
    page = seen.page
    page.wait_for_selector("#figures svg")
    page.locator("#body th button").first.click()
    assert (
        page.evaluate("""() => {
        const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
        return ids.filter((id, index) => ids.indexOf(id) !== index);
    }""")
        == []
    )
    for kind in ("button", "link", "combobox", "searchbox", "checkbox", "region"):
        for element in page.get_by_role(kind).all():
            snapshot = element.aria_snapshot().splitlines()[0]
            assert re.search(rf'{kind} "[^"]+"', snapshot), snapshot
    broken = page.evaluate("""() => [...document.querySelectorAll('[aria-controls], [aria-labelledby]')]
        .flatMap(element => [
            element.getAttribute('aria-labelledby'),
            element.ariaExpanded === 'true' && element.getAttribute('aria-controls')])
        .filter(id => id && !document.getElementById(id))""")
    assert broken == []
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("h1").count() == 1
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(h => +h.tagName[1])")
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    described = page.locator("#figures [role=graphics-document]")
    charts = page.locator("#figures figure").count()
    assert charts == 4, "cost, distance, retention and steps"
    labels = described.evaluate_all("charts => charts.map(chart => chart.getAttribute('aria-label'))")
    assert len(labels) == charts and all(len(label) > 40 for label in labels)


CONTRAST = """() => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== 'rgba(0, 0, 0, 0)') return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const low = [];
  for (const element of document.querySelectorAll('main *, header *, footer *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest('svg') || element.disabled || !element.getClientRects().length) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${element.tagName} ${element.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return low;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_light_and_dark_colours(visit: Callable[..., Visit], scheme: str) -> None:
    seen = visit(color_scheme=scheme)
    seen.page.locator("#body th button").first.click()
    ground = seen.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    assert seen.page.evaluate(CONTRAST) == []


def test_chosen_colours_override_the_system_and_apply_to_charts(visit: Callable[..., Visit]) -> None:
    seen = visit(color_scheme="light")
    page = seen.page
    page.wait_for_selector("#chart-cost svg text")

    def label() -> str:
        return str(
            page.locator("#chart-cost .role-axis-label text").first.evaluate("label => label.getAttribute('fill')")
        )

    assert label() == "rgb(87, 96, 106)"
    page.select_option("#theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(230, 233, 237)"
    page.wait_for_function(
        "document.querySelector('#chart-cost .role-axis-label text')?.getAttribute('fill') === 'rgb(164, 174, 185)'"
    )


@pytest.mark.parametrize("width", [360, 390, 768])
def test_on_a_small_screen_the_table_scrolls_sideways_and_the_page_does_not(
    visit: Callable[..., Visit], width: int
) -> None:
    seen = visit(viewport={"width": width, "height": 740}, is_mobile=True, has_touch=True)
    page = seen.page
    page.wait_for_selector("#figures svg")
    page.locator("#body th button").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    before = page.locator("#body tr.row th").first.bounding_box()
    page.evaluate("document.getElementById('scroll').scrollLeft = 400")
    after = page.locator("#body tr.row th").first.bounding_box()
    assert before and after and 0 <= after["x"] <= before["x"], "the names stay in view"
    small = page.locator("#filters select, #filters input[type=search], #filters button").evaluate_all(
        "all => all.map(control => control.getBoundingClientRect().height).filter(height => height < 24)"
    )
    assert small == []


def test_charts_show_a_single_table_and_list_their_numbers(visit: Callable[..., Visit]) -> None:
    seen = visit()
    page = seen.page
    page.wait_for_selector("#figures svg")
    page.locator("#figure-cost summary").click()
    lines = page.locator("#figure-cost tbody tr")
    lines.first.wait_for()  # an event after the click adds them
    assert lines.count() == len(METHODS) + 1
    page.locator("#cost").select_option("seconds")
    assert page.evaluate("document.activeElement.id") == "cost"
    page.wait_for_selector("#chart-cost svg")
    assert "Seconds of training" in page.locator("#chart-cost").inner_text()
    page.select_option("#table", "*")
    assert "Choose one table" in page.locator("#charts-note").inner_text()
    assert page.locator("figure").count() == 0


def test_what_a_writer_wrote_is_in_wide_columns_the_sheet_and_the_chart_of_cost(visit: Callable[..., Visit]) -> None:
    seen = visit("table=biography, tiny-large, 7 steps&columns=1")
    page = seen.page
    headings = page.locator("#head th").all_inner_texts()
    shown = {heading.split("\n")[0].strip(): index for index, heading in enumerate(headings)}
    assert {"Writer", "Writer's model", "Tokens in", "Tokens out", "Left out", "Invented"} <= shown.keys()
    page.locator("#body th button", has_text="rewrite").click()
    sheet = page.locator("tr.details").inner_text()
    assert "qwen (Qwen/Qwen2.5-1.5B)" in sheet and "250,000" in sheet and "invented names and numbers" in sheet
    page.locator("#body th button", has_text="implications").click()
    assert any(EVIL in text for text in page.locator("tr.details").all_inner_texts())
    page.locator("#cost").select_option("seconds_with_writing")
    page.wait_for_selector("#chart-cost svg")
    assert "Seconds of training and writing" in page.locator("#chart-cost").inner_text()
    assert page.evaluate("window.hacked") is None and seen.messages == []


def test_a_table_without_writers_offers_no_seconds_of_writing(visit: Callable[..., Visit]) -> None:
    page = visit("table=biography, tiny-large, 400 steps&columns=1&cost=seconds_with_writing").page
    page.wait_for_selector("#figures svg")
    offered = page.locator("#cost option").evaluate_all("all => all.map(option => option.value)")
    assert offered == ["tokens", "seconds"] and page.locator("#cost").input_value() == "tokens"
    assert "Writer" not in page.locator("#head").inner_text()


def test_rows_beyond_the_first_page_are_on_the_next_pages(visit: Callable[..., Visit]) -> None:
    seen = visit("table=biography, tiny-large, 9 steps")
    page = seen.page
    assert seen.page.locator("#body tr.row").count() == 50
    assert f"1 to 50 of {MANY}" in page.locator("#count").inner_text()
    page.click("#next")
    page.click("#next")
    assert page.locator("#body tr.row").count() == MANY - 100
    assert page.locator("#next").is_disabled()
    page.click("#sort-label")
    assert "1 to 50" in page.locator("#count").inner_text()
