"""What the tests of the board's page share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """Debian's Chromium, one for all tests; nothing is downloaded."""
    from scripts import browser

    try:
        with browser.chromium() as started:
            yield started
    except SystemExit as missing:
        pytest.fail(f"{missing}; leave these tests out with -m 'not browser'")
