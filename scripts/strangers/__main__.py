"""Recreate situations from public bug reports and show how the command line handles them.

    python -m scripts.strangers --markdown table.md

Every situation has an empty folder of its own, outside any git checkout. The table shows the last line that the command
printed or the results that it recorded, and whether they are as expected. docs/strangers.md has the table.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmark import ROOT
from scripts.strangers.situations import Situation, situations

UNWANTED = re.compile("^fatal|Traceback|leaked")  # on stderr: of git, of Python, of its resource tracker


def main() -> int:
    """Run the chosen situations; returns 1 if any outcome is not as expected."""
    parser = argparse.ArgumentParser(description="recreate situations from public bug reports")
    parser.add_argument("--only", type=int, nargs="*", help="run only these numbers, for example 1 5 13")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    lines = ["| # | situation | what the command says | right |", "|---|---|---|---|"]
    wrong = 0
    for situation in situations():
        if options.only and situation.number not in options.only:
            continue
        result = outcome(situation)
        is_right = situation.expected in result and "BESIDES" not in result
        wrong += not is_right
        what = situation.what + (f" ({situation.source})" if situation.source else "")
        lines.append(f"| {situation.number} | {what} | {result} | {'yes' if is_right else 'NO'} |")
        print(lines[-1], flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if wrong else 0


def outcome(situation: Situation) -> str:
    """The last line of a situation's command if it failed, else its results; and anything unwanted on stderr."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmark", *situation.make(folder)]
        code, lines = _run(command, folder, situation.stop)
        last = lines[-1].replace(str(folder), "…").replace("|", "\\|") if lines else ""
        unwanted = [line for line in lines if UNWANTED.search(line)]
        besides = f"; BESIDES: {unwanted[0]}" if unwanted else ""
        return f"exit code {code}: {last}{besides}" if code else _result(folder) + besides


def _run(command: list[str], folder: Path, stop: bool) -> tuple[int, list[str]]:
    """Run a command; returns exit code and lines of stderr. With `stop`, it gets SIGTERM once it trains."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    lines = []
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines += [line.strip()] if line.strip() else []
            if stop and " train " in line:
                process.send_signal(signal.SIGTERM)
                stop = False
    return process.returncode, lines


def _result(folder: Path) -> str:
    """The results of a command: the number of scored texts, or what the record says."""
    import pyarrow.parquet as pq

    from benchmark.data.texts import read_scores
    from benchmark.records.record import read_record

    if (scores := folder / "out.parquet").is_file():
        return f"{len(read_scores(scores))} text scored"
    (file,) = (path for path in folder.glob("results/records/*/*.json") if "plain_matched" in path.name)
    record = read_record(file)
    table = pq.read_table(file.with_name(record.answers.file), columns=["exact_match", "shots"]).to_pylist()
    most = max(row["shots"] for row in table)
    asked = [row["exact_match"] for row in table if row["exact_match"] is not None and row["shots"] == most]
    trained = record.training.notes if record.training else []
    notes = [*record.evaluation.get("notes", []), *trained]
    noted = f"; noted: {'; '.join(dict.fromkeys(notes))}" if notes else ""
    counted = f"{record.task.texts} texts, {record.task.clusters} asked about, "
    return f"{counted}exact match {sum(asked) / len(asked):.2f}{noted}"


if __name__ == "__main__":
    raise SystemExit(main())
