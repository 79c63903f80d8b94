"""The installed Chromium through Playwright, for pictures and measurements of the board's page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright


@contextmanager
def chromium() -> Iterator[Browser]:
    """The installed Chromium, without a window. Exits with an error that says what to do if there is none."""
    path = shutil.which("chromium")
    if not path:
        raise SystemExit("chromium: not found; install it, for example with apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()
