"""Checkpoints of a training under way. A training that was killed resumes from the last complete checkpoint.

The Trainer of transformers writes and reads them: weights as safetensors, and the state of optimizer, schedule and
random numbers in files that it loads with torch's `weights_only`, which builds tensors, numbers and containers and runs
no code of the file. (The arguments that it pickles beside them are never read.) This module adds two things: when a
checkpoint is written, and a seal. A checkpoint counts once it is sealed; the seal holds the hash of every file and the
environment of the training.

On a CPU and on a single GPU all random state is restored, and on a CPU a resumed training ends with the same bytes as
one that was never interrupted. Of several GPUs the Trainer restores the random state of the first alone, so dropout on
the others draws anew.
"""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from benchmark.core.files import write_atomically
from benchmark.store.artifacts import file_hashes
from benchmark.training.interrupted import PREFIX, SEAL, checkpoint_folders

SECONDS_APART = 60.0  # the least time between two checkpoints
LARGEST_SHARE = 0.02  # of the training time that writing checkpoints may take


@dataclass(frozen=True)
class ResumeInfo:
    """What a resumed training has to know and the Trainer does not keep.

    Attributes:
        micro_batch: Texts of a forward pass; smaller than the recipe's once memory ran out.
        notes: Notes on the training for its report.
        seconds: Time spent on the training so far.
    """

    micro_batch: int
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: its folder, and the information that was sealed with it."""

    folder: Path
    info: ResumeInfo


class Checkpoints:
    """The checkpoints of one training, in a folder of its own. Only the last complete one is kept.

    Args:
        folder: Where they lie; made with the first checkpoint.
        made_on: The environment of the training (`training_environment`). A checkpoint from another environment is
            never resumed from, since another version of a library may compute other bits.
    """

    def __init__(self, folder: Path, made_on: Mapping[str, Any]) -> None:
        self.folder = folder
        self._made_on = json.loads(json.dumps(dict(made_on)))

    def last(self) -> Checkpoint | None:
        """The last complete checkpoint from this environment; None if there is none."""
        for folder in checkpoint_folders(self.folder):
            try:
                seal = json.loads((folder / SEAL).read_text(encoding="utf-8"))
                hashes = file_hashes(folder, but=SEAL)
            except (OSError, ValueError):
                continue
            if isinstance(seal, dict) and seal.get("files") == hashes and seal.get("made_on") == self._made_on:
                info = seal["resume"]
                return Checkpoint(folder, ResumeInfo(info["micro_batch"], tuple(info["notes"]), info["seconds"]))
        return None

    def seal(self, step: int, info: ResumeInfo) -> None:
        """Mark the checkpoint of a step as complete, and remove all others."""
        newest = self.folder / f"{PREFIX}{step}"
        content = {"files": file_hashes(newest, but=SEAL), "made_on": self._made_on, "resume": asdict(info)}
        write_atomically(newest / SEAL, json.dumps(content))
        for folder in checkpoint_folders(self.folder):
            if folder != newest:
                shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)


class TimedCheckpoints(TrainerCallback):
    """Has the Trainer write a checkpoint about every minute, and seals it.

    Checkpoints are written only at steps that log: no loss is half summed up there, so the losses logged later are
    those of an uninterrupted training. Checkpoints that take long to write are further apart (`LARGEST_SHARE`).
    """

    def __init__(self, checkpoints: Checkpoints, info: ResumeInfo) -> None:
        self._checkpoints, self._info = checkpoints, info
        self._began = self._last_saved = time.monotonic()
        self._saving_since = self._seconds_to_save = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint when it is time."""
        interval = max(SECONDS_APART, self._seconds_to_save / LARGEST_SHARE)
        due = time.monotonic() - self._last_saved >= interval and state.global_step < state.max_steps
        if due and control.should_log:
            control.should_save = True
            self._saving_since = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seal the checkpoint that the Trainer has written."""
        seconds = self._info.seconds + time.monotonic() - self._began
        self._checkpoints.seal(state.global_step, replace(self._info, seconds=round(seconds, 3)))
        self._last_saved = time.monotonic()
        self._seconds_to_save = self._last_saved - self._saving_since
