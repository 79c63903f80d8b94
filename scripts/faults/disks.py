"""Faults of disks and folders: full, read-only, not a folder, without locks."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from scripts.faults.bench import Bench, Done, Fault, Row, left_behind, needs_compiler, needs_nothing, needs_root
from scripts.runs import under_way

PAGE = 4096  # bytes; a tmpfs allocates whole pages
FULL = r"^error: .*No space left on device"
READ_ONLY = r"^error: .*Read-only file system"
KINDS = ("corpus", "score", "augment", "train", "evaluate", "curve", "retain")
TEXTS = '{"id": "a", "text": "Gull Rock has 212 steps."}\n'
DOCUMENTS = "".join(
    f'{{"text": "Rock {n} has {n}12 steps.", "questions": [{{"question": "Steps of {n}?", "answers": ["{n}12"]}}]}}\n'
    for n in range(1, 5)
)


def faults() -> list[Fault]:
    """The faults of this file."""
    moments = {f"a stage {kind} writes": (kind, 0) for kind in KINDS}
    moments |= {"a manifest is written": ("curve", 1), "answers are written": ("", 0), "a record is written": ("", 1)}
    full = [
        Fault(f"disk full as {when}", partial(_full, kind=kind, pages=pages), needs_root)
        for when, (kind, pages) in moments.items()
    ]
    return [
        *full,
        Fault("disk full as `corpus` writes its suite", _full_corpus, needs_root),
        Fault("disk full as `score` writes", partial(_full_output, command="score", name="zoo:small"), needs_root),
        Fault("disk full as `augment` writes", partial(_full_output, command="augment", name="plain"), needs_root),
        Fault("disk full as the board is written", _full_board, needs_root),
        Fault("read-only before the run", _read_only, needs_root),
        Fault("read-only, and nothing to do", _read_only_and_finished, needs_root),
        Fault("read-only in the midst of training", _read_only_meanwhile, _needs_loop_device),
        Fault("results path is a file", _a_file, needs_nothing),
        Fault("file system without locks", _no_locks, needs_compiler),
    ]


@contextmanager
def tmpfs(folder: Path) -> Iterator[Path]:
    """Mount a file system of 4 MB in memory; yields its folder."""
    (mounted := folder / "mount").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mounted)], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


@contextmanager
def full(folder: Path, pages: int) -> Iterator[None]:
    """Fill a file system up to its last `pages` pages while the block lasts."""
    ballast = folder / "ballast"
    room = os.statvfs(folder)
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - pages * PAGE))
    try:
        yield
    finally:
        ballast.unlink()


def _full(bench: Bench, folder: Path, kind: str, pages: int) -> Row:
    with tmpfs(folder) as mounted:
        results = bench.copy(mounted, *([kind] if kind else []))
        with full(mounted, pages):
            done = bench.run(results)
            wrong = left_behind(results)
        wrong += bench.resumed(results)
        what = f"{pages * PAGE // 1024} KB left on a tmpfs; room made, and run again"
        return bench.judge(what, done, 2, FULL, wrong, bench.lost(results))


def _full_corpus(bench: Bench, folder: Path) -> Row:
    (documents := folder / "documents.jsonl").write_text(DOCUMENTS, encoding="utf-8")
    with tmpfs(folder) as mounted:
        with full(mounted, 0):
            done = bench.command("corpus", documents, "--results", mounted / "results")
            left = [str(file.relative_to(mounted)) for file in (mounted / "results").rglob("*") if file.is_file()]
        return bench.judge("nothing left on a tmpfs", done, 2, FULL, [f"written: {left}"] if left else [], "nothing")


def _full_output(bench: Bench, folder: Path, command: str, name: str) -> Row:
    (texts := folder / "texts.jsonl").write_text(TEXTS, encoding="utf-8")
    with tmpfs(folder) as mounted:
        (out := mounted / "out").write_text("old content")
        with full(mounted, 0):
            done = bench.command(command, name, "--texts", texts, "--out", out)
            names = sorted(file.name for file in mounted.iterdir())
        lost = "nothing" if out.read_text() == "old content" else "the old file"
        wrong = [f"files: {names}"] if names != ["ballast", "out"] else []
        return bench.judge("nothing left on a tmpfs, an older file there", done, 2, FULL, wrong, lost)


def _full_board(bench: Bench, folder: Path) -> Row:
    with tmpfs(folder) as mounted:
        before = {name: f"the old {name}" for name in ("README.md", "board.csv", "index.html")}
        for name, text in before.items():
            (mounted / name).write_text(text)
        with full(mounted, 4):  # enough for the first of the three, and not for the last
            done = bench.command("leaderboard", "build", "--records", bench.undisturbed / "records", "--out", mounted)
        after = {file.name: file.read_text() for file in mounted.iterdir()}
        lost = "nothing" if after == before else "the old board, or a part of it"
        return bench.judge("16 KB left on a tmpfs, an older board there", done, 2, FULL, [], lost)


def _remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def _read_only(bench: Bench, folder: Path) -> Row:
    with tmpfs(folder) as mounted:
        results = bench.copy(mounted, "evaluate")
        _remount(mounted, "ro")
        done = bench.run(results)
        _remount(mounted, "rw")
        wrong = bench.resumed(results)
        what = "a tmpfs remounted read-only; remounted to write, and run again"
        return bench.judge(what, done, 2, READ_ONLY, wrong, bench.lost(results))


def _read_only_and_finished(bench: Bench, folder: Path) -> Row:
    with tmpfs(folder) as mounted:
        results = bench.copy(mounted, with_records=True)
        _remount(mounted, "ro")
        done = bench.run(results)
        return bench.judge("finished results on a tmpfs remounted read-only", done, 0, "^$", [], bench.lost(results))


def _needs_loop_device() -> str:
    return needs_root() or ("" if Path("/dev/loop-control").exists() else "needs a loop device")


def _read_only_meanwhile(bench: Bench, folder: Path) -> Row:
    """An internal error of ext4, after which the kernel makes it read-only although files are open."""
    (mounted := folder / "mount").mkdir()
    with (image := folder / "image").open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    mount = ["mount", "-o", "loop,errors=remount-ro", str(image), str(mounted)]
    subprocess.run(mount, check=True)
    try:
        results = bench.copy(mounted, "train")
        device = subprocess.run(["findmnt", "-no", "SOURCE", str(mounted)], capture_output=True, text=True, check=True)
        trigger = Path("/sys/fs/ext4", Path(device.stdout.strip()).name, "trigger_fs_error")
        with bench.started(results) as run:
            while "train" not in under_way(results) and run.process.poll() is None:
                time.sleep(0.01)
            trigger.write_text("1")
            done = run.ended()
            wrong = run.left()
        subprocess.run(["umount", str(mounted)], check=True)
        subprocess.run(["fsck.ext4", "-p", str(image)], check=False, capture_output=True)
        subprocess.run(mount, check=True)
        wrong += bench.resumed(results)
        what = "an error of ext4 that makes it read-only while training; repaired, and run again"
        return bench.judge(what, done, 2, READ_ONLY, wrong, bench.lost(results))
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def _a_file(bench: Bench, folder: Path) -> Row:
    (folder / "results").write_text("")
    done: Done = bench.run(folder / "results")
    says = r"results/store: Not a directory; give a folder that can be written"
    return bench.judge("`--results` names a file", done, 2, says, [], "nothing")


def _no_locks(bench: Bench, folder: Path) -> Row:
    results = bench.copy(folder, "evaluate")
    done = bench.run(results, variables=bench.shim(locks="1"))
    wrong = bench.resumed(results)
    what = "flock fails with ENOLCK; then it does not, and run again"
    return bench.judge(what, done, 2, r"the file system has no locks", wrong, bench.lost(results))
