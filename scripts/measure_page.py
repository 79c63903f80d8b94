"""Measure the board's page: time to build it from synthetic records, its size, and the time to sort it in Chromium.

    python -m scripts.measure_page --records 10 10000      (in the folder of the project)

Every record is one row; all rows are in one table. Building is measured in processor time, Chromium in wall time. Needs
Chromium (apt-get install chromium) and the extra "dev".
"""

import argparse
import itertools
import statistics
import tempfile
import time
import zlib
from pathlib import Path

from leaderboard.board.assemble import build_board, load_records
from leaderboard.web.html import html_page
from scripts.browser import chromium
from tests.leaderboard.factory import write_record

METHODS = ("random_dropout", "attention_dropout", "contrastive_dropout", "neftune", "eda", "texts")

# Time from a click to the frame that shows its result. The clicks sort by each column, in both directions.
SORTING = """async () => {
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  const ids = [...document.querySelectorAll('#head button')].map(button => button.id);
  const times = [];
  for (const id of [...ids, ...ids]) {
    await frame();
    const began = performance.now();
    document.getElementById(id).click();
    await frame();
    times.push(performance.now() - began);
  }
  return times;
}"""


def make_records(folder: Path, number: int) -> None:
    """Write records of one table, each with other parameters."""
    for i in range(number):
        method = METHODS[i % len(METHODS)] if i else "plain_matched"
        skill = 5 + zlib.crc32(str(i).encode()) % 90

        def grade(field: str, person: int, seed: int, i: int = i, skill: int = skill) -> float:
            return float(zlib.crc32(f"{field}{person}{seed}{i}".encode()) % 100 < skill)

        parameters = {} if i == 0 else {"alpha": round(0.0001 * i, 6)}
        write_record(
            folder / f"{i // 1000}",
            method,
            grade=grade,
            people=20,
            name=f"record-{i:06d}",
            method__parameters=parameters,
            training__tokens=50_000 + zlib.crc32(f"tokens{i}".encode()) % 200_000,
        )


def measure(number: int) -> str:
    """Make records, the board and the page, and sort the page in Chromium; returns the measurements as one line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_records(folder / "results", number)
        times = [time.process_time()]
        records = load_records(folder / "results")
        times.append(time.process_time())
        board = build_board(records)
        times.append(time.process_time())
        text = html_page(board, folder)
        times.append(time.process_time())
        page = folder / "index.html"
        page.write_text(text, encoding="utf-8")
        read, made, written = (b - a for a, b in itertools.pairwise(times))
        with chromium() as browser:
            tab = browser.new_page()
            began = time.monotonic()
            tab.goto(page.as_uri())
            tab.wait_for_selector("#body tr.row")
            shown = time.monotonic() - began
            tab.wait_for_selector("#figures svg, #figures canvas")
            sorts = tab.evaluate(SORTING)
        return (
            f"{number:,} records: processor time to read them {read:.1f} s, board {made:.1f} s, page {written:.1f} s; "
            f"{page.stat().st_size / 1e6:.2f} MB; rows shown after {shown:.2f} s; "
            f"sort {statistics.median(sorts):.0f} ms (median of {len(sorts)}), {max(sorts):.0f} ms (most)"
        )


def main() -> None:
    """Measure each number of records and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[10, 10_000])
    for number in parser.parse_args().records:
        print(measure(number), flush=True)


if __name__ == "__main__":
    main()
