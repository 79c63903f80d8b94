"""Interrupted trainings that cannot be resumed here. Imports no torch, since runs look for them before they start."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.core.environment import environment
from benchmark.store.artifacts import StageCall, Store

TRAINER, PREFIX, SEAL = "trainer", "checkpoint-", "seal.json"  # in the store's folder of an interrupted stage


def training_environment(params: Mapping[str, Any]) -> dict[str, Any]:
    """Everything beside its parameters that decides the bits of a training: code, packages, device and threads."""
    current = environment(params["device"], params["threads"])
    return current.model_dump(mode="json", exclude={"commit", "dirty"})


def checkpoint_folders(folder: Path) -> list[Path]:
    """The folders of all checkpoints, complete or not, the latest step first."""
    folders = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdecimal()]
    return sorted(folders, key=lambda path: -int(path.name.removeprefix(PREFIX)))


def made_elsewhere(store: Store, calls: Iterable[StageCall]) -> dict[str, set[str]]:
    """Interrupted trainings that restart from the beginning because their checkpoint's environment is not this one.

    Returns:
        For each such training its stage key, with the names of the environment's fields that differ.
    """
    differing = {}
    for call in calls:
        if call.stage != "train":
            continue
        for checkpoint in checkpoint_folders(store.resume_folder(call) / TRAINER)[:1]:
            try:
                then = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["made_on"]
            except (OSError, ValueError, KeyError, TypeError):
                continue  # not sealed: the training was killed while writing it
            now = training_environment(call.params)
            if isinstance(then, dict) and then != now:
                differing[call.key] = {name for name in {*then, *now} if then.get(name) != now.get(name)}
    return differing
