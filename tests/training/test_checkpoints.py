"""A training that is killed and resumed must end with the same bytes as one that runs through."""

import json
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from benchmark.core.errors import UserError
from benchmark.data.texts import AugmentedText, write_lines
from benchmark.stages.train import run
from benchmark.store.artifacts import StageCall, Store, file_hashes
from benchmark.training import checkpoints
from benchmark.training.interrupted import made_elsewhere
from tests.tiny import biographies, make_tiny_model, train_call

STEPS = 12


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def checkpoints_at_every_step_that_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS_APART", 0.0)
    monkeypatch.setattr(checkpoints, "LARGEST_SHARE", 1e9)


def texts_with_values() -> list[AugmentedText]:
    return [AugmentedText(t.id, 0, t.text, ((0, len(t.text), n / 4),)) for n, t in enumerate(biographies(5))]


class Attempts:
    """Attempts at one training: the files it reads and writes, and the steps of the last attempt."""

    def __init__(self, folder: Path, call: StageCall) -> None:
        self.folder, self.call = folder, call
        self.resume_folder = folder / "begun"
        self.steps: list[int] = []
        (folder / "texts").mkdir(parents=True)
        write_lines(folder / "texts/augmented.jsonl", texts_with_values())

    def run(self, kill_at: int | None = None) -> None:
        """Train; with `kill_at` only until that step is done, as if the process had been killed there."""
        self.steps = []

        def progress(done: int, total: int, tokens: int) -> None:
            self.steps.append(done)
            if done == kill_at:
                raise KilledError

        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        run(self.call, {"texts": self.folder / "texts"}, out, progress, self.resume_folder)

    def written(self) -> dict[str, bytes]:
        out = self.folder / "out"
        return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}


def call_for(tiny: Path, **changes: Any) -> StageCall:
    return train_call(tiny, budget={"steps": STEPS}, **changes)


TRAININGS: dict[str, dict[str, Any]] = {
    "in full": {},
    "in full, with snapshots for a curve": {"checkpoints": [2, 5, 9]},
    "by LoRA with dropout": {"recipe": {"adaptation": "lora", "lora_dropout": 0.3}},
    "in micro-batches": {"recipe": {"micro_batch": 2, "schedule": "cosine"}},
    "with noise on the embeddings": {"training": {"embedding_noise": 5.0}},
    "with replaced tokens": {"training": {"replaced": [0.1, 0.3], "replacement": "random"}},
    "on selected tokens": {"training": {"loss": "selected", "selected": 0.5}},
}


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training_killed_twice_ends_with_the_bytes_of_an_uninterrupted_one(
    tiny: Path, tmp_path: Path, kind: str
) -> None:
    whole, killed = (Attempts(tmp_path / name, call_for(tiny, **TRAININGS[kind])) for name in ("whole", "killed"))
    whole.run()
    for step in (4, 8):
        with pytest.raises(KilledError):
            killed.run(kill_at=step)
    killed.run()
    assert whole.steps == [*range(1, STEPS + 1)]
    # A training killed at the end of step 8 has its last checkpoint at step 7.
    assert killed.steps == [*range(8, STEPS + 1)]
    assert killed.written() == whole.written()


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
@pytest.mark.parametrize("pack", [pickle.dump, torch.save])
def test_no_code_in_a_checkpoint_runs_even_if_its_seal_is_good(
    tiny: Path, tmp_path: Path, name: str, pack: Callable[[Any, IO[bytes]], None]
) -> None:
    attempts = Attempts(tmp_path / "attempts", call_for(tiny))
    with pytest.raises(KilledError):
        attempts.run(kill_at=6)
    (checkpoint,) = (attempts.resume_folder / "trainer").iterdir()
    mark = tmp_path / "mark"
    with (checkpoint / name).open("wb") as file:
        pack(Trap(mark), file)
    change_the_seal(checkpoint, "files", file_hashes(checkpoint, but="seal.json"))
    with pytest.raises(pickle.UnpicklingError, match="(?i)weights.only"):
        attempts.run()
    assert not mark.exists()
    with (checkpoint / name).open("rb") as file, suppress(Exception):
        torch.load(file, weights_only=False)
    assert mark.exists(), "the trap works where it is not disarmed"


def test_the_arguments_pickled_in_a_checkpoint_are_not_read(tiny: Path, tmp_path: Path) -> None:
    attempts = Attempts(tmp_path / "attempts", call_for(tiny))
    with pytest.raises(KilledError):
        attempts.run(kill_at=6)
    (checkpoint,) = (attempts.resume_folder / "trainer").iterdir()
    mark = tmp_path / "mark"
    (checkpoint / "training_args.bin").write_bytes(pickle.dumps(Trap(mark)))
    change_the_seal(checkpoint, "files", file_hashes(checkpoint, but="seal.json"))
    attempts.run()
    assert attempts.steps[0] == 6 and not mark.exists()


def test_an_interrupted_training_from_another_environment_is_listed_with_the_fields_that_differ(
    tiny: Path, tmp_path: Path
) -> None:
    store, call = Store(tmp_path / "store"), call_for(tiny)
    attempts = Attempts(tmp_path / "attempts", call)
    with pytest.raises(KilledError):
        attempts.run(kill_at=6)
    shutil.copytree(attempts.resume_folder, store.resume_folder(call))
    assert made_elsewhere(store, [call]) == {}
    (checkpoint,) = (store.resume_folder(call) / "trainer").iterdir()
    made_on = json.loads((checkpoint / "seal.json").read_text())["made_on"]
    change_the_seal(checkpoint, "made_on", {**made_on, "code_hash": "0" * 64, "python": "3.9.0"})
    assert made_elsewhere(store, [call]) == {call.key: {"code_hash", "python"}}
    assert made_elsewhere(store, []) == {}
    (checkpoint / "seal.json").write_text('{"files": {')
    assert made_elsewhere(store, [call]) == {}, "half written: there is nothing to resume from"


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def change_the_seal(checkpoint: Path, key: str, value: Any) -> None:
    seal = json.loads((checkpoint / "seal.json").read_text())
    seal[key] = value
    (checkpoint / "seal.json").write_text(json.dumps(seal))


DAMAGES = {
    "a bit of the optimizer's state is flipped": lambda folder: flip_a_bit(folder / "optimizer.pt"),
    "a file is missing": lambda folder: (folder / "rng_state.pth").unlink(),
    "its seal was never written": lambda folder: (folder / "seal.json").unlink(),
    "its seal is torn": lambda folder: (folder / "seal.json").write_text('{"files": {'),
    "it was made with other libraries": lambda folder: change_the_seal(folder, "made_on", {"packages": {}}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_training_restarts_if_its_checkpoint_is_damaged_or_from_another_environment(
    tiny: Path, tmp_path: Path, damage: str
) -> None:
    whole, killed = (Attempts(tmp_path / name, call_for(tiny)) for name in ("whole", "killed"))
    whole.run()
    with pytest.raises(KilledError):
        killed.run(kill_at=6)
    (checkpoint,) = (killed.resume_folder / "trainer").iterdir()
    DAMAGES[damage](checkpoint)
    killed.run()
    assert killed.steps == [*range(1, STEPS + 1)]
    assert killed.written() == whole.written()


def test_a_training_that_ended_in_a_user_error_resumes_after_the_remedy(tiny: Path, tmp_path: Path) -> None:
    attempts = Attempts(tmp_path, call_for(tiny))

    def full(*_: Any) -> None:
        raise UserError("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.stages.train._save", full)
        with pytest.raises(UserError):
            attempts.run()
    attempts.run()
    assert attempts.steps == [STEPS]


def test_checkpoints_that_take_long_to_write_are_further_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first after 60 seconds; it takes 6 seconds, so the next come every 300, which is a fiftieth of the time."""
    monkeypatch.setattr(checkpoints, "SECONDS_APART", 60.0)
    monkeypatch.setattr(checkpoints, "LARGEST_SHARE", 0.02)
    now, sealed = 0.0, []
    monkeypatch.setattr("time.monotonic", lambda: now)

    class Kept(checkpoints.Checkpoints):
        def seal(self, step: int, info: checkpoints.ResumeInfo) -> None:
            sealed.append((step, info.seconds))

    class State:
        global_step, max_steps = 0, 10_000

    class Control:
        should_log, should_save = True, False

    callback = checkpoints.TimedCheckpoints(Kept(tmp_path, {}), checkpoints.ResumeInfo(1, seconds=1000.0))
    for step in range(1, 1001):
        now += 1
        State.global_step, Control.should_save = step, False
        callback.on_step_end(None, State, Control)
        if Control.should_save:
            now += 6
            callback.on_save(None, State, Control)
    assert sealed == [(60, 1066.0), (360, 1372.0), (660, 1678.0), (960, 1984.0)]
