"""Report what a suite needs and which GPUs it fits: `benchmark plan SUITE --memory`."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.core.errors import UserError
from benchmark.memory.predict import STAGES, MemoryEstimate, loads_model, predict
from benchmark.suite.plan import Plan, make_plan
from benchmark.suite.schema import Suite

GIB = 2**30
GPUS = (24, 40, 48, 80, 141)  # nominal GiB
USABLE = 0.94  # share of the nominal memory: that of 48 GB cards with error correction; torch's allocator leaves gaps
MOST_GPUS = 8  # in one machine, for models with `device_map`


@dataclass(frozen=True)
class Fit:
    """How a stage fits GPUs of one size.

    Attributes:
        size: GiB of a GPU.
        gpus: GPUs that it takes; 0 if it does not fit.
        micro_batch: The micro-batch of training where it has to be lowered; else None.
        workers: Such stages that fit one GPU at the same time (`per_gpu`); 0 if it takes several GPUs or does not fit.
    """

    size: float
    gpus: int
    micro_batch: int | None
    workers: int

    def __str__(self) -> str:
        if not self.gpus:
            return "no"
        several = f"{self.gpus} ×" if self.gpus > 1 else "yes"
        return several if self.micro_batch is None else f"{several} (micro-batch {self.micro_batch})"


def fit(prediction: MemoryEstimate, size: float) -> Fit:
    """How a stage fits GPUs of a size in GiB: on as few as possible, with the largest micro-batch that fits these."""
    room = size * GIB * USABLE
    most_gpus = MOST_GPUS if prediction.spec.device_map else 1
    for gpus in range(1, most_gpus + 1):
        for need in prediction.needs:
            if need.on(gpus) <= room:
                lowered = need.micro_batch if need is not prediction.needs[0] else None
                return Fit(size, gpus, lowered, int(room // need.on()) if gpus == 1 else 0)
    return Fit(size, 0, None, 0)


@dataclass(frozen=True)
class Line:
    """The stages of one kind with one model: their number, and the prediction of the stage that needs most."""

    stage: str
    model: str
    count: int
    most: MemoryEstimate

    def as_dict(self, sizes: Sequence[float]) -> dict[str, Any]:
        """The line for JSON."""
        return {
            "stage": self.stage,
            "model": self.model,
            "stages": self.count,
            "needs": [{**vars(need), "peak": need.on()} for need in self.most.needs],
            "fits": [vars(fit(self.most, size)) for size in sizes],
            "notes": list(self.most.notes),
        }


def predictions(plan: Plan) -> dict[str, MemoryEstimate]:
    """The prediction of every stage that loads a model, by key."""
    by_key: dict[str, MemoryEstimate] = {}
    for cell in plan.cells:
        for call in cell.stages.values():
            if loads_model(call) and call.key not in by_key:
                by_key[call.key] = predict(call, cell.corpus)
    return by_key


def lines_of(plan: Plan, by_key: Mapping[str, MemoryEstimate]) -> list[Line]:
    """A line for every kind of stage with every model; LoRA and full fine-tuning are two kinds."""
    names = {spec.model_dump_json(): name for name, spec in plan.suite.models.items()}
    groups: dict[tuple[str, str], list[MemoryEstimate]] = {}
    for prediction in by_key.values():
        stage = prediction.call.stage
        kind = f"train ({prediction.call.params['recipe']['adaptation']})" if stage == "train" else stage
        writer = prediction.call.where.get("name")
        name = writer if writer in plan.suite.writers else names[prediction.spec.model_dump_json()]
        groups.setdefault((kind, name), []).append(prediction)
    order = sorted(groups, key=lambda group: (STAGES.index(group[0].split()[0]), group))
    largest = {group: max(groups[group], key=lambda prediction: prediction.needs[0].on()) for group in order}
    return [Line(*group, len(groups[group]), largest[group]) for group in order]


def sizes_of(gpu: str | None, device: str) -> list[float]:
    """The sizes in GiB to fit into: those of --gpu, else GPUS, or this machine's memory for a suite on the CPU.

    Raises:
        UserError: If --gpu is not a list of sizes.
    """
    if gpu is None:
        here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
        return [round(here, 1)] if device == "cpu" else list(GPUS)
    matches = [re.fullmatch(r"(\d+(?:\.\d+)?) ?(?:g|gb|gib)?", part.strip().lower()) for part in gpu.split(",")]
    sizes = [float(match[1]) for match in matches if match]
    if len(sizes) < len(matches) or not all(0 < size < 1e6 for size in sizes):
        raise UserError(f"--gpu {gpu}: expected GiB of a GPU such as 80g, or several separated by commas")
    return sizes


def memory_report(suite: Suite, gpu: str | None, as_json: bool) -> str:
    """The predictions for a suite, as a table or as JSON.

    It reads no weights and needs no GPU: a suite with device `auto` is predicted for a GPU.

    Raises:
        UserError: If a configuration, a tokenizer or a task's data cannot be loaded.
    """
    device = "cpu" if suite.device == "cpu" and gpu is None else "cuda"
    sizes = sizes_of(gpu, device)
    plan = make_plan(suite, dry_on=device)
    by_key = predictions(plan)
    lines = lines_of(plan, by_key)
    fitting = {size: _cells_that_fit(plan, by_key, size) for size in sizes}
    if as_json:
        cells = [{"size": size, "cells": count} for size, count in fitting.items()]
        rows = [line.as_dict(sizes) for line in lines]
        return json.dumps({"suite": suite.name, "device": device, "usable": USABLE, "lines": rows, "cells": cells})
    return "\n".join(_table(plan, lines, sizes, fitting))


def _cells_that_fit(plan: Plan, by_key: Mapping[str, MemoryEstimate], size: float) -> int:
    """The number of the plan's cells whose stages all fit."""
    fits = {key: fit(prediction, size).gpus > 0 for key, prediction in by_key.items()}
    return sum(all(fits.get(call.key, True) for call in cell.stages.values()) for cell in plan.cells)


def _table(plan: Plan, lines: Sequence[Line], sizes: Sequence[float], fitting: dict[float, int]) -> Iterator[str]:
    from tabulate import tabulate

    what = "GPU" if plan.device == "cuda" else "process"
    yield f"suite {plan.suite.name}: GiB that each stage needs at its peak on a {what}, from configuration files alone"
    rows = []
    for line in lines:
        need = line.most.needs[0]
        parts = (need.weights, need.training, need.kept, need.passing, need.overhead, need.on())
        fits = [fit(line.most, size) for size in sizes]
        smallest = next((each for each in fits if each.workers), None)
        workers = f"{smallest.workers} on {smallest.size:g}" if smallest else "-"
        numbers = [f"{part / GIB:.2f}" for part in parts]
        rows.append([line.stage, line.model, line.count, *numbers, *map(str, fits), workers])
    heads = ["weights", "training", "kept", "passing", "overhead", "peak", *(f"{size:g}" for size in sizes)]
    yield tabulate(rows, headers=["stage", "model", "stages", *heads, "workers"], disable_numparse=True)
    each = ", ".join(f"{size:g} GiB: {count}" for size, count in fitting.items())
    yield f"cells of {len(plan.cells)} that fit whole: {each}"
    yield from dict.fromkeys(f"{line.stage} {line.model}: {note}" for line in lines for note in line.most.notes)
