"""Re-create situations from public bug reports and show what the command line says.

    python -m scripts.strangers --markdown table.md

Every situation is made in an empty folder of its own, outside any git checkout. The table says which command met it,
what it printed, and whether that is what docs/strangers.md calls right.
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

NOISE = re.compile("^fatal|Traceback|leaked")


def main() -> int:
    """Run the situations asked for; exit code 1 if any did not come out right."""
    parser = argparse.ArgumentParser(description="situations from public bug reports, on the command line")
    parser.add_argument("--only", type=int, nargs="*", help="numbers, as 1 5 13")
    parser.add_argument("--markdown", type=Path, help="write the table to this file as well")
    options = parser.parse_args()
    lines = ["| # | situation | what the command says | right |", "|---|---|---|---|"]
    wrong = 0
    for situation in situations():
        if options.only and situation.number not in options.only:
            continue
        said = outcome(situation)
        is_right = situation.right in said and "BESIDES" not in said
        wrong += not is_right
        what = situation.what + (f" ({situation.source})" if situation.source else "")
        lines.append(f"| {situation.number} | {what} | {said} | {'yes' if is_right else 'NO'} |")
        print(lines[-1], flush=True)
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if wrong else 0


def outcome(situation: Situation) -> str:
    """What a situation's command says: its last line, or what its record has, and what should not be on stderr."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmark", *situation.make(folder)]
        code, lines = _run(command, folder, situation.stop)
        last = lines[-1].replace(str(folder), "…").replace("|", "\\|") if lines else ""
        noise = [line for line in lines if NOISE.search(line)]
        beside = f"; BESIDES: {noise[0]}" if noise else ""
        return f"exit code {code}: {last}{beside}" if code else _result(folder) + beside


def _run(command: list[str], folder: Path, stop: bool) -> tuple[int, list[str]]:
    """Exit code and lines of stderr; with `stop`, of a command that got SIGTERM once it trained."""
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
    told = f"; noted: {'; '.join(dict.fromkeys(notes))}" if notes else ""
    counted = f"{record.task.texts} texts, {record.task.clusters} asked about, "
    return f"{counted}exact match {sum(asked) / len(asked):.2f}{told}"


if __name__ == "__main__":
    raise SystemExit(main())
