"""docs/api.md shows the docstrings of the API as they are."""

import benchmark
from scripts import api_page


def test_the_page_is_current() -> None:
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page(), "run python -m scripts.api_page --write"


def test_the_page_has_a_section_for_every_name_of_the_api() -> None:
    assert set(api_page.ORDER) == set(benchmark.__all__)
