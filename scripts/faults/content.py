"""Faults in the content of files, and in the clock."""

import os
import random
import shutil
from pathlib import Path

from scripts.faults.bench import Bench, Done, Fault, Row, needs_compiler, needs_nothing
from scripts.runs import artifacts

YEARS = 10 * 365 * 86400


def faults() -> list[Fault]:
    """The faults of this file."""
    return [
        Fault("a byte flipped in every artifact", _flipped, needs_nothing),
        Fault("every manifest cut in half", _cut_manifests, needs_nothing),
        Fault("an artifact without its largest file", _file_gone, needs_nothing),
        Fault("a record cut in half, answers changed", _changed_records, needs_nothing),
        Fault("a clock that jumps", _clock, needs_compiler),
    ]


def _largest(folder: Path) -> Path:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != "manifest.json")
    return max(files, key=lambda file: file.stat().st_size)


def _again(bench: Bench, results: Path, what: str) -> Row:
    done = bench.run(results)
    return bench.judge(what, done, 0, "^$", bench.resumed(results), bench.lost(results))


def _flipped(bench: Bench, folder: Path) -> Row:
    results = bench.copy(folder)
    rng = random.Random(1)
    for artifact in artifacts(results):
        content = bytearray((file := _largest(artifact)).read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
    return _again(bench, results, "one bit changed in the largest file of each, no records")


def _cut_manifests(bench: Bench, folder: Path) -> Row:
    results = bench.copy(folder)
    for artifact in artifacts(results):
        content = (manifest := artifact / "manifest.json").read_bytes()
        manifest.write_bytes(content[: len(content) // 2])
    return _again(bench, results, "the second half of each cut off, no records")


def _file_gone(bench: Bench, folder: Path) -> Row:
    results = bench.copy(folder)
    for kind in ("train", "score"):
        _largest(artifacts(results, kind)[0]).unlink()
    return _again(bench, results, "weights of one training and one model's scores removed, no records")


def _changed_records(bench: Bench, folder: Path) -> Row:
    results = bench.copy(folder, with_records=True)
    first, second = sorted((results / "records").glob("*/*.json"))
    first.write_bytes(first.read_bytes()[:1000])
    answers = second.with_name(f"{second.stem}.answers.parquet")
    answers.write_bytes(answers.read_bytes()[:-1] + b"x")
    return _again(bench, results, "of two records one cut at 1,000 bytes, the other's answers changed")


def _clock(bench: Bench, folder: Path) -> Row:
    """A whole run, then the rest of a run whose files are dated in the past and the future."""
    jumping = bench.shim(clock="1")
    results = folder / "results"
    first = bench.run(results, variables=jumping)
    lost = bench.lost(results)
    shutil.rmtree(results / "records")
    shutil.rmtree(results / "store" / "evaluate")
    rng = random.Random(1)
    for path in results.rglob("*"):
        when = path.stat().st_mtime + rng.uniform(-YEARS, YEARS)
        os.utime(path, (when, when))
    second = bench.run(results, variables=jumping)
    done = Done(first.code or second.code, [*first.messages, *second.messages])
    what = "each reading up to 10 years off, in all processes; files dated likewise, and the rest made again"
    return bench.judge(what, done, 0, "^$", bench.resumed(results), lost if lost != "nothing" else bench.lost(results))
