"""Try the faults that a run has to survive on a very small suite, and say of each what came of it.

    python -m scripts.faults                    all of them, some twenty minutes on two cores (in the project's folder)
    python -m scripts.faults --only Ctrl-C      those with this in their name
    python -m scripts.faults --json             a JSON object a line, as each is done; --markdown for docs/survival.md

Faults are real ones: file systems that are full or read-only, signals, limits of memory. Those that take root or a C
compiler are left out, and named, where there is none. Afterwards the same command is given again, and its records are
compared with those of a run that nothing disturbed. Exit code 1: something was lost, left behind, or said otherwise
than it should be. Needs Linux. The kills at random moments are scripts/kill_and_resume.py's.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from benchmark.core.signals import listening
from scripts.faults import content, disks, memory, signals
from scripts.faults.bench import Bench, Fault, Row

HEADS = ["fault", "what was done", "exit code", "message", "lost", "verdict"]


def every_fault() -> list[Fault]:
    """The list, in the order of the table."""
    return [*disks.faults(), *content.faults(), *signals.faults(), *memory.faults()]


def attempt(fault: Fault, bench: Bench, number: int) -> Row:
    """Try one fault, in a folder of its own that goes afterwards."""
    if reason := fault.needs():
        return Row(fault.name, "", skipped=reason)
    (folder := bench.folder / f"fault-{number}").mkdir()
    try:
        return replace(fault.attempt(bench, folder), fault=fault.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cells(row: Row) -> list[str]:
    """The row of the table."""
    code = "" if row.code is None else str(row.code)
    return [row.fault, row.done, code, row.message, row.lost, row.verdict]


def markdown(line: list[str]) -> str:
    """A line of a page's table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"


def main(arguments: list[str] | None = None) -> int:
    """Try the faults and print the table; returns the exit code."""
    from tabulate import tabulate

    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--only", metavar="WORD", help="faults with this in their name")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line for machines")
    parser.add_argument("--markdown", action="store_true", help="print the table for docs/survival.md")
    given = parser.parse_args(arguments)
    chosen = [fault for fault in every_fault() if not given.only or given.only in fault.name]
    if given.markdown:
        print(f"{markdown(HEADS)}\n{markdown(['---'] * len(HEADS))}", flush=True)
    with listening(), tempfile.TemporaryDirectory(prefix="faults-") as folder:  # SIGTERM leaves no mount behind
        bench = Bench(Path(folder))
        rows = []
        for number, fault in enumerate(chosen):
            rows.append(row := attempt(fault, bench, number))
            print(f"[{number + 1}/{len(chosen)}] {fault.name}: {row.verdict}", file=sys.stderr, flush=True)
            if given.json:
                print(json.dumps({**asdict(row), "verdict": row.verdict}), flush=True)
            elif given.markdown:
                print(markdown(cells(row)), flush=True)
    if not (given.json or given.markdown):
        print(tabulate([cells(row) for row in rows], headers=HEADS, maxcolwidths=[24, 36, 5, 40, 20, 30]))
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
