"""Debian's Chromium through Playwright, for what looks at the board's page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium, without a window. Exits with what to do where there is none."""
    found = shutil.which("chromium")
    if not found:
        raise SystemExit("chromium: not found; install it, as with apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()
