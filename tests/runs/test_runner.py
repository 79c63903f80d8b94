"""Running a suite from end to end: what a run makes, what it keeps, and how the next run completes a killed one."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.core.errors import UserError
from benchmark.core.files import write_atomically
from benchmark.core.signals import Stopped, listening
from benchmark.executors import local
from benchmark.executors.local import LocalExecutor
from benchmark.executors.protocol import Job
from benchmark.progress import presence
from benchmark.progress.events import Events
from benchmark.progress.presence import list_runs
from benchmark.progress.state import RunState
from benchmark.records.record import Record, read_record
from benchmark.runs.runner import Outcome, run_suite
from benchmark.store.artifacts import Store
from benchmark.store.versions import VERSIONS
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import Suite
from scripts import kill_and_resume
from scripts.runs import set_aside, under_way
from tests.tiny import InThisProcess, tiny_suite

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the tiny suite, made by worker processes."""
    results = tmp_path_factory.mktemp("results")
    outcome = run_suite(tiny_suite(tiny), results, results / "records", LocalExecutor(1), plain=True)
    assert (len(outcome.records), outcome.made, outcome.stages) == (
        2,
        2,
        8,
    )  # one corpus and one count of facts; all other stages once per method
    return results


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished results that a test may change."""
    return shutil.copytree(finished, tmp_path / "results")


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the stages that a run executes, by kind; they run in this process."""
    counts: Counter[str] = Counter()

    def run(executor: LocalExecutor, job: Job, events: Events) -> None:
        counts.update(call.stage for call in job.calls)
        InThisProcess().run(job, events)

    monkeypatch.setattr(LocalExecutor, "run", run)
    return counts


def again(tiny: Path, results: Path, **changes: Any) -> Outcome:
    return run_suite(tiny_suite(tiny, **changes), results, results / "records", plain=True)


def results_of(records: dict[str, Record]) -> dict[str, Any]:
    return {key: record.results() for key, record in records.items()}


def record_files(results: Path) -> list[Path]:
    return sorted((results / "records" / "tiny_test").glob("*.json"))


def artifact(results: Path, suite: Suite, stage: str) -> Path:
    """The folder of an artifact of the suite's first cell."""
    return Store(results / "store").path(make_plan(suite).cells[0].stages[stage])


def test_the_records_are_valid_and_make_a_board(tiny: Path, finished: Path) -> None:
    from leaderboard.board.assemble import build_board, load_records

    found = load_records(finished / "records" / "tiny_test")
    assert [path for path, _ in found] == record_files(finished) and len(found) == 2
    board = build_board(found)
    (table,) = board.tables
    assert {row.label.split()[0] for row in table.rows} == {"plain_matched", "random_dropout"}
    for path, record in found:
        assert record == read_record(path)
        assert record.training is not None
        assert (record.training.steps, record.training.effective_batch, record.seed) == (3, 4, 1)
        # 4 questions asked with 0, 1 and 5 examples and as choices
        assert (record.task.texts, record.task.clusters, record.task.questions) == (4, 4, 4 * (3 + 1))
        assert record.method.texts == (4 if record.method.name == "plain_matched" else 12)
        assert record.answers.rows == 16
        assert (
            set(record.cost) - {"facts"} == set(record.stages) - {"facts"} == {"corpus", "augment", "train", "evaluate"}
        )
        # A worker with torch in it takes hundreds of megabytes, and no stage of this model a gigabyte.
        assert all(50e6 < record.cost[stage].peak_memory_bytes < 2e9 for stage in ("train", "evaluate"))
        assert all(0 < cost.seconds < 600 for cost in record.cost.values())


def test_a_run_reports_trainings_that_start_over_because_the_code_changed(
    tiny: Path, tmp_path: Path, stages: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (train, _) = (call for call in make_plan(tiny_suite(tiny)).calls() if call.stage == "train")
    checkpoint = Store(tmp_path / "store").resume_folder(train) / "trainer/checkpoint-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "seal.json").write_text('{"files": {}, "resume": {}, "made_on": {"code_hash": "0"}}')
    again(tiny, tmp_path)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "start over" in line)
    assert "interrupted trainings that start over: 1;" in line and "code_hash" in line
    assert stages["train"] == 2


def test_a_second_run_does_nothing(tiny: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the run started a worker process")

    monkeypatch.setattr(local, "ProcessPoolExecutor", refuse)
    before = {path: path.stat().st_mtime_ns for path in sorted(results.rglob("*")) if path.is_file()}
    outcome = again(tiny, results)
    assert (len(outcome.records), outcome.made, outcome.stages) == (2, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in sorted(results.rglob("*")) if path.is_file()} == before


def test_a_suite_with_more_cells_runs_only_the_new_ones(tiny: Path, results: Path, stages: Counter[str]) -> None:
    outcome = again(tiny, results, seeds=[1, 2], methods=["plain_matched"])
    assert (len(outcome.records), outcome.made) == (2, 1)
    assert stages == {"augment": 1, "train": 1, "evaluate": 1}


def test_a_record_changed_by_hand_is_written_again_from_its_artifacts(
    tiny: Path, results: Path, stages: Counter[str]
) -> None:
    path = record_files(results)[0]
    original = read_record(path)
    path.write_text(path.read_text().replace('"loss_last": ', '"loss_last": 9'))
    outcome = again(tiny, results)
    assert (outcome.made, outcome.stages, stages) == (1, 0, Counter())
    assert read_record(path).results() == original.results()


def test_answers_changed_by_hand_are_copied_again(tiny: Path, results: Path, stages: Counter[str]) -> None:
    path = record_files(results)[0]
    original = read_record(path)
    answers = path.with_name(original.answers.file)
    answers.write_bytes(answers.read_bytes()[:-1] + b"x")
    assert again(tiny, results).made == 1
    assert read_record(path).results() == original.results()


@pytest.mark.parametrize("stage", ["corpus", "augment", "train", "evaluate"])
def test_a_missing_artifact_is_made_again_for_a_record_that_needs_it(
    tiny: Path, results: Path, stages: Counter[str], stage: str
) -> None:
    before = results_of(again(tiny, results).records)
    for path in record_files(results):
        path.unlink()
    shutil.rmtree(artifact(results, tiny_suite(tiny), stage))
    outcome = again(tiny, results)
    assert (outcome.made, outcome.stages, stages) == (2, 1, {stage: 1})
    assert results_of(outcome.records) == before


@pytest.mark.parametrize(
    ("stage", "file"), [("train", "training.json"), ("evaluate", "answers.parquet"), ("evaluate", "results.json")]
)
def test_an_artifact_changed_by_hand_is_made_again(
    tiny: Path, results: Path, stages: Counter[str], stage: str, file: str
) -> None:
    before = results_of(again(tiny, results).records)
    for path in record_files(results):
        path.unlink()
    spoilt = artifact(results, tiny_suite(tiny), stage) / file
    spoilt.write_bytes(spoilt.read_bytes().replace(b"1", b"2"))
    outcome = again(tiny, results)
    assert (outcome.made, stages) == (2, {stage: 1})
    assert results_of(outcome.records) == before


def test_runs_in_two_folders_write_the_same_records(
    tiny: Path, finished: Path, tmp_path: Path, stages: Counter[str]
) -> None:
    outcome = again(tiny, tmp_path)
    assert stages == {"corpus": 1, "augment": 2, "facts": 1, "train": 2, "evaluate": 2}
    assert results_of(outcome.records) == results_of(again(tiny, finished).records)
    assert [path.name for path in record_files(tmp_path)] == [path.name for path in record_files(finished)]
    for path, other in zip(record_files(tmp_path), record_files(finished), strict=True):
        name = read_record(path).answers.file
        assert (path.parent / name).read_bytes() == (other.parent / name).read_bytes()


def test_a_record_is_written_as_soon_as_its_cell_is_done(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_before_the_second_training(executor: LocalExecutor, job: Job, events: Events) -> None:
        trains = [call for call in job.calls if call.stage == "train"]
        InThisProcess().run(replace(job, calls=job.calls[: job.calls.index(trains[1])]), events)
        raise UserError("the power is off")

    monkeypatch.setattr(LocalExecutor, "run", stop_before_the_second_training)
    with pytest.raises(UserError, match="the power is off"):
        again(tiny, tmp_path)
    assert len(record_files(tmp_path)) == 1


@pytest.mark.parametrize("which", ["results", "records"])
def test_the_message_names_a_folder_that_cannot_be_created(tiny: Path, tmp_path: Path, which: str) -> None:
    (tmp_path / "file").write_text("")
    folders = {"results": tmp_path / "results", "records": tmp_path / "records", which: tmp_path / "file"}
    with pytest.raises(UserError, match=r"/file/[a-z_]+: [A-Z][a-z ]+; give a folder that can be written with --res"):
        run_suite(tiny_suite(tiny), folders["results"], folders["records"], plain=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_the_message_names_a_folder_that_cannot_be_written(tiny: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"Permission denied; "):
        again(tiny, tmp_path)


# --- what a killed run left


def test_a_replaced_record_is_removed_by_the_next_run_if_a_kill_prevented_it(
    tiny: Path, results: Path, tmp_path: Path, stages: Counter[str]
) -> None:
    (tmp_path / "held_out.txt").write_text("Words that no corpus has.", encoding="utf-8")
    text = {"name": "words", "text": str(tmp_path / "held_out.txt")}
    folder = results / "records" / "tiny_test"
    replaced = {path: path.read_bytes() for path in folder.iterdir()}
    again(tiny, results, retention=[text])
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(kept) == len(replaced) == 4 and not kept.keys() & replaced.keys()
    for path, content in replaced.items():
        path.write_bytes(content)
    foreign = folder / "tiny_test-of-another-suite.json"
    foreign.write_text("whatever it is")
    assert again(tiny, results, retention=[text]).made == 0
    foreign.unlink()
    assert {path: path.read_bytes() for path in folder.iterdir()} == kept


def test_the_next_run_removes_answers_without_a_record_and_half_written_files(
    tiny: Path, results: Path, stages: Counter[str]
) -> None:
    folder = results / "records" / "tiny_test"
    before = sorted(folder.iterdir())
    shutil.copy(next(folder.glob("*.parquet")), folder / "of-a-method-that-left-the-suite-0123abcd.answers.parquet")
    (folder / ".of-another-0123abcd.json.0123456789abcdef").write_text("half")
    assert again(tiny, results).made == 0
    assert sorted(folder.iterdir()) == before


def test_a_replaced_record_that_another_run_removes_first_is_no_error(
    tiny: Path, results: Path, tmp_path: Path, stages: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.runs import recording as module

    (tmp_path / "held_out.txt").write_text("Words that no corpus has.", encoding="utf-8")
    older = set(record_files(results))

    def gone(path: Path) -> Record:
        if path in older:
            path.unlink(missing_ok=True)
        return read_record(path)

    monkeypatch.setattr(module, "read_record", gone)
    text = {"name": "words", "text": str(tmp_path / "held_out.txt")}
    assert again(tiny, results, retention=[text]).made == 2
    assert len(record_files(results)) == 2 and not older & set(record_files(results))


def test_a_record_that_another_run_wrote_meanwhile_is_kept(
    tiny: Path, results: Path, stages: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {path: path.read_bytes() for path in record_files(results)}
    content = {path: path.read_bytes() for path in (results / "records" / "tiny_test").iterdir()}
    for path in content:
        path.unlink()
    locked = Store.locked

    @contextmanager
    def after_another(store: Store, name: str, wait: bool = True) -> Iterator[bool]:
        with locked(store, name, wait) as held:
            if name == "records":
                for path, there in content.items():
                    path.write_bytes(there)
            yield held

    monkeypatch.setattr(Store, "locked", after_another)
    assert again(tiny, results).made == 2
    assert {path: path.read_bytes() for path in record_files(results)} == written, "with the times of the other run"


def test_ctrl_c_ends_the_run_after_the_record_that_is_being_written(
    tiny: Path, results: Path, stages: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.runs import recording as module

    before = {path.name: read_record(path).results() for path in record_files(results)}
    for path in (results / "records" / "tiny_test").iterdir():
        path.unlink()

    def interrupted(path: Path, text: str, swept: bool) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        write_atomically(path, text)

    monkeypatch.setattr(module, "write_atomically", interrupted)
    with listening(), pytest.raises(Stopped):
        again(tiny, results)
    (path,) = record_files(results)
    assert read_record(path).results() == before[path.name]
    assert len(list(path.parent.iterdir())) == 2, "the record and its answers"


def test_the_message_names_an_artifact_that_was_removed_during_the_run(
    tiny: Path, results: Path, stages: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.runs import recording as module

    for path in record_files(results):
        path.unlink()
    gone = artifact(results, tiny_suite(tiny), "train")
    write = module._write_answers

    def remove(*arguments: Any) -> Any:
        shutil.rmtree(gone)
        return write(*arguments)

    monkeypatch.setattr(module, "_write_answers", remove)
    with pytest.raises(UserError, match=rf"{gone.name}/training.json: is gone; run the suite again"):
        again(tiny, results)


def test_the_next_run_removes_what_killed_processes_left_in_the_store(
    tiny: Path, results: Path, stages: Counter[str]
) -> None:
    record_files(results)[0].unlink()
    (left := results / "store" / ".tmp" / "train-of_a_suite_that_changed").mkdir(parents=True)
    (left / "model.safetensors").write_bytes(bytes(1000))
    again(tiny, results)
    assert list((results / "store" / ".tmp").iterdir()) == []


# --- retention


def test_forgetting_is_the_loss_against_the_untouched_model(
    tiny: Path, results: Path, tmp_path: Path, stages: Counter[str]
) -> None:
    from leaderboard.board.assemble import build_board, load_records

    (tmp_path / "held_out.txt").write_text("Words that no corpus has, and a few more of them.", encoding="utf-8")
    text = {"name": "words", "text": str(tmp_path / "held_out.txt")}
    task = {"name": "choice", "lm_eval": "biography_major_choice", "metric": "acc", "limit": 4}
    outcome = again(tiny, results, retention=[text, task])
    assert stages == {"retain": 3}, "the untouched model once, each trained model once, and no other stage"
    assert len(record_files(results)) == 2, "those without retention were replaced: a board cannot hold both"
    store = Store(results / "store")
    for cell in outcome.plan.cells:
        record = outcome.records[cell.key]
        before, after = (
            json.loads((store.path(cell.stages[role]) / "retention.json").read_text())
            for role in ("untouched", "retained")
        )
        assert {name: (info.before, info.after) for name, info in record.retention.items()} == {
            name: (before[name]["value"], after[name]["value"]) for name in ("words", "choice")
        }
        words, choice = record.retention["words"], record.retention["choice"]
        assert words.forgetting == pytest.approx(words.after - words.before, abs=1e-6) != 0
        assert choice.forgetting == pytest.approx(choice.before - choice.after, abs=1e-6)
        assert words.measured["text"] == hashlib.sha256((tmp_path / "held_out.txt").read_bytes()).hexdigest()
        assert {"untouched", "retained"} < set(record.cost) == set(record.stages)
        assert record.results()["retention"]["words"]["forgetting"] == words.forgetting
        assert str(tmp_path) not in record.model_dump_json()
    with_it = [path for path in record_files(results) if '"retention"' in path.read_text()]
    assert len(with_it) == 2
    board = build_board([found for found in load_records(results / "records") if found[0] in with_it])
    assert [measured.label for measured in board.tables[0].held_out] == ["words", "choice"]
    assert again(tiny, results, retention=[text, task]).made == 0


def test_a_record_waits_for_the_retention_stages_of_its_cell(
    tiny: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "held_out.txt").write_text("Words that no corpus has.", encoding="utf-8")
    text = {"name": "words", "text": str(tmp_path / "held_out.txt")}

    def with_retention() -> int:
        return sum(bool(read_record(file).retention) for file in record_files(results))

    def stop_early(executor: LocalExecutor, job: Job, events: Events) -> None:
        untouched, first, second = job.calls
        assert not untouched.inputs and first.inputs and second.inputs
        InThisProcess().run(replace(job, calls=[untouched]), events)
        assert with_retention() == 0
        InThisProcess().run(replace(job, calls=[second]), events)
        assert with_retention() == 1
        raise UserError("the power is off")

    monkeypatch.setattr(LocalExecutor, "run", stop_early)
    with pytest.raises(UserError, match="the power is off"):
        again(tiny, results, retention=[text])


# --- the command, killed


def suite_file(tiny: Path, folder: Path) -> str:
    content = tiny_suite(tiny).model_dump(mode="json", by_alias=True, exclude_none=True)
    (content["recipe"],) = content["recipe"]  # a file has a single recipe
    (folder / "suite.yaml").write_text(yaml.safe_dump(content))
    return str(folder / "suite.yaml")


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("the condition did not become true in time")


@pytest.mark.slow
def test_kills_at_random_moments_change_no_record(tmp_path: Path, capsys: Any) -> None:
    code = kill_and_resume.main(["--kills", "5", "--seed", "3", "--folder", str(tmp_path / "work")])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "2 records, 0 differ after 5 kills; 0 kills left something" in shown
    _, by_stage = shown.split("stage under way")
    for kind in VERSIONS:
        assert re.search(rf"^{kind} +\d+$", by_stage, re.MULTILINE), "the suite has every kind of stage"


def test_a_kill_is_aimed_at_a_stage_that_has_not_finished(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for folder, kinds in ((undisturbed, ("corpus", "train", "retain")), (killed, ("corpus", "train"))):
        for kind in kinds:
            (artifact := folder / "store" / kind / "0123").mkdir(parents=True)
            (artifact / "manifest.json").write_text('{"cost": {"seconds": 7.0}}')
    rng = random.Random(1)
    moments = [kill_and_resume.draw(rng, number, undisturbed, killed, 60.0) for number in range(400)]
    assert {moment.stage for moment in moments[::2]} == {None}
    assert {moment.stage for moment in moments[1::2]} == {"retain"}
    assert 55 < max(moment.seconds for moment in moments[::2]) <= 60
    assert 6 < max(moment.seconds for moment in moments[1::2]) <= 7
    assert all(moment.stage is None for moment in (kill_and_resume.draw(rng, 1, killed, killed, 60.0),))


def test_what_an_earlier_kill_left_is_not_counted_again(tmp_path: Path) -> None:
    (tmp_path / "store" / ".tmp" / "train-0123").mkdir(parents=True)
    assert under_way(tmp_path) == ["train"]
    set_aside(tmp_path)
    assert under_way(tmp_path) == []
    (tmp_path / "store" / ".tmp" / "curve-0123").mkdir(parents=True)
    assert under_way(tmp_path) == ["curve"]


@pytest.mark.slow
def test_a_finished_suite_takes_the_command_less_than_ten_seconds(tiny: Path, finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmark", "run", suite_file(tiny, tmp_path), "--results", str(finished)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert time.monotonic() - began < 10
    assert "2 cells, nothing to do, all records exist" in done.stdout


def test_slow_bfloat16_on_a_cpu_is_reported_and_changes_nothing(
    tiny: Path,
    tmp_path: Path,
    stages: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    note = "note: recipe.autocast: this CPU computes in bfloat16 300 times as slowly as in float32; dtype: float32"
    recipe = {"adaptation": "lora", "autocast": "bfloat16", "batch_size": 4}
    for ratio, expected in ((300.0, True), (0.5, False)):
        monkeypatch.setattr("benchmark.doctor.bfloat16_slowdown", lambda ratio=ratio: ratio)
        results = tmp_path / str(ratio)
        outcome = again(tiny, results, recipe=recipe)
        assert (note in capsys.readouterr().err) is expected
        assert {record.training.recipe["autocast"] for record in outcome.records.values() if record.training} == {
            "bfloat16"
        }
        again(tiny, results, recipe=recipe)
        assert note not in capsys.readouterr().err, "a finished run measures nothing"


def test_status_lists_a_run_while_it_runs_and_no_longer(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "EVERY", 0.01)
    store, seen = Store(tmp_path / "store"), list[RunState]()

    def look(executor: LocalExecutor, job: Job, events: Events) -> None:
        first = next(number for number, call in enumerate(job.calls) if call.stage == "evaluate") + 1
        InThisProcess().run(replace(job, calls=job.calls[:first]), events)
        seen.append(list_runs(store)[0][0].state)
        wait_for(lambda: list_runs(store)[0][0].state.cells_done)
        seen.append(list_runs(store)[0][0].state)
        InThisProcess().run(replace(job, calls=job.calls[first:]), events)

    monkeypatch.setattr(LocalExecutor, "run", look)
    suite = tiny_suite(tiny, methods=[{"name": "random_dropout", "alpha": 0.3}, "plain_matched"])
    outcome = run_suite(suite, tmp_path, tmp_path / "records", plain=True, price=3600.0)
    assert len(outcome.records) == 2
    state = seen[-1]
    assert (state.suite, state.cells, state.cells_done, state.stages) == (suite.name, 2, 1, outcome.stages)
    assert 0 < state.stages_done < state.stages and state.under_way == [] and state.price == 3600.0
    assert state.worker_seconds > 0 and state.device_seconds == 0
    assert state.seconds_left is not None and state.seconds_left > 0, "one stage of each kind has finished"
    assert list_runs(store) == ([], []) and list((tmp_path / "store/.runs").iterdir()) == []
