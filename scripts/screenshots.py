"""Take the pictures of the board's page in docs/board.md: light, dark, and on a phone.

    python -m scripts.screenshots [--page leaderboard/index.html] [--out docs/images]

Needs the page (make page), Chromium (apt-get install chromium) and the extra "dev".
"""

import argparse
from pathlib import Path
from typing import Any

from scripts.browser import chromium

PICTURES: dict[str, dict[str, Any]] = {
    "board-light": {"viewport": {"width": 1280, "height": 1100}, "color_scheme": "light"},
    "board-dark": {"viewport": {"width": 1280, "height": 1100}, "color_scheme": "dark"},
    "board-phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


def take(page: Path, out: Path, view: str = "") -> list[Path]:
    """Write the pictures of a page.

    Args:
        page: The page.
        out: Folder for the pictures.
        view: The view to show, the part of the page's address after the #.

    Returns:
        The paths of the pictures.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    with chromium() as browser:
        for name, settings in PICTURES.items():
            tab = browser.new_page(**settings)
            tab.goto(f"{page.resolve().as_uri()}#{view}")
            tab.wait_for_selector("#figures svg")
            paths.append(out / f"{name}.png")
            tab.screenshot(path=paths[-1])
            tab.close()
    return paths


def main() -> None:
    """Take the pictures and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=Path("leaderboard/index.html"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--view", default="", help="part of the page's address after the #")
    options = parser.parse_args()
    for path in take(options.page, options.out, options.view):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
