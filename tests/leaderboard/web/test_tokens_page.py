"""The token view of the page in Chromium: its numbers by pointer and keys, and hostile names as text."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from benchmark.data.token_views import TokenView
from leaderboard.web.data import view_data
from tests.conftest import ROOT
from tests.inspection.test_terminal import VIEW

pytestmark = pytest.mark.browser
EMOJI = {  # offsets count code points; JavaScript counts an emoji as two units
    **VIEW,
    "id": "<img src=x onerror=fail()>",
    "text": "🙂 was\u202eborn.",
    "tokens": [{**VIEW["tokens"][0], "end": 1}, {**VIEW["tokens"][1], "start": 1, "end": 5}],
    "copies": [{"text": "🙂", "kept": [True, False]}],
}


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    folder = ROOT / "leaderboard" / "web"
    style, *scripts = ((folder / name).read_text(encoding="utf-8") for name in ("tokens.css", "dom.js", "tokens.js"))
    opened = chromium.new_page()
    opened.set_content(f"<!doctype html><style>{style}</style><div id=views></div><script>{''.join(scripts)}</script>")
    views = json.dumps([view_data(TokenView.model_validate(view)) for view in (VIEW, EMOJI)])
    opened.evaluate(f"renderTokenViews(document.getElementById('views'), {views})")
    yield opened
    opened.close()


def test_keys_and_pointer_show_the_numbers_of_a_token(page: Page) -> None:
    page.select_option("select >> nth=0", "0")
    page.focus(".tokens-text .tokens-token >> nth=0")
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".tokens-description") == "“ was”: difference −0.125, large 0.125, small 0.250, keep 0.500"
    page.keyboard.press("End")
    assert page.inner_text(".tokens-description").startswith("“born.”")
    page.hover(".tokens-text .tokens-token >> nth=0")
    assert page.inner_text(".tokens-description").startswith("“Ana”: difference 0.250")
    assert page.locator(".tokens-text [tabindex='0']").count() == 1


def test_the_chosen_quantity_colours_tokens_and_copies_strike_out_removed_tokens(page: Page) -> None:
    page.select_option("select >> nth=0", "0")
    page.select_option("select >> nth=1", "difference")
    strengths = "nodes => nodes.map(node => node.className.slice(-3) + node.style.getPropertyValue('--level'))"
    tokens = page.locator(".tokens-text .tokens-token")
    assert [name.replace("igh", "+").replace("low", "-") for name in tokens.evaluate_all(strengths)] == [
        "+100%",
        "-50%",
        "+0%",
    ]
    page.select_option("select >> nth=1", "keep")
    assert [name[3:] for name in tokens.evaluate_all(strengths)] == ["100%", "50%", "75%"]
    assert page.locator(".tokens-copies del").all_inner_texts() == [" was"]
    assert page.locator(".tokens-numbers tbody tr").count() == 3


def test_names_are_shown_as_text_and_offsets_count_code_points(page: Page) -> None:
    page.select_option("select >> nth=0", "1")
    assert page.locator("#views img").count() == 0
    assert page.locator(".tokens-text .tokens-token").all_inner_texts() == ["🙂", " was"]
    assert page.inner_text(".tokens-text") == "🙂 was�born."
