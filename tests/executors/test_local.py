"""Worker processes: what a stage's failure becomes, and that no process outlives its run."""

import errno
import os
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.core.errors import StageFailed, UserError
from benchmark.core.signals import Stopped, listening
from benchmark.executors import local
from benchmark.executors.local import run_calls
from benchmark.executors.worker import explained
from benchmark.store.artifacts import StageCall, Store
from scripts.runs import MARK, held_locks, living, wait_until_gone, workers_of
from tests.tiny import faulty_work

ROOT = Path(__file__).parents[2]


def corpus_call(people: int = 3, **params: Any) -> StageCall:
    """A stage that needs no model. More people than there are is a mistake that only the stage itself finds."""
    return StageCall(
        "corpus", 1, {"people": people, **params}, where={"entry": {"name": "biography", "people": people}}
    )


def make(store: Store, calls: list[StageCall], workers: int = 1) -> list[StageCall]:
    """Make artifacts in worker processes; returns the calls in the order they were done."""
    done: list[StageCall] = []
    run_calls(store, calls, workers, 1, lambda call, at, of: None, done.append)
    return done


def test_a_users_mistake_found_by_a_stage_comes_back_as_such_and_what_was_finished_stays(tmp_path: Path) -> None:
    store, good, bad = Store(tmp_path), corpus_call(), corpus_call(people=5000)
    with pytest.raises(UserError, match=r"^task biography: people: 5000 asked for, but the data has 100"):
        make(store, [good, bad])
    assert store.verified(good) and not store.has(bad)
    assert held_locks(tmp_path.parent) == []


def test_a_crash_of_a_stage_brings_its_traceback_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_work", faulty_work)
    call = corpus_call(fault="crash")
    with pytest.raises(StageFailed) as caught:
        make(Store(tmp_path), [call])
    first, *rest = str(caught.value).splitlines()
    assert first == f"stage corpus ({call.key}) failed:"
    assert rest[0].startswith("Traceback") and rest[-1] == "tests.tiny.TwoWords: something unforeseen"
    assert any('raise TwoWords("something"' in line for line in rest)


def test_a_killed_worker_is_most_likely_lack_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_work", faulty_work)
    store = Store(tmp_path / "store")
    with pytest.raises(StageFailed, match=r"^stage corpus: a worker process died, most often for lack of memory; run"):
        make(store, [corpus_call(fault="kill")])
    assert held_locks(tmp_path) == []


def test_when_a_worker_dies_the_others_end_at_once_and_leave_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_work", faulty_work)
    monkeypatch.setenv(MARK, mark := uuid.uuid4().hex)
    store = Store(tmp_path / "store")
    calls = [corpus_call(fault="never end"), corpus_call(fault="kill once another is at work")]
    with pytest.raises(StageFailed, match="a worker process died"):
        make(store, calls, workers=2)
    monkeypatch.delenv(MARK)
    assert workers_of(mark) == [], "gone before the error is told, though they take no SIGTERM"
    assert list((tmp_path / "store" / ".tmp").iterdir()) == [] and held_locks(tmp_path) == []


def test_a_worker_that_the_pool_does_not_watch_is_missed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(ProcessPoolExecutor):
        def _adjust_process_count(self) -> None:
            time.sleep(0.5)  # so that the pool's thread waits, for the workers there are, before this one is there
            super()._adjust_process_count()

    monkeypatch.setattr(local, "ProcessPoolExecutor", Late)
    monkeypatch.setattr(local, "_work", faulty_work)
    calls = [corpus_call(fault="never end"), corpus_call(fault="kill once another is at work")]
    with pytest.raises(StageFailed, match="^stage corpus: a worker process died"):
        make(Store(tmp_path / "store"), calls, workers=2)


def test_workers_take_no_signals_of_a_terminal_or_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_work", faulty_work)
    store, call = Store(tmp_path / "store"), corpus_call(fault="signals to itself")
    assert make(store, [call]) == [call] and store.verified(call)


def test_a_stop_that_a_library_swallowed_is_heeded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_work", faulty_work)
    with listening():
        with suppress(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            make(Store(tmp_path / "store"), [corpus_call(fault="never end")])


def test_who_begins_a_stage_is_told_before_its_steps(tmp_path: Path) -> None:
    told: list[tuple[Any, ...]] = []
    calls = [corpus_call(), corpus_call(people=4)]
    run_calls(
        Store(tmp_path),
        calls,
        1,
        1,
        lambda call, *steps: told.append((call.key, *steps)),
        lambda call: told.append((call.key, "done")),
        lambda call, where: told.append((call.key, where)),
    )
    workers = {entry[1] for entry in told if str(entry[1]).startswith("worker ")}
    assert len(workers) == 1 and int(next(iter(workers)).split()[1]) != os.getpid()
    for call in calls:
        assert next(entry for entry in told if entry[0] == call.key) == (call.key, *workers)


def test_a_stage_waits_for_its_sources_and_is_told_of_as_it_is_done(tmp_path: Path) -> None:
    store, texts = Store(tmp_path), corpus_call()
    params = {"method": "plain", "parameters": {}, "copies": 1, "seed": 1}
    augmented = [StageCall("augment", 1, {**params, "seed": seed}, {"corpus": texts}) for seed in (1, 2)]
    told: list[tuple[str, int, int]] = []
    done: list[StageCall] = []
    run_calls(store, [*augmented, texts], 2, 1, lambda call, at, of: told.append((call.stage, at, of)), done.append)
    assert done[0] == texts and {call.key for call in done[1:]} == {call.key for call in augmented}
    assert all(store.verified(call) for call in done)
    assert set(told) <= {("augment", 1, 1), ("corpus", 1, 1)}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/results/x"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["Python", "safetensors"],
)
def test_a_full_disk_is_the_users_to_mend(error: Exception) -> None:
    told = explained(error, corpus_call())
    assert isinstance(told, UserError)
    assert str(told).startswith("stage corpus: ") and str(told).count("\n") == 0
    assert "No space left on device; free it or give another folder" in str(told)


@pytest.mark.parametrize(
    "number", [errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPERM, errno.ENOTDIR, errno.EEXIST]
)
@pytest.mark.parametrize("library", ["Python", "safetensors"])
def test_a_disk_or_folder_that_takes_nothing_is_the_users_to_mend(number: int, library: str) -> None:
    what = os.strerror(number)
    from_rust = RuntimeError(f"Error while serializing: I/O error: {what} (os error {number})")
    told = explained(OSError(number, what, "/results/x") if library == "Python" else from_rust, corpus_call())
    assert isinstance(told, UserError)
    assert f"{what}; free it or give another folder, then run again" in str(told) and "\n" not in str(told)


def test_a_folder_that_cannot_be_written_is_named() -> None:
    told = explained(PermissionError(errno.EACCES, "Permission denied", "/results/store"), corpus_call())
    assert isinstance(told, UserError)
    assert str(told).startswith("stage corpus: /results/store: Permission denied; ")


def test_tokens_without_an_embedding_are_the_users_to_mend() -> None:
    with pytest.raises(IndexError) as error:
        torch.nn.Embedding(3, 2)(torch.tensor([5]))
    told = explained(error.value, corpus_call())
    assert isinstance(told, UserError) and "no embedding" in str(told) and "\n" not in str(told)
    assert not isinstance(explained(IndexError("list index out of range"), corpus_call()), UserError)


def test_lack_of_memory_names_the_settings_that_help() -> None:
    import torch

    for error in (torch.OutOfMemoryError("CUDA out of memory"), MemoryError()):
        told = explained(error, corpus_call())
        assert isinstance(told, UserError) and "lower evaluation.batch_size" in str(told)


def test_another_system_error_is_a_failure() -> None:
    told = explained(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), corpus_call())
    assert isinstance(told, StageFailed) and "ConnectionResetError" in str(told)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.3, 0.6, 1.0, 1.5, 2.5, 6.0])
def test_workers_end_by_themselves_when_their_run_is_killed(tmp_path: Path, moment: float) -> None:
    mark = uuid.uuid4().hex
    code = "import sys; from tests.tiny import run_forever; run_forever(sys.argv[1])"
    environment = {**os.environ, MARK: mark, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "store")], env=environment)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    seconds = wait_until_gone(mark)
    assert seconds is not None, living(mark)
    assert held_locks(tmp_path) == []


def test_a_bar_in_a_worker_shows_nothing_and_takes_no_semaphore_that_a_kill_would_leave(tmp_path: Path) -> None:
    script = """
from benchmark.executors.worker import prepare
prepare(1)
from multiprocessing import resource_tracker
from tqdm.auto import tqdm
list(tqdm(range(3), desc="a bar"))
print(resource_tracker._resource_tracker._pid)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "None" and "a bar" not in done.stderr
