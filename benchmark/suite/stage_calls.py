"""The stages of a cell with their parameters, from which their keys follow.

Everything in `params` and `inputs` of a StageCall is part of its key: after a change there, finished work counts as
missing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmark.core.files import file_hash
from benchmark.core.inputs import regular_file
from benchmark.corpora import Corpus, Task
from benchmark.corpora.base import CLOZE, NOT_DIRECT
from benchmark.data.plain_texts import QUESTIONS_ABOUT
from benchmark.data.written import TRAINED, Writing
from benchmark.methods import Method, package_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring.requests import ScoreRequest, score_requests
from benchmark.scoring.teacher import LAYOUT
from benchmark.store.artifacts import StageCall
from benchmark.store.versions import VERSIONS
from benchmark.suite.retention import HubText, LmEvalTask, TextFile
from benchmark.suite.schema import Suite
from benchmark.training.recipe import Budget, Recipe
from benchmark.training.rehearsal import SETTINGS
from benchmark.training.rehearsal import VERSION as REHEARSED
from benchmark.writing.settings import Endpoint, LocalWriter, Writer

READING = 2  # version of how models are read; 2: appended tokens and the model's own generation settings do not count
READ_ALIKE = Path(__file__).parents[1] / "models" / "read_alike.json"


@dataclass(frozen=True)
class CellSpec:
    """What a suite lists for one cell, before its stages are known.

    Attributes:
        trained: Name of the trained model.
        pair: Name of the pair; None for methods that use none.
        task: The task with its options.
        corpus: The task's corpus.
        method: The method, or a reference.
        seed: The seed; 0 for a reference.
        budget: The training budget; None for a reference.
        recipe: The training recipe; None for a reference.
    """

    trained: str
    pair: str | None
    task: Task
    corpus: Corpus
    method: Method
    seed: int
    budget: Budget | None
    recipe: Recipe | None


@dataclass(frozen=True)
class StageCalls:
    """Makes the stage calls of a suite's cells.

    Attributes:
        suite: The suite.
        fingerprints: The fingerprint of each of its models, by name.
        device: "cpu" or "cuda".
        retention: The suite's retention entries, with their data pinned.
        writers: The fingerprint of each writer that is a local model, by name.
    """

    suite: Suite
    fingerprints: Mapping[str, str]
    device: str
    retention: Sequence[TextFile | HubText | LmEvalTask]
    writers: Mapping[str, str] = field(default_factory=dict)

    def of_method(self, cell: CellSpec, recipe: Recipe, budget: Budget) -> dict[str, StageCall]:
        """The stages of a cell that trains a model, by role."""
        method = cell.method
        stages = {"corpus": self._corpus(cell, method.details | (method.welcome & cell.task.details))}
        for request in score_requests(method, self.suite.scoring.reduction, self.suite.scoring.prefix):
            stages[request.role] = self._score(stages["corpus"], self._model_of(cell, request.role), request)
        read = dict(stages)
        for role, writing in method.writings.items():
            stages[role] = self._write(cell, writing, read)
        stages["augment"] = self._augment(cell, dict(stages))
        if method.makes_copies:
            stages["facts"] = self._facts(cell, {"texts": stages["augment"], "corpus": stages["corpus"]})
        read = {"texts": stages["augment"]}
        if method.training().loss == "distilled":
            stages["teach"] = self._teach(cell, {"texts": stages["augment"], "corpus": stages["corpus"]})
            read["targets"] = stages["teach"]
        stages["train"] = self._train(cell, recipe, budget, read)
        params, where = self._asking(cell, cell.task.evaluate)
        trained = {"trained": stages["train"]}
        stages["evaluate"] = _call("evaluate", params, trained, where)
        if self.suite.curve:
            # Only direct questions: the others would cost as much again per checkpoint, and do not rank the board.
            direct = [name for name in cell.task.evaluate if not name.endswith(NOT_DIRECT)]
            stages["curve"] = _call("curve", {**params, "tasks": direct}, trained, where)
        if self.retention:
            stages["untouched"] = self._retention(cell.trained, {})
            stages["retained"] = self._retention(cell.trained, trained)
        return stages

    def of_reference(self, cell: CellSpec, open_book: bool) -> dict[str, StageCall]:
        """The stages of a reference, by role: the untouched model is evaluated, with the document if `open_book`."""
        params, where = self._asking(cell, cell.task.open_book if open_book else cell.task.evaluate)
        if open_book:
            params["open_book"] = True
            where["metadata"] = {**cell.corpus.metadata, "open_book": True}
        return {"evaluate": _call("evaluate", params, {}, where)}

    def model_params(self, name: str) -> dict[str, Any]:
        """The parameters that say how a model is used: its weights and settings, but no paths and no device map."""
        return self._params_of(self.suite.models[name], self.fingerprints[name])

    def _params_of(self, spec: ModelSpec, fingerprint: str) -> dict[str, Any]:
        settings = spec.model_dump(
            mode="json", exclude={"model", "revision", "adapter", "adapter_revision", "device_map"}
        )
        if fingerprint not in models_read_alike():
            settings["reading"] = READING
        return {
            "model": {"fingerprint": fingerprint, **settings},
            "device": self.device,
            "threads": self.suite.threads,
        }

    def _corpus(self, cell: CellSpec, details: frozenset[str]) -> StageCall:
        task = cell.task
        params: dict[str, Any] = {"task": task.name, **task.identity(), "data": cell.corpus.trained_on}
        where: dict[str, Any] = {"entry": task.model_dump(mode="json")}
        if details:
            params["details"] = sorted(details)
        if self.suite.long_texts == "split":
            params["fit"] = sorted(self.fingerprints.values())
            params["cuts"] = 2  # version of the rule that splits texts
            where["fit"] = [self._spec(name) for name in self.fingerprints]
        return _call("corpus", params, {}, where)

    def _score(self, texts: StageCall, name: str, request: ScoreRequest) -> StageCall:
        params = {**self.model_params(name), **self.suite.scoring.model_dump(mode="json")}
        params |= {"reduction": request.reduction, "prefix": request.prefix}
        if part := request.part.model_dump(mode="json", exclude_defaults=True):
            params["attention"] = part
        return _call("score", params, {"corpus": texts}, {"model": self._spec(name)})

    def _write(self, cell: CellSpec, writing: Writing, read: Mapping[str, StageCall]) -> StageCall:
        """The stage in which a method's writer writes; `read` are the corpus and the scores that the method reads."""
        name = str(cell.method.written_by)
        if name == TRAINED:
            spec, fingerprint = self.suite.models[cell.trained], self.fingerprints[cell.trained]
            writer: Writer = LocalWriter.model_validate(spec.model_dump())
        else:
            writer, fingerprint = self.suite.writers[name], self.writers.get(name, "")
        params: dict[str, Any] = {
            "writing": writing.identity(),
            "sampling": writer.sampling,
            "number": self.suite.copies,
        }
        if isinstance(writer, Endpoint):
            params |= {"api": writer.model}
            where: dict[str, Any] = {"writer": writer.model_dump(mode="json")}
        else:
            params |= self._params_of(writer.spec, fingerprint)
            where = {"writer": {**writer.model_dump(mode="json"), **writer.spec.pinned(fingerprint).model_dump()}}
        if writing.form == "questions":
            params["questions"] = cell.corpus.questions_hash or cell.corpus.data_hash
        inputs = {role: call for role, call in read.items() if role == "corpus" or writing.clues}
        where |= {"name": name, "writing": writing.model_dump(mode="json"), "entry": cell.task.model_dump(mode="json")}
        return _call("write", params, inputs, where)

    def _augment(self, cell: CellSpec, inputs: dict[str, StageCall]) -> StageCall:
        method = cell.method
        params: dict[str, Any] = {
            "method": method.identity,
            "parameters": method.key_parameters(),
            "copies": self.suite.copies,
            # All seeds share what a writer wrote, and so what is made of it alone.
            "seed": 0 if method.writings and not method.varies else cell.seed,
        }
        if package := package_of(method.name):
            params["package"] = package
        where: dict[str, Any] = {}
        if (parameters := method.model_dump(mode="json")) != params["parameters"]:
            where["parameters"] = parameters
        if method.reads == "tokens":
            params["tokenizer"] = self.fingerprints[cell.trained]
            where["model"] = self._spec(cell.trained)
        return _call("augment", params, inputs, where)

    def _facts(self, cell: CellSpec, inputs: dict[str, StageCall]) -> StageCall:
        params: dict[str, Any] = {"tokenizer": self.fingerprints[cell.trained], "data": cell.corpus.data_hash}
        if cell.method.writings:
            params["invented"] = 2  # version of how invented names and numbers are counted
        where = {"model": self._spec(cell.trained), "entry": cell.task.model_dump(mode="json")}
        return _call("facts", params, inputs, where)

    def _teach(self, cell: CellSpec, inputs: dict[str, StageCall]) -> StageCall:
        params = {
            **self.model_params(cell.trained),
            "top": cell.method.training().top,
            "layout": LAYOUT,
            "tokens_per_batch": self.suite.scoring.tokens_per_batch,
        }
        return _call("teach", params, inputs, {"model": self._spec(cell.trained)})

    def _train(self, cell: CellSpec, recipe: Recipe, budget: Budget, inputs: dict[str, StageCall]) -> StageCall:
        content = recipe.model_dump(mode="json")
        training = cell.method.training().model_dump(mode="json", exclude_defaults=True)
        others: dict[str, Any] = {}
        where: dict[str, Any] = {"model": self._spec(cell.trained)}
        for name, of in (("rehearsal", content.get("rehearsal")), ("practice", training.get("practice"))):
            if of:
                of["source"], others[name], file = _source(of["source"], SETTINGS[name])
                where |= {name: file} if file else {}
        params = {
            **self.model_params(cell.trained),
            "recipe": content,
            **others,
            "budget": budget.model_dump(mode="json"),
            "method": cell.method.name,
            "copies": self.suite.copies,
            "seed": cell.seed,
        }
        if training:
            params["training"] = training
        if self.suite.curve:
            params["checkpoints"] = sorted(set(self.suite.curve))
        return _call("train", params, inputs, where)

    def _asking(self, cell: CellSpec, lm_eval_tasks: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The `params` and `where` of an evaluation."""
        params = {
            **self.model_params(cell.trained),
            "batch_size": self.suite.evaluation.batch_size,
            "num_fewshot": self.suite.evaluation.shots(cell.task),
            "tasks": list(lm_eval_tasks),
            **cell.task.identity(),
            "data": cell.corpus.data_hash,
            "definition": cell.corpus.definition_hash,
            "lm_eval": _lm_eval_version(),
        }
        if self.suite.long_texts == "split" and any(name.endswith(CLOZE) for name in lm_eval_tasks):
            params["skip_too_long"] = "cloze"  # the document before an answer may exceed the context
        where = {
            "model": self._spec(cell.trained),
            "metadata": cell.corpus.metadata,
            "entry": cell.task.model_dump(mode="json"),
        }
        return params, where

    def _retention(self, name: str, inputs: dict[str, StageCall]) -> StageCall:
        params = {**self.model_params(name), "entries": self._retention_identities}
        if any(isinstance(entry, LmEvalTask) for entry in self.retention):
            params |= {"lm_eval": _lm_eval_version(), "batch_size": self.suite.evaluation.batch_size}
        where = {
            "model": self._spec(name),
            "entries": [entry.model_dump(mode="json", exclude_none=True) for entry in self.retention],
        }
        return _call("retain", params, inputs, where)

    @cached_property
    def _retention_identities(self) -> list[dict[str, Any]]:
        return [entry.identity() for entry in self.retention]

    def _model_of(self, cell: CellSpec, role: str) -> str:
        """Name of the model in a role: "trained", or "large" or "small" of the cell's pair."""
        models = {"trained": cell.trained, **(self.suite.pairs[cell.pair].model_dump() if cell.pair else {})}
        return str(models[role])

    def _spec(self, name: str) -> dict[str, Any]:
        """The spec to load a model from, with a hub model pinned to the commit that its fingerprint names."""
        return self.suite.models[name].pinned(self.fingerprints[name]).model_dump(mode="json")


def _call(stage: str, params: dict[str, Any], inputs: dict[str, StageCall], where: dict[str, Any]) -> StageCall:
    return StageCall(stage, VERSIONS[stage], params, inputs, where)


def _source(source: str, setting: str) -> tuple[str, int | str, str | None]:
    """A source of rehearsal or practice as keys hold it, what its texts depend on, and the path of its file."""
    if source == QUESTIONS_ABOUT:
        return source, REHEARSED, None
    file = regular_file(Path(source), f"give a file of texts as {setting}")
    digest = file_hash(file)
    return digest, digest, str(file.resolve())


@cache
def models_read_alike() -> dict[str, str]:
    """Fingerprints and names of models whose results do not depend on READING, so that their keys omit it."""
    models: dict[str, str] = json.loads(READ_ALIKE.read_text(encoding="utf-8"))["models"]
    return models


@cache
def _lm_eval_version() -> str:
    """Cached: looking it up parses the package's metadata, which takes longer than everything else about a cell."""
    return version("lm_eval")
