"""Which trainings were begun on something else than this, and so begin anew. Light: it is told without torch."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark.core.environment import environment
from benchmark.store.artifacts import StageCall, Store

TRAINER, PREFIX, SEAL = "trainer", "checkpoint-", "seal.json"  # in the folder of what was begun


def made_on(params: Mapping[str, Any]) -> dict[str, Any]:
    """What the bits of a training depend on beside its parameters: code, packages, device and threads."""
    here = environment(params["device"], params["threads"])
    return here.model_dump(mode="json", exclude={"commit", "dirty"})


def checkpoints_in(folder: Path) -> list[Path]:
    """The folders of checkpoints, whole or not, the last step first."""
    found = [one for one in folder.glob(f"{PREFIX}*") if one.name.removeprefix(PREFIX).isdecimal()]
    return sorted(found, key=lambda one: -int(one.name.removeprefix(PREFIX)))


def of_other_making(store: Store, calls: Iterable[StageCall]) -> dict[str, set[str]]:
    """Trainings whose last checkpoint is not gone on from here: stage keys, and the fields that differ."""
    found = {}
    for call in calls:
        if call.stage != "train":
            continue
        for checkpoint in checkpoints_in(store.begun(call) / TRAINER)[:1]:
            try:
                before = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["made_on"]
            except (OSError, ValueError, KeyError, TypeError):
                continue  # not sealed: it was being written when the training was cut off
            here = made_on(call.params)
            if isinstance(before, dict) and before != here:
                found[call.key] = {name for name in {*before, *here} if before.get(name) != here.get(name)}
    return found
