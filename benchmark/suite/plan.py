"""Suite → cells → stages with their keys. Light: no torch, so that a finished suite is recognised at once."""

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError, nearest
from benchmark.core.files import file_hash
from benchmark.core.inputs import regular_file
from benchmark.corpora import TASKS, Corpus, Task
from benchmark.corpora.base import CHOICE, CLOZE
from benchmark.methods import Method, make_method, package_of
from benchmark.scoring.requests import ScoreRequest, score_requests
from benchmark.store.artifacts import StageCall
from benchmark.store.versions import VERSIONS
from benchmark.suite.references import REFERENCES, Reference
from benchmark.suite.retention import HubText, LmEvalTask, TextFile
from benchmark.suite.schema import Suite
from benchmark.training.recipe import Budget, Recipe
from benchmark.training.rehearsal import QUESTIONS_ABOUT
from benchmark.training.rehearsal import VERSION as REHEARSED

READING = 2  # 2: what a tokenizer appends, and the model's own generation settings, no longer count
READ_ALIKE = Path(__file__).parents[1] / "models" / "read_alike.json"
DEVICES = ("auto", "cpu", "cuda")
READABLE = 150  # bytes of a record's name: file systems take 255, and more is added to it


@dataclass(frozen=True)
class Cell:
    """One line of results: trained model × pair × task × method × seed, under one budget.

    A reference (`benchmark.suite.references`) is a cell without budget and recipe, with seed 0, of the model as it is.
    `confirms` says that the seed is one to confirm a chosen point with.
    """

    trained: str
    pair: str | None
    entry: Task
    corpus: Corpus
    method: Method
    seed: int
    budget: Budget | None
    recipe: Recipe | None
    over: tuple[str, ...]
    stages: Mapping[str, StageCall]
    confirms: bool = False

    @cached_property
    def key(self) -> str:
        """Hash of the last stages, and so of everything before them, and of the names the record goes by."""
        names = [self.trained, self.pair, self.entry.name, self.method.label, self.budget_label]
        others = [self.stages[role].key for role in ("untouched", "retained", "curve") if role in self.stages]
        others += self.choice
        return hashlib.sha256(json.dumps([self.stages["evaluate"].key, *names, *others]).encode()).hexdigest()[:24]

    @property
    def choice(self) -> list[str]:
        """Which of the record's facts the best is chosen over, of the parameters that the suite names (`over`)."""
        over = () if self.recipe is None else self.over
        parameters = [f"method.parameters.{name}" for name in over if name in type(self.method).model_fields]
        recipe = [f"training.recipe.{name}" for name in over if name in Recipe.model_fields]
        return [*parameters, *recipe, *(["training.budget"] if "budget" in over else [])]

    @property
    def budget_label(self) -> str:
        """The budget in words; of a reference that it is not trained."""
        return self.budget.label if self.budget else "not trained"

    @cached_property
    def row(self) -> tuple[str, ...]:
        """What is equal for cells that are points or seeds of one row of the board."""
        return self._facts(chosen=False)

    @cached_property
    def point(self) -> tuple[str, ...]:
        """What is equal for cells that differ in their seed, or in a budget that is not chosen over."""
        return self._facts(chosen=True)

    def _facts(self, chosen: bool) -> tuple[str, ...]:
        recipe = self.recipe.model_dump(mode="json") if self.recipe else {}
        named = {**self.method.model_dump(mode="json"), **recipe}
        facts = [f"{name}={value}" for name, value in named.items() if (name in self.over) == chosen]
        if chosen:
            return (*facts, *([self.budget_label] if "budget" in self.over else []))
        return (self.entry.model_dump_json(), self.trained, str(self.pair), self.method.name, *facts)

    @property
    def name(self) -> str:
        """File name of the record: readable, and unique by the end of the key."""
        parts = [self.entry.name, self.trained, self.method.label, self.budget_label, f"seed{self.seed}"]
        readable = "-".join("".join(c if c.isalnum() or c == "." else "_" for c in part.lower()) for part in parts)
        short = readable.replace("α", "a").replace("β", "b").encode()[:READABLE].decode(errors="ignore")
        return f"{short}-{self.key[:8]}"


@dataclass(frozen=True)
class Plan:
    """The cells of a suite, with what identifies its models and device."""

    suite: Suite
    fingerprints: Mapping[str, str]
    device: str
    cells: list[Cell]

    def points(self, cell: Cell) -> int:
        """How many points the suite tries for the row of a cell, the cell's own among them."""
        return self._points[cell.row] if self.suite.choose else 1

    @cached_property
    def _points(self) -> dict[tuple[str, ...], int]:
        points: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        for cell in self.cells:
            points.setdefault(cell.row, set()).add(cell.point)
        return {row: len(some) for row, some in points.items()}

    def calls(self) -> list[StageCall]:
        """Every stage of every cell once, sources before what reads them."""
        found: dict[str, StageCall] = {}
        for cell in self.cells:
            # The untouched model comes first: it waits for nothing, and tells early that a held-out text cannot be had.
            for role in ("untouched", "facts", "evaluate", "curve", "retained"):
                if role in cell.stages:
                    _collect(cell.stages[role], found)
        return list(found.values())


def _collect(call: StageCall, found: dict[str, StageCall]) -> None:
    for source in call.inputs.values():
        _collect(source, found)
    found.setdefault(call.key, call)


def make_plan(suite: Suite, dry_on: str | None = None) -> Plan:
    """Expand a suite into cells.

    Args:
        suite: what to expand.
        dry_on: "cpu" or "cuda" for a plan that nothing is to come of: on this device, be it here or not, and without a
            look at weights, so that its keys name no artifact.

    Raises UserError if a model or a task's data cannot be had, if a model cannot be spread over GPUs as it asks for, or
    if the suite lists the same cell twice.
    """
    used = sorted({*suite.train, *(end for pair in suite.pairs.values() for end in (pair.large, pair.small))})
    device = dry_on or find_device(suite.device)
    for name in used:
        suite.models[name].check_device(device)
    fingerprints = {name: f"dry:{name}" if dry_on else suite.models[name].fingerprint() for name in used}
    retention = [entry if dry_on else entry.pinned() for entry in suite.retention]
    builder = _Builder(suite, fingerprints, device, retention)
    cells = list(builder.cells())
    if not cells:
        raise UserError(f"suite {suite.name!r}: methods: none applies to a trained model; check their 'for' lists")
    times = Counter(cell.key for cell in cells)
    for cell in cells:
        if times[cell.key] > 1:
            what = ", ".join((cell.trained, cell.method.label, cell.budget_label, f"seed {cell.seed}"))
            raise UserError(
                f"suite {suite.name!r}: the cell {what} comes twice; list every task, model, method point, pair, "
                "budget and seed once"
            )
    return Plan(suite, fingerprints, device, cells)


@cache
def models_read_alike() -> dict[str, str]:
    """Fingerprints of models whose results are the same in every version of how models are read, with their names.

    Such a version is part of a key, as a stage's is, and is raised when some models come to give other numbers.
    """
    found: dict[str, str] = json.loads(READ_ALIKE.read_text(encoding="utf-8"))["models"]
    return found


@cache
def _lm_eval_version() -> str:
    """Read once: finding it parses the package's whole metadata, longer than all else about a cell takes."""
    return version("lm_eval")


def find_device(wanted: str) -> str:
    """Say "cpu" or "cuda". torch is only loaded where a driver is there to ask about.

    Raises UserError if CUDA is wanted and cannot be used.
    """
    driver = Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    available = False
    if wanted != "cpu" and driver and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
        import torch

        available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError(
            "device: cuda is asked for, but no CUDA device can be used; set device: cpu or run `benchmark doctor`"
        )
    return "cuda" if available else "cpu"


@dataclass(frozen=True)
class _Builder:
    suite: Suite
    fingerprints: Mapping[str, str]
    device: str
    retention: Sequence[TextFile | HubText | LmEvalTask]

    def cells(self) -> Iterator[Cell]:
        for entry in self.suite.tasks:
            corpus = entry.load()
            _check_tasks(entry)
            for trained in self.suite.train:
                if self.suite.references:
                    for reference in REFERENCES:
                        yield self._reference(entry, corpus, trained, reference)
                for listed in self.suite.methods:
                    if listed.trained is not None and trained not in listed.trained:
                        continue
                    for point in listed.points():
                        method = make_method(listed.name, point)
                        if self.suite.long_texts == "refuse":  # else the pieces are known to the stage alone
                            method.check(corpus.texts, self.suite.copies)
                        pairs = listed.pairs if listed.pairs is not None else list(self.suite.pairs)
                        yield from self._cells_of(entry, corpus, trained, method, pairs if method.uses_pair else [None])

    def _cells_of(
        self, entry: Task, corpus: Corpus, trained: str, method: Method, pairs: Sequence[str | None]
    ) -> Iterator[Cell]:
        choose = self.suite.choose
        over = tuple(choose.over) if choose else ()
        confirming = choose.confirm if choose else []
        for pair in pairs:
            if method.reduction == "loss" and self._is_trained(pair, trained):
                raise UserError(
                    f"method {method.name!r}: {trained!r} is the large model of pair {pair!r} itself, and would be "
                    "compared with itself; limit the method by for or pairs"
                )
            seeds = [*self.suite.seeds, *confirming]
            for recipe, budget, seed in itertools.product(self.suite.recipes, self.suite.budgets, seeds):
                stages = self._stages(entry, corpus, trained, pair, method, recipe, budget, seed)
                confirms = seed in confirming
                yield Cell(trained, pair, entry, corpus, method, seed, budget, recipe, over, stages, confirms)

    def _reference(self, entry: Task, corpus: Corpus, trained: str, reference: Reference) -> Cell:
        tasks = entry.open_book if reference.open_book else entry.evaluate
        params, where = self._asking(entry, corpus, trained, tasks)
        if reference.open_book:
            params["open_book"] = True
            where["metadata"] = {**corpus.metadata, "open_book": True}
        stages = {"evaluate": self._call("evaluate", params, {}, where)}
        return Cell(trained, None, entry, corpus, reference, 0, None, None, (), stages)

    def _stages(
        self,
        entry: Task,
        corpus: Corpus,
        trained: str,
        pair: str | None,
        method: Method,
        recipe: Recipe,
        budget: Budget,
        seed: int,
    ) -> dict[str, StageCall]:
        stages = {"corpus": self._corpus(entry, corpus, method.details | (method.welcome & entry.details))}
        models = {"trained": trained, **(self.suite.pairs[pair].model_dump() if pair else {})}
        scoring = self.suite.scoring
        for request in score_requests(method, scoring.reduction, scoring.prefix):
            stages[request.role] = self._score(stages["corpus"], models[request.role], request)
        texts = {"texts": self._augment(dict(stages), trained, method, seed)}
        stages["augment"] = texts["texts"]
        if method.makes_copies:
            stages["facts"] = self._facts(entry, corpus, trained, {**texts, "corpus": stages["corpus"]})
        params = {
            **self._model(trained),
            **self._rehearsal(recipe)[0],
            "budget": budget.model_dump(mode="json"),
            "method": method.name,
            "copies": self.suite.copies,
            "seed": seed,
        }
        if training := method.training().model_dump(mode="json", exclude_defaults=True):
            params["training"] = training
        if self.suite.curve:
            params["checkpoints"] = sorted(set(self.suite.curve))
        where = {"model": self._spec(trained), **self._rehearsal(recipe)[1]}
        stages["train"] = self._call("train", params, texts, where)
        params, where = self._asking(entry, corpus, trained, entry.evaluate)
        stages["evaluate"] = self._call("evaluate", params, {"trained": stages["train"]}, where)
        if self.suite.curve:
            # Likelihoods would cost as much again at every checkpoint, and the board ranks by what is said.
            said = [name for name in entry.evaluate if not name.endswith((CHOICE, CLOZE))]
            stages["curve"] = self._call("curve", {**params, "tasks": said}, {"trained": stages["train"]}, where)
        if self.retention:
            stages["untouched"] = self._retain(trained, {})
            stages["retained"] = self._retain(trained, {"trained": stages["train"]})
        return stages

    def _asking(
        self, entry: Task, corpus: Corpus, trained: str, tasks: Sequence[str]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters of an evaluation, and where its questions lie."""
        params = {
            **self._model(trained),
            "batch_size": self.suite.evaluation.batch_size,
            "num_fewshot": self.suite.evaluation.shots(entry),
            "tasks": list(tasks),
            **entry.identity(),
            "data": corpus.data_hash,
            "definition": corpus.definition_hash,
            "lm_eval": _lm_eval_version(),
        }
        where = {
            "model": self._spec(trained),
            "metadata": corpus.metadata,
            "entry": entry.model_dump(mode="json"),
        }
        return params, where

    def _facts(self, entry: Task, corpus: Corpus, trained: str, inputs: dict[str, StageCall]) -> StageCall:
        params = {"tokenizer": self.fingerprints[trained], "data": corpus.data_hash}
        where = {"model": self._spec(trained), "entry": entry.model_dump(mode="json")}
        return self._call("facts", params, inputs, where)

    @staticmethod
    def _rehearsal(recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
        """The recipe as a key holds it, a file of rehearsals by the hash of its bytes; and where that file lies."""
        told = recipe.model_dump(mode="json")
        if recipe.rehearsal is None:
            return {"recipe": told}, {}
        if recipe.rehearsal.source == QUESTIONS_ABOUT:
            return {"recipe": told, "rehearsal": REHEARSED}, {}
        file = regular_file(Path(recipe.rehearsal.source), "give a file of texts as recipe.rehearsal.source")
        hashed = file_hash(file)
        told["rehearsal"]["source"] = hashed
        return {"recipe": told, "rehearsal": hashed}, {"rehearsal": str(file.resolve())}

    def _corpus(self, entry: Task, corpus: Corpus, details: frozenset[str]) -> StageCall:
        params: dict[str, Any] = {"task": entry.name, **entry.identity(), "data": corpus.trained_on}
        where: dict[str, Any] = {"entry": entry.model_dump(mode="json")}
        if details:
            params["details"] = sorted(details)
        if self.suite.long_texts == "split":
            params["fit"] = sorted(self.fingerprints.values())
            params["cuts"] = 2  # raised when the same text comes to be cut elsewhere
            where["fit"] = [self._spec(name) for name in self.fingerprints]
        return self._call("corpus", params, {}, where)

    def _score(self, corpus: StageCall, name: str, request: ScoreRequest) -> StageCall:
        params = {**self._model(name), **self.suite.scoring.model_dump(mode="json")}
        params |= {"reduction": request.reduction, "prefix": request.prefix}
        if part := request.part.model_dump(mode="json", exclude_defaults=True):
            params["attention"] = part
        return self._call("score", params, {"corpus": corpus}, {"model": self._spec(name)})

    def _augment(self, inputs: dict[str, StageCall], trained: str, method: Method, seed: int) -> StageCall:
        params: dict[str, Any] = {
            "method": method.identity,
            "parameters": method.key_parameters(),
            "copies": self.suite.copies,
            "seed": seed,
        }
        if package := package_of(method.name):
            params["package"] = package
        where: dict[str, Any] = {}
        if (parameters := method.model_dump(mode="json")) != params["parameters"]:
            where["parameters"] = parameters
        if method.reads == "tokens":
            params["tokenizer"] = self.fingerprints[trained]
            where["model"] = self._spec(trained)
        return self._call("augment", params, inputs, where)

    def _retain(self, name: str, inputs: dict[str, StageCall]) -> StageCall:
        params = {**self._model(name), "entries": self._entries}
        if any(isinstance(entry, LmEvalTask) for entry in self.retention):
            params |= {"lm_eval": _lm_eval_version(), "batch_size": self.suite.evaluation.batch_size}
        where = {
            "model": self._spec(name),
            "entries": [entry.model_dump(mode="json", exclude_none=True) for entry in self.retention],
        }
        return self._call("retain", params, inputs, where)

    @cached_property
    def _entries(self) -> list[dict[str, Any]]:
        return [entry.identity() for entry in self.retention]

    def _is_trained(self, pair: str | None, trained: str) -> bool:
        return pair is not None and self._model(self.suite.pairs[pair].large) == self._model(trained)

    def _model(self, name: str) -> dict[str, Any]:
        """What of a model the result depends on: its weights and how they are used, not where files or layers lie."""
        spec = self.suite.models[name]
        how = spec.model_dump(mode="json", exclude={"model", "revision", "adapter", "adapter_revision", "device_map"})
        if self.fingerprints[name] not in models_read_alike():
            how["reading"] = READING
        return {
            "model": {"fingerprint": self.fingerprints[name], **how},
            "device": self.device,
            "threads": self.suite.threads,
        }

    def _spec(self, name: str) -> dict[str, Any]:
        """The spec to load; what is on the hub is pinned to the commit its fingerprint names."""
        return self.suite.models[name].pinned(self.fingerprints[name]).model_dump(mode="json")

    @staticmethod
    def _call(stage: str, params: dict[str, Any], inputs: dict[str, StageCall], where: dict[str, Any]) -> StageCall:
        return StageCall(stage, VERSIONS[stage], params, inputs, where)


def _check_tasks(entry: Task) -> None:
    """Refuse lm-eval tasks that are unknown or cannot be ranked before hours of training, from their names alone."""
    known = [path.stem for path in (TASKS / entry.folder).glob(f"{entry.name}*.yaml")]
    for name in entry.evaluate:
        if name not in known:
            raise UserError(f"task {entry.name}: evaluate: unknown lm-eval task {name!r}; {nearest(name, known)}")
    if all(name.endswith((CHOICE, CLOZE)) for name in entry.evaluate):
        raise UserError(f"task {entry.name}: evaluate: the board ranks by exact match; add {entry.name!r} to the list")
