"""How long `benchmark --help` and the run of a finished suite take, compared with the start of Python.

python -m perf.startup --suite smoke --results results
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmark import ROOT
from perf.ratios import arguments, run, show, timed


def main(given: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = arguments(str(__doc__), rounds=9)
    parser.add_argument("--suite", help="a finished suite to run again")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--records", type=Path)
    options = parser.parse_args(given)
    ways = {"python -c pass": _command("-c", "pass"), "benchmark --help": _command("-m", "benchmark", "--help")}
    if options.suite:
        records = options.records or options.results / "records"
        where = ("--results", str(options.results), "--records", str(records))
        ways[f"benchmark run {options.suite}"] = _command("-m", "benchmark", "run", options.suite, *where)
    show([timed("start", ways, "python -c pass", options.rounds)], options)
    return 0


def _command(*words: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=ROOT)


if __name__ == "__main__":
    raise SystemExit(run(main))
