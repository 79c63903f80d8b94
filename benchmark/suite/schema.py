"""The suite: a YAML file that lists models, pairs, tasks, methods, seeds and the training recipe to compare."""

import json
import math
import reprlib
from collections.abc import Sized
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from benchmark import ROOT
from benchmark.core.errors import UserError, nearest
from benchmark.core.validation import Count, Seed, Threads
from benchmark.core.yaml_files import read_yaml
from benchmark.corpora import TASK_KINDS, Task
from benchmark.data.written import TRAINED
from benchmark.methods import METHODS, make_method
from benchmark.models.spec import ModelSpec
from benchmark.suite.entries import Choose, Evaluation, MethodEntry, Pair, Scoring, Strict, combinations
from benchmark.suite.retention import KINDS, Retention
from benchmark.training.recipe import Budget, Recipe
from benchmark.writing.settings import Endpoint, LocalWriter, Writer, writer_from_yaml

SUITES = ROOT / "benchmark" / "suites"
MAX_CELLS = 50_000  # far more than real suites have, and few enough to be planned in memory


def _name_only(value: Any) -> Any:
    """Accept a bare string in place of {"name": string}."""
    return {"name": value} if isinstance(value, str) else value


def _grid(value: Any) -> Any:
    """Every combination of the values listed in a recipe, in the order of the file."""
    return combinations(value) if isinstance(value, dict) else [value]


if TYPE_CHECKING:
    _AnyTask = Task
else:  # one of the registered tasks, by its name
    _AnyTask = Annotated[reduce(or_, TASK_KINDS.values()), Field(discriminator="name")]


class Suite(Strict):
    """A validated suite file.

    Attributes:
        name: The suite's name.
        description: What it is for.
        models: How to get each model, by name.
        pairs: The large and the small model of each pair, by name.
        writers: Models and endpoints that write texts for methods, by name.
        tasks: The tasks.
        train: Names of the models to train.
        methods: The methods with their parameters.
        seeds: A cell per seed.
        references: Also evaluate the untouched model, without and with the document in the prompt: the floor and the
            ceiling of every table.
        copies: Augmented copies per text.
        long_texts: What to do with texts that exceed a model's context: "refuse" or "split".
        budgets: How long to train.
        recipes: How to train (`recipe` in the file); lists of values give every combination.
        choose: Parameters to choose the best point over.
        curve: Steps after which checkpoints of the same training are evaluated as well.
        scoring: How tokens are scored.
        evaluation: How lm-eval is run.
        retention: Held-out texts and lm-eval tasks that show how much the model forgot.
        device: Where to run.
        threads: Threads of torch. Part of every key, because it changes the order of sums on a CPU.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$", max_length=100)
    description: str = ""
    models: dict[str, Annotated[ModelSpec, BeforeValidator(ModelSpec.from_yaml)]] = Field(min_length=1)
    pairs: dict[str, Pair] = Field(default={})
    writers: dict[str, Annotated[Writer, BeforeValidator(writer_from_yaml)]] = Field(default={})
    tasks: list[Annotated[_AnyTask, BeforeValidator(_name_only)]] = Field(min_length=1)
    train: list[str] = Field(min_length=1)
    methods: list[Annotated[MethodEntry, BeforeValidator(_name_only)]] = Field(min_length=1)
    seeds: list[Seed] = Field(default=[1], min_length=1)
    references: bool = True
    copies: Count = 10
    long_texts: Literal["refuse", "split"] = "refuse"
    budgets: list[Budget] = Field(min_length=1)
    recipes: Annotated[list[Recipe], BeforeValidator(_grid)] = Field(default=[Recipe()], alias="recipe", min_length=1)
    choose: Choose | None = None
    curve: list[Count] = Field(default=[])
    scoring: Scoring = Scoring()
    evaluation: Evaluation = Evaluation()
    retention: list[Retention] = Field(default=[])
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Threads = 1

    @model_validator(mode="after")
    def _names_are_known(self) -> "Suite":
        models, pairs = list(self.models), list(self.pairs)
        uses = [(f"train[{i}]", name, "model", models) for i, name in enumerate(self.train)]
        for pair, ends in self.pairs.items():
            uses += [(f"pairs.{pair}.{end}", name, "model", models) for end, name in ends]
        for i, method in enumerate(self.methods):
            uses += [(f"methods[{i}].for", name, "trained model", self.train) for name in method.trained or []]
            uses += [(f"methods[{i}].pairs", name, "pair", pairs) for name in method.pairs or []]
        for where, name, kind, known in uses:
            if name not in known:
                raise ValueError(f"{where}: unknown {kind} {name!r}; {nearest(name, known)}")
        return self

    @model_validator(mode="after")
    def _no_writer_has_a_reserved_name(self) -> "Suite":
        if TRAINED in self.writers:
            raise ValueError(f"writers.{TRAINED}: the name means the trained model itself; give it another name")
        return self

    @model_validator(mode="after")
    def _servers_have_keys_of_their_own(self) -> "Suite":
        """Refuse two servers whose texts would have the same key, since addresses are not part of it."""
        servers: dict[str, tuple[str, str]] = {}
        for name, writer in self.writers.items():
            if isinstance(writer, Endpoint):
                of_key = json.dumps([writer.model, writer.sampling], sort_keys=True)
                other, address = servers.setdefault(of_key, (name, writer.api))
                if address != writer.api:
                    raise ValueError(
                        f"writers.{name}: has the model name and the sampling of writers.{other}, so it would get that "
                        "server's texts; give its model another name, or the writer another seed"
                    )
        return self

    @model_validator(mode="after")
    def _chosen_parameters_are_known(self) -> "Suite":
        known = {"budget", *Recipe.model_fields}
        for entry in self.methods:
            fields = METHODS[entry.name].model_fields if entry.name in METHODS else {}
            known.update(name for name, field in fields.items() if field.annotation is not Path)
        for i, name in enumerate(self.choose.over if self.choose else []):
            if name not in known:
                raise ValueError(f"choose.over[{i}]: unknown parameter {name!r}; {nearest(name, sorted(known))}")
        return self

    @model_validator(mode="after")
    def _curve_is_within_a_run(self) -> "Suite":
        longest = max((budget.steps or 0 for budget in self.budgets), default=0)
        for i, step in enumerate(self.curve):
            if step >= longest and not any(budget.epochs or budget.tokens for budget in self.budgets):
                raise ValueError(f"curve[{i}]: no budget has more than {step} steps; the last step is always evaluated")
        return self

    @model_validator(mode="after")
    def _retention_names_are_unique(self) -> "Suite":
        names = [entry.name for entry in self.retention]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise ValueError(f"retention[{i}].name: duplicate name {name!r}; give every entry its own name")
        return self

    @model_validator(mode="after")
    def _enough_examples(self) -> "Suite":
        most = max(self.evaluation.num_fewshot or [0])
        for i, task in enumerate(self.tasks):
            if most and most > (available := task.examples):
                raise ValueError(
                    f"evaluation.num_fewshot: {most}, but tasks[{i}], {task.name}, has {available} examples; use fewer"
                    + (", or give it more with its option shots" if task.name == "corpus" else "")
                )
        return self

    @model_validator(mode="after")
    def _confirming_seeds_are_new(self) -> "Suite":
        if self.choose and (shared := set(self.choose.confirm) & set(self.seeds)):
            raise ValueError(f"choose.confirm: seed {min(shared)} is also in seeds; confirm with other seeds")
        return self

    @model_validator(mode="after")
    def _methods_can_be_made(self) -> "Suite":
        lists: list[Sized] = [self.tasks, self.train, self.recipes, self.budgets, self.seeds]
        cells_per_point, cells = math.prod(map(len, lists)), 0
        for i, entry in enumerate(self.methods):
            try:
                points = entry.points()
            except ValueError as error:
                raise ValueError(f"methods[{i}]: {entry.name}: {error}") from None
            if not points:
                raise ValueError(f"methods[{i}]: {entry.name} has a parameter with an empty list; give it a value")
            try:
                method, *_ = (make_method(entry.name, point) for point in points)
            except UserError as error:
                raise ValueError(f"methods[{i}]: {error}") from None
            cells += len(points) * (len(self.pairs) if method.uses_pair else 1) * cells_per_point
            if cells > MAX_CELLS:
                raise ValueError(f"its lists make more than {MAX_CELLS:,} cells; split it into several suites")
            for writer in {make_method(entry.name, point).written_by for point in points} - {None, TRAINED}:
                if writer not in self.writers:
                    known = nearest(str(writer), [*self.writers, TRAINED])
                    raise ValueError(f"methods[{i}].writer: unknown writer {writer!r}; {known}")
            if method.uses_pair and not self.pairs:
                raise ValueError(
                    f"methods[{i}]: {entry.name} contrasts a pair of models; give the suite a pair under pairs"
                )
            for task in self.tasks:
                if missing := sorted(method.details - task.details):
                    raise ValueError(
                        f"methods[{i}]: {entry.name} needs the {missing[0]} of every text, which task {task.name} does "
                        "not have; leave out one of the two"
                    )
            if entry.pairs and not method.uses_pair:
                raise ValueError(f"methods[{i}].pairs: {entry.name} uses no pair of models; leave pairs out")
        return self

    @property
    def local_writers(self) -> dict[str, ModelSpec]:
        """The models of the writers that are no endpoints, by the writers' names."""
        return {name: writer.spec for name, writer in self.writers.items() if isinstance(writer, LocalWriter)}


def find_suite(name: str) -> Path:
    """The file of a suite.

    Args:
        name: The name of a shipped suite, or a path to a YAML file.

    Raises:
        UserError: There is no such suite; the message suggests the nearest name.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(
                f"{path}: no such suite file; give a path that exists or one of: {', '.join(shipped_suites())}"
            )
        return path
    if name not in shipped_suites():
        raise UserError(f"suite {name!r}: unknown; {nearest(name, shipped_suites())} (or give a path to a .yaml file)")
    return SUITES / f"{name}.yaml"


def shipped_suites() -> list[str]:
    """Names of the suites that ship with the project."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def load_suite(path: Path) -> Suite:
    """Read and validate a suite file. Relative paths in it start from the current folder.

    Raises:
        UserError: The file is no valid suite; the message names the file, the field and what was expected.
    """
    content = read_yaml(path, "give a suite in YAML")
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping with the keys of a suite; see docs/suite_file.md")
    return validate(content, str(path))


def validate(content: dict[str, Any], where: str) -> Suite:
    """Make a suite from the content of a file.

    Args:
        content: The keys and values.
        where: The source, such as the file: the beginning of the error message.

    Raises:
        UserError: The content is no valid suite; the message names the field and what was expected.
    """
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """The first problem of a validation error in one line: field, problem, given value. Unknown keys come first."""
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    location = first["loc"]
    if location[:1] in (("tasks",), ("retention",)) and len(location) > 2:  # pydantic adds the kind after the index
        location = (*location[:2], *location[3:])
    if location[:1] == ("recipe",):  # the index of a combination is not in the file
        location = (location[0], *location[2:])
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
    if first["type"] == "union_tag_invalid":
        name = str(first["ctx"]["tag"])
        return f"{where}.name: unknown task {name!r}; {nearest(name, list(TASK_KINDS))}"
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key; {nearest(str(first['loc'][-1]), _fields_at(first['loc'][:-1]))}"
    message = first["msg"].removeprefix("Value error, ").split(" or instance of ")[0]
    value_is_no_help = first["type"] in ("missing", "too_short", "value_error", "retention_kind")
    given = "" if value_is_no_help else f", not {reprlib.repr(first['input'])}"
    return f"{where}: {message}{given}" if where else message


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields allowed at a location of a suite file."""
    models: dict[str, type[BaseModel]] = {
        "models": ModelSpec,
        "pairs": Pair,
        "methods": MethodEntry,
        "budgets": Budget,
        "recipe": Recipe,
        "choose": Choose,
        "scoring": Scoring,
        "evaluation": Evaluation,
    }
    if location[:1] == ("writers",):
        return sorted({*LocalWriter.model_fields, *Endpoint.model_fields})
    if location[:1] == ("tasks",):
        model: type[BaseModel] = TASK_KINDS[str(location[2])]
    elif location[:1] == ("retention",):
        model = KINDS[str(location[2])]
    else:
        model = models[str(location[0])] if location else Suite
    return [field.alias or name for name, field in model.model_fields.items()]
