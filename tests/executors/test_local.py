"""Worker processes: how a stage's failure is raised, and that no process outlives its run."""

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
from benchmark.executors.local import LocalExecutor
from benchmark.executors.protocol import Job
from benchmark.executors.worker import explained
from benchmark.progress.events import Events
from benchmark.store.artifacts import StageCall, Store
from scripts.runs import MARK, held_locks, living, wait_until_gone, workers_of
from tests.tiny import Heard, faulty_work

ROOT = Path(__file__).parents[2]


def corpus_call(people: int = 3, **params: Any) -> StageCall:
    """A stage that needs no model. With more people than the data has, only the stage itself finds the error."""
    return StageCall(
        "corpus", 1, {"people": people, **params}, where={"entry": {"name": "biography", "people": people}}
    )


def make(store: Store, calls: list[StageCall], workers: int = 1) -> list[StageCall]:
    """Make artifacts in worker processes; returns the stages in the order in which they finished."""
    heard = Heard()
    LocalExecutor(workers).run(Job(store, calls), Events(heard))
    return heard.finished


def test_a_user_error_in_a_stage_is_raised_and_finished_artifacts_stay(tmp_path: Path) -> None:
    store, good, bad = Store(tmp_path), corpus_call(), corpus_call(people=5000)
    with pytest.raises(UserError, match=r"^task biography: people: 5000 asked for, but the data has 100"):
        make(store, [good, bad])
    assert store.verified(good) and not store.has(bad)
    assert held_locks(tmp_path.parent) == []


def test_a_crash_of_a_stage_is_raised_with_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_work", faulty_work)
    call = corpus_call(fault="crash")
    with pytest.raises(StageFailed) as caught:
        make(Store(tmp_path), [call])
    first, *rest = str(caught.value).splitlines()
    assert first == f"stage corpus ({call.key}) failed:"
    assert rest[0].startswith("Traceback") and rest[-1] == "tests.tiny.TwoWords: something unforeseen"
    assert any('raise TwoWords("something"' in line for line in rest)


def test_a_killed_worker_is_reported_as_a_probable_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_work", faulty_work)
    store = Store(tmp_path / "store")
    with pytest.raises(StageFailed, match=r"^stage corpus: a worker process died, most often for lack of memory; run"):
        make(store, [corpus_call(fault="kill")])
    assert held_locks(tmp_path) == []


def test_when_a_worker_dies_the_others_end_and_leave_nothing_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_work", faulty_work)
    monkeypatch.setenv(MARK, mark := uuid.uuid4().hex)
    store = Store(tmp_path / "store")
    calls = [corpus_call(fault="never end"), corpus_call(fault="kill once another is at work")]
    with pytest.raises(StageFailed, match="a worker process died"):
        make(store, calls, workers=2)
    monkeypatch.delenv(MARK)
    assert workers_of(mark) == [], "they are gone before the error is raised, though they ignore SIGTERM"
    assert list((tmp_path / "store" / ".tmp").iterdir()) == [] and held_locks(tmp_path) == []


def test_the_death_of_a_worker_that_the_pool_does_not_watch_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(ProcessPoolExecutor):
        def _adjust_process_count(self) -> None:
            time.sleep(0.5)  # the pool's thread starts to wait for the earlier workers before this one exists
            super()._adjust_process_count()

    monkeypatch.setattr(local, "ProcessPoolExecutor", Late)
    monkeypatch.setattr(local, "_work", faulty_work)
    calls = [corpus_call(fault="never end"), corpus_call(fault="kill once another is at work")]
    with pytest.raises(StageFailed, match="^stage corpus: a worker process died"):
        make(Store(tmp_path / "store"), calls, workers=2)


def test_workers_ignore_the_signals_of_a_terminal_or_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_work", faulty_work)
    store, call = Store(tmp_path / "store"), corpus_call(fault="signals to itself")
    assert make(store, [call]) == [call] and store.verified(call)


def test_a_signal_that_a_library_swallowed_still_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_work", faulty_work)
    with listening():
        with suppress(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped):
            make(Store(tmp_path / "store"), [corpus_call(fault="never end")])


def test_the_worker_of_a_stage_is_reported_before_its_steps(tmp_path: Path) -> None:
    heard = Heard()
    calls = [corpus_call(), corpus_call(people=4)]
    LocalExecutor(1).run(Job(Store(tmp_path), calls), Events(heard))
    (worker,) = {where for _, where in heard.started}
    assert worker.startswith("worker ") and int(worker.split()[1]) != os.getpid()
    for call in calls:
        assert next(event for event in heard.all if event[0] == call.key) == (call.key, "started", worker)


def test_a_stage_waits_for_its_inputs_and_is_reported_when_finished(tmp_path: Path) -> None:
    store, texts = Store(tmp_path), corpus_call()
    params = {"method": "plain", "parameters": {}, "copies": 1, "seed": 1}
    augmented = [StageCall("augment", 1, {**params, "seed": seed}, {"corpus": texts}) for seed in (1, 2)]
    heard = Heard()
    LocalExecutor(2).run(Job(store, [*augmented, texts]), Events(heard))
    first, *others = heard.finished
    assert first == texts and {call.key for call in others} == {call.key for call in augmented}
    assert all(store.verified(call) for call in heard.finished)
    assert {(call.stage, done, total) for call, done, total in heard.steps} <= {("augment", 1, 1), ("corpus", 1, 1)}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/results/x"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["Python", "safetensors"],
)
def test_a_full_disk_is_a_user_error(error: Exception) -> None:
    raised = explained(error, corpus_call())
    assert isinstance(raised, UserError)
    assert str(raised).startswith("stage corpus: ") and str(raised).count("\n") == 0
    assert "No space left on device; free it or give another folder" in str(raised)


@pytest.mark.parametrize(
    "number", [errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPERM, errno.ENOTDIR, errno.EEXIST]
)
@pytest.mark.parametrize("library", ["Python", "safetensors"])
def test_a_disk_or_folder_that_cannot_be_written_is_a_user_error(number: int, library: str) -> None:
    what = os.strerror(number)
    from_rust = RuntimeError(f"Error while serializing: I/O error: {what} (os error {number})")
    raised = explained(OSError(number, what, "/results/x") if library == "Python" else from_rust, corpus_call())
    assert isinstance(raised, UserError)
    assert f"{what}; free it or give another folder, then run again" in str(raised) and "\n" not in str(raised)


def test_the_message_names_the_folder_that_cannot_be_written() -> None:
    raised = explained(PermissionError(errno.EACCES, "Permission denied", "/results/store"), corpus_call())
    assert isinstance(raised, UserError)
    assert str(raised).startswith("stage corpus: /results/store: Permission denied; ")


def test_tokens_without_an_embedding_are_a_user_error() -> None:
    with pytest.raises(IndexError) as error:
        torch.nn.Embedding(3, 2)(torch.tensor([5]))
    raised = explained(error.value, corpus_call())
    assert isinstance(raised, UserError) and "no embedding" in str(raised) and "\n" not in str(raised)
    assert not isinstance(explained(IndexError("list index out of range"), corpus_call()), UserError)


@pytest.mark.parametrize(
    ("stage", "remedy"),
    [
        ("evaluate", "lower evaluation.batch_size or use a smaller model"),
        ("score", "lower scoring.tokens_per_batch or use a smaller model"),
        ("write", "lower batch_size of the writer or use a smaller model"),
        ("corpus", "use fewer --workers, or use a smaller model"),
    ],
)
def test_running_out_of_memory_names_the_settings_that_help_this_stage(stage: str, remedy: str) -> None:
    import torch

    for error in (torch.OutOfMemoryError("CUDA out of memory"), MemoryError()):
        raised = explained(error, StageCall(stage, 1, {}))
        assert isinstance(raised, UserError) and str(raised).endswith(remedy)


def test_other_system_errors_are_failures() -> None:
    raised = explained(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), corpus_call())
    assert isinstance(raised, StageFailed) and "ConnectionResetError" in str(raised)


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


def test_a_bar_in_a_worker_is_hidden_and_takes_no_semaphore(tmp_path: Path) -> None:
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
