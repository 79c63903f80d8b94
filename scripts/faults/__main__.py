"""Try the faults that a run has to survive on a very small suite, and report the result of each.

    python -m scripts.faults                    all faults, about twenty minutes on two cores (in the project's folder)
    python -m scripts.faults --only Ctrl-C      the faults with this in their name
    python -m scripts.faults --json             a JSON object a line, after each fault; --markdown for docs/survival.md

The faults are real: file systems that are full or read-only, signals, memory limits. Faults that need root or a C
compiler are reported as not tried if it is missing. After each fault the same command runs again, and its records are
compared with those of an undisturbed run. Exit code 1: records were lost, something was left behind, or a message or
exit code was wrong. Needs Linux. scripts/kill_and_resume.py kills runs at random moments.
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
    """All faults, in the order of the table."""
    return [*disks.faults(), *content.faults(), *signals.faults(), *memory.faults()]


def attempt(fault: Fault, bench: Bench, number: int) -> Row:
    """Try a fault in a folder of its own, which is removed afterwards."""
    if reason := fault.needs():
        return Row(fault.name, "", skipped=reason)
    (folder := bench.folder / f"fault-{number}").mkdir()
    try:
        return replace(fault.attempt(bench, folder), fault=fault.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cells(row: Row) -> list[str]:
    """The cells of a table row."""
    code = "" if row.code is None else str(row.code)
    return [row.fault, row.done, code, row.message, row.lost, row.verdict]


def markdown(line: list[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"


def main(arguments: list[str] | None = None) -> int:
    """Try the faults and print the table; returns the exit code."""
    from tabulate import tabulate

    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--only", metavar="WORD", help="only the faults with this in their name")
    parser.add_argument("--json", action="store_true", help="print JSON, an object a line")
    parser.add_argument("--markdown", action="store_true", help="print the table for docs/survival.md")
    options = parser.parse_args(arguments)
    chosen = [fault for fault in every_fault() if not options.only or options.only in fault.name]
    if options.markdown:
        print(f"{markdown(HEADS)}\n{markdown(['---'] * len(HEADS))}", flush=True)
    with listening(), tempfile.TemporaryDirectory(prefix="faults-") as folder:  # so that SIGTERM leaves no mount
        bench = Bench(Path(folder))
        rows = []
        for number, fault in enumerate(chosen):
            rows.append(row := attempt(fault, bench, number))
            print(f"[{number + 1}/{len(chosen)}] {fault.name}: {row.verdict}", file=sys.stderr, flush=True)
            if options.json:
                print(json.dumps({**asdict(row), "verdict": row.verdict}), flush=True)
            elif options.markdown:
                print(markdown(cells(row)), flush=True)
    if not (options.json or options.markdown):
        print(tabulate([cells(row) for row in rows], headers=HEADS, maxcolwidths=[24, 36, 5, 40, 20, 30]))
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
