"""Checkpoints from which a training goes on as if it had never stopped: the same weights, to the last bit on a CPU.

The Trainer of transformers keeps optimizer and random state in pickle files; here they are safetensors and JSON. A
checkpoint counts once it is sealed: its seal holds the hash of every file, and what the training ran on.
"""

import json
import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback

from benchmark.core.files import write_atomically
from benchmark.store.artifacts import file_hashes
from benchmark.training.begun import PREFIX, SEAL, checkpoints_in

OPTIMIZER, SETTINGS, RANDOM = "optimizer.safetensors", "optimizer.json", "random.safetensors"
SECONDS_APART = 60.0
COST = 0.02  # the largest share of the time that writing them may take


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: where it lies, and what was told when it was sealed."""

    folder: Path
    told: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one training, in a folder of its own; the last one whole is the only one kept.

    Args:
        folder: Where they lie. It need not be there.
        made_on: What the training runs on. Checkpoints made on something else are never gone on from, since another
            version of a library may compute other bits.
    """

    def __init__(self, folder: Path, made_on: Mapping[str, Any]) -> None:
        self.folder = folder
        self._made_on = json.loads(json.dumps(dict(made_on)))

    def last(self) -> Checkpoint | None:
        """The last whole one made on the same; None if there is none."""
        for folder in checkpoints_in(self.folder):
            try:
                seal = json.loads((folder / SEAL).read_text(encoding="utf-8"))
                hashes = file_hashes(folder, but=SEAL)
            except (OSError, ValueError):
                continue
            if isinstance(seal, dict) and seal.get("files") == hashes and seal.get("made_on") == self._made_on:
                return Checkpoint(folder, seal["told"])
        return None

    def seal(self, step: int, told: Mapping[str, Any]) -> None:
        """Declare the checkpoint of a step whole, and remove those before it."""
        newest = self.folder / f"{PREFIX}{step}"
        content = {"files": file_hashes(newest, but=SEAL), "made_on": self._made_on, "told": told}
        write_atomically(newest / SEAL, json.dumps(content))
        for folder in checkpoints_in(self.folder):
            if folder != newest:
                shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Sealing(TrainerCallback):
    """Has the Trainer write a checkpoint about every minute, at steps that log, and seals it.

    At such a step no loss is half summed up, so that what is logged after it is what would have been. On a model that
    takes long to write, checkpoints are as far apart as `COST` allows.
    """

    def __init__(self, checkpoints: Checkpoints, told: Mapping[str, Any]) -> None:
        self._checkpoints, self._told = checkpoints, told
        self._began = self._saved = time.monotonic()
        self._saving_from = self._took = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint when it is time."""
        apart = max(SECONDS_APART, self._took / COST)
        due = time.monotonic() - self._saved >= apart and state.global_step < state.max_steps
        if due and control.should_log:
            control.should_save = True
            self._saving_from = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seal what was written."""
        seconds = self._told["seconds"] + time.monotonic() - self._began
        self._checkpoints.seal(state.global_step, {**self._told, "seconds": round(seconds, 3)})
        self._saved = time.monotonic()
        self._took = self._saved - self._saving_from


class Resumable(Trainer):
    """A Trainer on one device whose checkpoints hold no pickle.

    Of the Trainer's own methods these replace those that write and read such files.
    """

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the weights or the adapter, without the pickled arguments that the Trainer puts beside them."""
        untyped: Any = self.model
        untyped.save_pretrained(output_dir or str(self.args.output_dir))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        optimizer, scheduler = self._stepped()
        state = optimizer.state_dict()
        tensors = {f"{number}.{name}": value for number, of in state["state"].items() for name, value in of.items()}
        save_file({name: value.contiguous() for name, value in tensors.items()}, Path(output_dir) / OPTIMIZER)
        settings = {"groups": state["param_groups"], "schedule": scheduler.state_dict()}
        (Path(output_dir) / SETTINGS).write_text(json.dumps(settings))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        optimizer, scheduler = self._stepped()
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in load_file(Path(checkpoint) / OPTIMIZER).items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        settings = json.loads((Path(checkpoint) / SETTINGS).read_text())
        optimizer.load_state_dict({"state": state, "param_groups": settings["groups"]})
        scheduler.load_state_dict(settings["schedule"])

    def _stepped(self) -> tuple[Any, Any]:
        assert self.optimizer is not None and self.lr_scheduler is not None
        return self.optimizer, self.lr_scheduler

    def _save_rng_state(self, output_dir: str) -> None:
        version, words, gauss = random.getstate()
        kind, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
        of_devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        tensors = {"torch": torch.get_rng_state(), "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64))}
        tensors |= {f"cuda.{number}": state for number, state in enumerate(of_devices)}
        others = {"python": [version, list(words), gauss], "numpy": [kind, place, has_gauss, cached]}
        save_file(tensors, Path(output_dir) / RANDOM, metadata={"others": json.dumps(others)})

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        from safetensors import safe_open

        with safe_open(Path(checkpoint) / RANDOM, framework="pt") as file:
            others = json.loads(file.metadata()["others"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        version, words, gauss = others["python"]
        random.setstate((version, tuple(words), gauss))
        kind, *rest = others["numpy"]
        np.random.set_state((kind, tensors["numpy"].numpy().astype(np.uint32), *rest))
        torch.set_rng_state(tensors["torch"])
        if of_devices := [tensors[f"cuda.{number}"] for number in range(len(tensors)) if f"cuda.{number}" in tensors]:
            torch.cuda.set_rng_state_all(of_devices)
