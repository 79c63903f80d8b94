"""A training that was cut off must end with the same bytes as one that was not."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.data.texts import AugmentedText, write_lines
from benchmark.stages.train import run
from benchmark.store.artifacts import StageCall, Store
from benchmark.training import checkpoints
from benchmark.training.begun import of_other_making
from tests.tiny import biographies, make_tiny_model, train_call

STEPS = 12


class CutOffError(Exception):
    pass


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def a_checkpoint_at_every_step_that_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SECONDS_APART", 0.0)
    monkeypatch.setattr(checkpoints, "COST", 1e9)


def texts_with_values() -> list[AugmentedText]:
    return [AugmentedText(t.id, 0, t.text, ((0, len(t.text), n / 4),)) for n, t in enumerate(biographies(5))]


class Place:
    """Where one training is tried: what it reads, what it leaves, and the steps that it was seen to do."""

    def __init__(self, folder: Path, call: StageCall) -> None:
        self.folder, self.call = folder, call
        self.begun = folder / "begun"
        self.steps: list[int] = []
        (folder / "texts").mkdir(parents=True)
        write_lines(folder / "texts/augmented.jsonl", texts_with_values())

    def run(self, cut_at: int | None = None) -> None:
        """Train; with `cut_at` until that step is done, as if the process had been killed there."""
        self.steps = []

        def progress(done: int, total: int, tokens: int) -> None:
            self.steps.append(done)
            if done == cut_at:
                raise CutOffError

        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        run(self.call, {"texts": self.folder / "texts"}, out, progress, self.begun)

    def written(self) -> dict[str, bytes]:
        out = self.folder / "out"
        return {str(file.relative_to(out)): file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}


def call_for(tiny: Path, **changes: Any) -> StageCall:
    return train_call(tiny, budget={"steps": STEPS}, **changes)


WAYS: dict[str, dict[str, Any]] = {
    "in full": {},
    "in full, with points of a curve": {"checkpoints": [2, 5, 9]},
    "by LoRA with dropout": {"recipe": {"adaptation": "lora", "lora_dropout": 0.3}},
    "in micro-batches": {"recipe": {"micro_batch": 2, "schedule": "cosine"}},
    "with noise on the embeddings": {"training": {"embedding_noise": 5.0}},
    "with replaced tokens": {"training": {"replaced": [0.1, 0.3], "replacement": "random"}},
    "on selected tokens": {"training": {"loss": "selected", "selected": 0.5}},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_training_cut_off_twice_ends_with_the_bytes_of_one_never_stopped(
    tiny: Path, tmp_path: Path, way: str
) -> None:
    whole, cut = (Place(tmp_path / name, call_for(tiny, **WAYS[way])) for name in ("whole", "cut"))
    whole.run()
    for step in (4, 8):
        with pytest.raises(CutOffError):
            cut.run(cut_at=step)
    cut.run()
    assert whole.steps == [*range(1, STEPS + 1)]
    # What is cut off in step 8 had its last checkpoint at step 7.
    assert cut.steps == [*range(8, STEPS + 1)]
    assert cut.written() == whole.written()


def test_nothing_of_a_checkpoint_is_pickled(tiny: Path, tmp_path: Path) -> None:
    place = Place(tmp_path, call_for(tiny, recipe={"adaptation": "lora"}))
    with pytest.raises(CutOffError):
        place.run(cut_at=3)
    files = [file for file in place.begun.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".md"}
    assert any(file.name == "optimizer.safetensors" for file in files)


def test_a_training_begun_with_other_code_is_told_of_with_what_differs(tiny: Path, tmp_path: Path) -> None:
    store, call = Store(tmp_path / "store"), call_for(tiny)
    place = Place(tmp_path / "place", call)
    with pytest.raises(CutOffError):
        place.run(cut_at=6)
    shutil.copytree(place.begun, store.begun(call))
    assert of_other_making(store, [call]) == {}
    (checkpoint,) = (store.begun(call) / "trainer").iterdir()
    made_on = json.loads((checkpoint / "seal.json").read_text())["made_on"]
    change_the_seal(checkpoint, "made_on", {**made_on, "code_hash": "0" * 64, "python": "3.9.0"})
    assert of_other_making(store, [call]) == {call.key: {"code_hash", "python"}}
    assert of_other_making(store, []) == {}
    (checkpoint / "seal.json").write_text('{"files": {')
    assert of_other_making(store, [call]) == {}, "half written: nothing that could have been gone on from"


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def change_the_seal(checkpoint: Path, key: str, value: Any) -> None:
    seal = json.loads((checkpoint / "seal.json").read_text())
    seal[key] = value
    (checkpoint / "seal.json").write_text(json.dumps(seal))


SPOILED = {
    "a bit of the optimizer's state is flipped": lambda folder: flip_a_bit(folder / "optimizer.safetensors"),
    "a file is gone": lambda folder: (folder / "random.safetensors").unlink(),
    "its seal was never written": lambda folder: (folder / "seal.json").unlink(),
    "its seal is torn": lambda folder: (folder / "seal.json").write_text('{"files": {'),
    "it was made with other libraries": lambda folder: change_the_seal(folder, "made_on", {"packages": {}}),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_checkpoint_that_is_not_whole_or_made_on_something_else_is_not_gone_on_from(
    tiny: Path, tmp_path: Path, how: str
) -> None:
    whole, cut = (Place(tmp_path / name, call_for(tiny)) for name in ("whole", "cut"))
    whole.run()
    with pytest.raises(CutOffError):
        cut.run(cut_at=6)
    (checkpoint,) = (cut.begun / "trainer").iterdir()
    SPOILED[how](checkpoint)
    cut.run()
    assert cut.steps == [*range(1, STEPS + 1)]
    assert cut.written() == whole.written()


def test_a_user_mistake_found_while_training_leaves_what_was_done(tiny: Path, tmp_path: Path) -> None:
    """A full disk, for one: after the remedy, training goes on."""
    place = Place(tmp_path, call_for(tiny))

    def full(*_: Any) -> None:
        raise UserError("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.stages.train._save", full)
        with pytest.raises(UserError):
            place.run()
    place.run()
    assert place.steps == [STEPS]


def test_checkpoints_are_apart_by_the_time_they_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every 60 seconds; where one takes 6 seconds to write, every 300, so that it costs a fiftieth of the time."""
    monkeypatch.setattr(checkpoints, "SECONDS_APART", 60.0)
    monkeypatch.setattr(checkpoints, "COST", 0.02)
    now, sealed = 0.0, []
    monkeypatch.setattr("time.monotonic", lambda: now)

    class Kept(checkpoints.Checkpoints):
        def seal(self, step: int, told: Any) -> None:
            sealed.append((step, told["seconds"]))

    class State:
        global_step, max_steps = 0, 10_000

    class Control:
        should_log, should_save = True, False

    sealing = checkpoints.Sealing(Kept(tmp_path, {}), {"seconds": 1000.0})
    for step in range(1, 1001):
        now += 1
        State.global_step, Control.should_save = step, False
        sealing.on_step_end(None, State, Control)
        if Control.should_save:
            now += 6
            sealing.on_save(None, State, Control)
    assert sealed == [(60, 1066.0), (360, 1372.0), (660, 1678.0), (960, 1984.0)]
