"""From a suite to its cells, and from cells to stages with their keys.

Light: torch is imported only where a GPU driver is present, so that a finished suite is recognised at once.
"""

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from benchmark.core.errors import UserError, nearest
from benchmark.corpora import TASKS, Task
from benchmark.corpora.base import NOT_DIRECT
from benchmark.methods import make_method
from benchmark.store.artifacts import StageCall
from benchmark.suite.references import REFERENCES
from benchmark.suite.schema import Suite
from benchmark.suite.stage_calls import CellSpec, StageCalls
from benchmark.training.recipe import Recipe

_READABLE_BYTES = 150  # of a record's name: file systems allow 255, and suffixes are added
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Cell(CellSpec):
    """One line of results: trained model × pair × task × method × seed, under one budget.

    A reference (`benchmark.suite.references`) is a cell of the untrained model.

    Attributes:
        stages: The cell's stages by role, such as "corpus", "train", "evaluate".
        over: The parameters that the suite chooses over.
        confirms: Whether the seed is one of `choose.confirm`, with which no point is chosen.
    """

    stages: Mapping[str, StageCall]
    over: tuple[str, ...] = ()
    confirms: bool = False

    @cached_property
    def key(self) -> str:
        """Hash of the last stages, hence of all stages before them, and of the names in the record."""
        names = [self.trained, self.pair, self.task.name, self.method.label, self.budget_label]
        others = [self.stages[role].key for role in ("untouched", "retained", "curve") if role in self.stages]
        others += self.choice
        return hashlib.sha256(json.dumps([self.stages["evaluate"].key, *names, *others]).encode()).hexdigest()[:24]

    @property
    def choice(self) -> list[str]:
        """The parameters in `over` that apply to this cell, as dotted fields of its record."""
        over = () if self.recipe is None else self.over
        parameters = [f"method.parameters.{name}" for name in over if name in type(self.method).model_fields]
        recipe = [f"training.recipe.{name}" for name in over if name in Recipe.model_fields]
        return [*parameters, *recipe, *(["training.budget"] if "budget" in over else [])]

    @property
    def budget_label(self) -> str:
        """The budget in words; "not trained" for a reference."""
        return self.budget.label if self.budget else "not trained"

    @cached_property
    def row(self) -> tuple[str, ...]:
        """The facts that are equal for all points and seeds of a row of the board."""
        return self._facts(chosen=False)

    @cached_property
    def point(self) -> tuple[str, ...]:
        """The values of the parameters that the suite chooses over: one point of the grid."""
        return self._facts(chosen=True)

    def _facts(self, chosen: bool) -> tuple[str, ...]:
        recipe = self.recipe.model_dump(mode="json") if self.recipe else {}
        parameters = {**self.method.model_dump(mode="json"), **recipe}
        facts = [f"{name}={value}" for name, value in parameters.items() if (name in self.over) == chosen]
        if chosen:
            return (*facts, *([self.budget_label] if "budget" in self.over else []))
        return (self.task.model_dump_json(), self.trained, str(self.pair), self.method.name, *facts)

    @property
    def name(self) -> str:
        """File name of the record: readable, and unique through the beginning of the key."""
        parts = [self.task.name, self.trained, self.method.label, self.budget_label, f"seed{self.seed}"]
        readable = "-".join("".join(c if c.isalnum() or c == "." else "_" for c in part.lower()) for part in parts)
        short = readable.replace("α", "a").replace("β", "b").encode()[:_READABLE_BYTES].decode(errors="ignore")
        return f"{short}-{self.key[:8]}"


@dataclass(frozen=True)
class Plan:
    """The cells of a suite, with the fingerprints of its models and local writers, and the device."""

    suite: Suite
    fingerprints: Mapping[str, str]
    device: str
    cells: list[Cell]
    writers: Mapping[str, str] = field(default_factory=dict)

    def points(self, cell: Cell) -> int:
        """Number of points that the suite tries for the row of a cell, including the cell's own."""
        return self._points[cell.row] if self.suite.choose else 1

    @cached_property
    def _points(self) -> dict[tuple[str, ...], int]:
        points: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for cell in self.cells:
            points.setdefault(cell.row, set()).add(cell.point)
        return {row: len(tried) for row, tried in points.items()}

    def calls(self) -> list[StageCall]:
        """Every stage of every cell once, inputs before the stages that read them."""
        calls: dict[str, StageCall] = {}
        for cell in self.cells:
            # "untouched" first: it waits for no other stage, and reports early that a held-out text is missing.
            for role in ("untouched", "facts", "evaluate", "curve", "retained"):
                if role in cell.stages:
                    _collect(cell.stages[role], calls)
        return list(calls.values())


def _collect(call: StageCall, calls: dict[str, StageCall]) -> None:
    for source in call.inputs.values():
        _collect(source, calls)
    calls.setdefault(call.key, call)


def make_plan(suite: Suite, dry_on: str | None = None) -> Plan:
    """Expand a suite into cells with their stages.

    Args:
        suite: The suite.
        dry_on: "cpu" or "cuda" for a plan that is not run: for that device, whether this machine has it or not, and
            without reading weights. The keys of such a plan name no artifacts.

    Raises:
        UserError: A model or a task's data cannot be read, a model cannot be spread over GPUs as requested, or the
            suite lists a cell twice.
    """
    used = sorted({*suite.train, *(end for pair in suite.pairs.values() for end in (pair.large, pair.small))})
    device = dry_on or find_device(suite.device)
    for name in used:
        suite.models[name].check_device(device)
    fingerprints = {name: f"dry:{name}" if dry_on else suite.models[name].fingerprint() for name in used}
    for spec in suite.local_writers.values():
        spec.check_device(device)
    writers = {name: f"dry:{name}" if dry_on else spec.fingerprint() for name, spec in suite.local_writers.items()}
    retention = [entry if dry_on else entry.pinned() for entry in suite.retention]
    cells = list(_cells(suite, StageCalls(suite, fingerprints, device, retention, writers)))
    if not cells:
        raise UserError(f"suite {suite.name!r}: methods: none applies to a trained model; check their 'for' lists")
    occurrences = Counter(cell.key for cell in cells)
    for cell in cells:
        if occurrences[cell.key] > 1:
            label = ", ".join((cell.trained, cell.method.label, cell.budget_label, f"seed {cell.seed}"))
            raise UserError(
                f"suite {suite.name!r}: duplicate cell {label}; list every task, model, method point, pair, budget and "
                "seed once"
            )
    return Plan(suite, fingerprints, device, cells, writers)


def find_device(wanted: str) -> str:
    """The device for a suite's `device`: "cpu" or "cuda". torch is imported only if a GPU driver is present.

    Raises:
        UserError: CUDA is wanted and cannot be used.
    """
    driver = Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    available = False
    if wanted != "cpu" and driver and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        import torch

        available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError("device: cuda, but no CUDA device can be used; set device: cpu, or run `benchmark doctor`")
    return "cuda" if available else "cpu"


def _cells(suite: Suite, calls: StageCalls) -> Iterator[Cell]:
    for task in suite.tasks:
        corpus = task.load()
        _check_lm_eval_tasks(task)
        for trained in suite.train:
            if suite.references:
                for reference in REFERENCES:
                    spec = CellSpec(trained, None, task, corpus, reference, 0, None, None)
                    yield Cell(**vars(spec), stages=calls.of_reference(spec, reference.open_book))
            for listed in suite.methods:
                if listed.trained is not None and trained not in listed.trained:
                    continue
                for point in listed.points():
                    method = make_method(listed.name, point)
                    if suite.long_texts == "refuse":  # with "split" only the corpus stage knows the pieces
                        method.check(corpus.texts, suite.copies)
                    pairs = listed.pairs if listed.pairs is not None else list(suite.pairs)
                    for pair in pairs if method.uses_pair else [None]:
                        yield from _cells_of(suite, calls, CellSpec(trained, pair, task, corpus, method, 0, None, None))


def _cells_of(suite: Suite, calls: StageCalls, spec: CellSpec) -> Iterator[Cell]:
    """The cells of one method point: every recipe, budget and seed."""
    if spec.method.reduction == "loss" and spec.pair is not None:
        large = suite.pairs[spec.pair].large
        if calls.model_params(large) == calls.model_params(spec.trained):
            raise UserError(
                f"method {spec.method.name!r}: the trained model {spec.trained!r} is the large model of pair "
                f"{spec.pair!r}, so it would be compared with itself; limit the method with for or pairs"
            )
    over = tuple(suite.choose.over) if suite.choose else ()
    confirming = suite.choose.confirm if suite.choose else []
    seeds = [*suite.seeds, *confirming]
    for recipe, budget, seed in itertools.product(suite.recipes, suite.budgets, seeds):
        full = replace(spec, seed=seed, budget=budget, recipe=recipe)
        stages = calls.of_method(full, recipe, budget)
        yield Cell(**vars(full), stages=stages, over=over, confirms=seed in confirming)


def _check_lm_eval_tasks(task: Task) -> None:
    """Reject lm-eval tasks that are unknown or cannot rank a board: by their names, before hours of training."""
    known = [path.stem for path in (TASKS / task.folder).glob(f"{task.name}*.yaml")]
    for name in task.evaluate:
        if name not in known:
            raise UserError(f"task {task.name}: evaluate: unknown lm-eval task {name!r}; {nearest(name, known)}")
    if all(name.endswith(NOT_DIRECT) for name in task.evaluate):
        raise UserError(
            f"task {task.name}: evaluate: the board ranks by the exact match of direct questions; add {task.name!r} to "
            "the list"
        )
