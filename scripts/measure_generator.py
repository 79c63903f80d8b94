"""Measure the time and memory that writing and reading sets of made-up people take.

    python -m scripts.measure_generator --counts 1000 10000 100000      (in the folder of the project)

Each step runs in a separate process, so that its peak memory can be measured. Times and peaks include Python's start
and imports. Needs a system with wait4: Linux or macOS.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark import ROOT

STEPS = {
    "write": "import sys; from benchmark.cli.app import app; app(sys.argv[1:])",
    "read": "import sys, pathlib; from benchmark.corpora.biography import Biography; "
    "Biography(path=pathlib.Path(sys.argv[1])).load()",
    "questions": "import sys; from benchmark.tasks.biography import biography; biography.load('all', sys.argv[1])",
    "choices": "import sys; from benchmark.tasks.biography import biography; "
    "biography.load('all', sys.argv[1], field='birth_date', choices=True)",
}


def measure(code: str, *arguments: str) -> tuple[float, float]:
    """Run Python code in a separate process; return seconds and peak MiB. Exit with its exit code if it fails."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(process.returncode)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    return time.monotonic() - started, usage.ru_maxrss / unit


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print a row per step and count; return the exit code."""
    from tabulate import tabulate

    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 1000, 10_000, 100_000])
    parser.add_argument(
        "--steps",
        nargs="+",
        choices=STEPS,
        default=["write", "read", "questions"],
        help="write: `benchmark people`; read: the harness's corpus; questions: the lm-eval data of all fields; "
        "choices: that of biography_birth_date_choice",
    )
    parser.add_argument(
        "--options", nargs=argparse.REMAINDER, default=[], help="all following arguments go to `benchmark people`"
    )
    options = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in options.counts:
            file = str(Path(folder) / f"{count}.jsonl")
            writing = ["people", "--count", str(count), "--out", file, *options.options]
            for step in ["write", *(step for step in options.steps if step != "write")]:
                seconds, peak = measure(STEPS[step], *(writing if step == "write" else [file]))
                if step in options.steps:
                    rows.append([step, count, f"{seconds:.1f}", f"{count / seconds:.0f}", f"{peak:.0f}"])
    print(tabulate(rows, headers=["step", "people", "seconds", "people per second", "peak MiB"]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
