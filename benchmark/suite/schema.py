"""The suite: a YAML file that says which models, pairs, tasks, methods, seeds and training recipe to compare."""

import itertools
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
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from benchmark import ROOT
from benchmark.core.errors import UserError, nearest
from benchmark.core.validation import Count, Seed, Threads, not_a_bool
from benchmark.core.yaml_files import read_yaml
from benchmark.corpora import TASK_KINDS, Task
from benchmark.methods import METHODS, make_method
from benchmark.models.spec import ModelSpec
from benchmark.suite.retention import KINDS, Retention
from benchmark.training.recipe import Budget, Recipe

SUITES = ROOT / "benchmark" / "suites"

# No suite comes near these; what does would take all memory, or all day, before anything is said.
MOST_POINTS = 10_000  # of one grid
MOST_CELLS = 50_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _name_only(value: Any) -> Any:
    """Let a bare string stand for {"name": string}."""
    return {"name": value} if isinstance(value, str) else value


if TYPE_CHECKING:
    _AnyTask = Task
else:  # one of the registered tasks, by its name
    _AnyTask = Annotated[reduce(or_, TASK_KINDS.values()), Field(discriminator="name")]


class Pair(_Strict):
    """Names of the two models whose attention is contrasted."""

    large: str
    small: str


class MethodEntry(BaseModel):
    """A method and its parameters; a list of values makes a grid.

    `for` limits it to some of the trained models, `pairs` to some of the pairs.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    trained: list[str] | None = Field(default=None, alias="for", min_length=1)
    pairs: list[str] | None = Field(default=None, min_length=1)

    def points(self) -> list[dict[str, Any]]:
        """Every combination of the listed parameter values, in the order of the file."""
        return _combinations(self.model_extra or {})


def _grid(value: Any) -> Any:
    """Every combination of the listed values of a recipe, in the order of the file."""
    return _combinations(value) if isinstance(value, dict) else [value]


def _combinations(listed: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination of listed values, a bare value being a list of one; raises ValueError if they are too many."""
    values = [value if isinstance(value, list) else [value] for value in listed.values()]
    if (points := math.prod(map(len, values))) > MOST_POINTS:
        raise ValueError(f"its lists make {points:,} combinations, more than {MOST_POINTS:,}; shorten them")
    return [dict(zip(listed, point, strict=True)) for point in itertools.product(*values)]


class Choose(_Strict):
    """Parameters over which the best point is chosen, by the exact match on the development half.

    `over` names parameters of methods, fields of the recipe, or "budget". The board then shows one row per method: the
    best point's results on the test half, and how many points were tried. `halving` saves work on large grids: of the
    points, the best one in so many goes on from a shorter budget to a longer one, and from one seed to several (see
    suite/choice.py). `confirm` lists further seeds, with which the best point of each row is trained once more: the
    row then shows these alone, since the seeds that a point was chosen with favour it.
    """

    over: list[str] = Field(min_length=1)
    halving: Annotated[int, BeforeValidator(not_a_bool), Field(ge=2)] | None = None
    confirm: list[Seed] = []

    @model_validator(mode="after")
    def _one_kind_of_search(self) -> "Choose":
        if self.halving and self.confirm:
            raise ValueError("confirm goes with all points of a grid; leave out halving or confirm")
        if len(set(self.confirm)) < len(self.confirm):
            raise ValueError("confirm: a seed comes twice; list each once")
        return self


class Scoring(_Strict):
    """How tokens are scored; `prefix` is put before every text and not scored.

    A model's first position draws attention of its own, whatever stands there. So with "auto" there is always a token
    in front: the tokenizer's own where it puts one there, else the model's start or end token, else "Text: ".
    """

    reduction: Literal["received", "received_strict"] = "received"
    prefix: str = "auto"
    tokens_per_batch: Count = 4096


def _in_a_list(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


class Evaluation(_Strict):
    """How lm-eval is run.

    `num_fewshot` lists the numbers of examples that every question is asked with, each by itself; None stands for 0, 1
    and 5 wherever a task has so many. Likelihood and cloze tasks take none.
    """

    batch_size: Count = 32
    num_fewshot: (
        Annotated[
            list[Annotated[int, BeforeValidator(not_a_bool), Field(ge=0, le=1000)]],
            BeforeValidator(_in_a_list),
            Field(min_length=1),
        ]
        | None
    ) = None

    def shots(self, task: Task) -> list[int]:
        """The numbers of examples that the questions of a task are asked with, each once, rising."""
        return task.default_fewshot if self.num_fewshot is None else sorted(set(self.num_fewshot))


class Suite(_Strict):
    """A validated suite file. `threads` is part of every key, since on CPU it changes the order of sums.

    `recipes` are what a recipe with lists of values stands for: every combination. `curve` lists the steps at which
    questions are asked in the midst of training as well, of one and the same run. With `references` the untouched model
    is asked as well, without and with the document in the prompt: a floor and a ceiling for every table.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$", max_length=100)
    description: str = ""
    models: dict[str, Annotated[ModelSpec, BeforeValidator(ModelSpec.from_yaml)]] = Field(min_length=1)
    pairs: dict[str, Pair] = {}
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
    curve: list[Count] = []
    scoring: Scoring = Scoring()
    evaluation: Evaluation = Evaluation()
    retention: list[Retention] = []
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
        for where, name, what, known in uses:
            if name not in known:
                raise ValueError(f"{where}: unknown {what} {name!r}; {nearest(name, known)}")
        return self

    @model_validator(mode="after")
    def _what_is_chosen_over_is_known(self) -> "Suite":
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
                raise ValueError(f"curve[{i}]: no budget goes beyond step {step}; the last step is asked at anyway")
        return self

    @model_validator(mode="after")
    def _retention_is_listed_once(self) -> "Suite":
        names = [entry.name for entry in self.retention]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise ValueError(f"retention[{i}].name: {name!r} comes twice; give every entry a name of its own")
        return self

    @model_validator(mode="after")
    def _examples_can_be_had(self) -> "Suite":
        most = max(self.evaluation.num_fewshot or [0])
        for i, task in enumerate(self.tasks):
            if most and most > (there := task.examples):
                raise ValueError(
                    f"evaluation.num_fewshot: {most}, but tasks[{i}], {task.name}, has {there} examples; ask with fewer"
                    + (", or give it more by its option shots" if task.name == "corpus" else "")
                )
        return self

    @model_validator(mode="after")
    def _confirming_seeds_are_new(self) -> "Suite":
        if self.choose and (again := set(self.choose.confirm) & set(self.seeds)):
            raise ValueError(f"choose.confirm: seed {min(again)} is among seeds as well; points were chosen with it")
        return self

    @model_validator(mode="after")
    def _methods_can_be_made(self) -> "Suite":
        lists: list[Sized] = [self.tasks, self.train, self.recipes, self.budgets, self.seeds]
        each, cells = math.prod(len(some) for some in lists), 0
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
            cells += len(points) * (len(self.pairs) if method.uses_pair else 1) * each
            if cells > MOST_CELLS:
                raise ValueError(f"its lists make more than {MOST_CELLS:,} cells; make several suites of it")
            if method.uses_pair and not self.pairs:
                raise ValueError(
                    f"methods[{i}]: {entry.name} looks at a pair of models; give the suite a pair under pairs"
                )
            for task in self.tasks:
                if unknown := sorted(method.details - task.details):
                    raise ValueError(
                        f"methods[{i}]: {entry.name} needs the {unknown[0]} of every text, which task {task.name} does "
                        "not know; leave one of the two out"
                    )
            if entry.pairs and not method.uses_pair:
                raise ValueError(f"methods[{i}].pairs: {entry.name} looks at no pair of models; leave pairs out")
        return self


def find_suite(name: str) -> Path:
    """The suite's file: `name` is a path to a YAML file or the name of a shipped suite.

    Raises UserError, with the nearest name, if there is none.
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
    """Names of the suites that come with the project."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def load_suite(path: Path) -> Suite:
    """Read and validate a suite file. Relative paths in it are taken from the current folder.

    Raises UserError naming the file, the field and what was expected.
    """
    content = read_yaml(path, "give a suite in YAML")
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping with the keys of a suite; see suites/smoke.yaml")
    return validate(content, str(path))


def validate(content: dict[str, Any], where: str) -> Suite:
    """Make a suite of what stands in a file. Raises UserError naming `where`, the field and what was expected."""
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """One problem of a validation error as one line: field, problem, what was given. An unknown key comes first."""
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    place = first["loc"]
    if place[:1] in (("tasks",), ("retention",)) and len(place) > 2:  # pydantic names the kind after the number
        place = (*place[:2], *place[3:])
    if place[:1] == ("recipe",):  # the number of a combination tells nobody where to look
        place = (place[0], *place[2:])
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    if first["type"] == "union_tag_invalid":
        name = str(first["ctx"]["tag"])
        return f"{where}.name: unknown task {name!r}; {nearest(name, list(TASK_KINDS))}"
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key; {nearest(str(first['loc'][-1]), _fields_at(first['loc'][:-1]))}"
    message = first["msg"].removeprefix("Value error, ").split(" or instance of ")[0]
    untold = ("missing", "too_short", "value_error", "retention_kind")
    given = "" if first["type"] in untold else f", not {reprlib.repr(first['input'])}"
    return f"{where}: {message}{given}" if where else message


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that may stand at a place of a suite file."""
    rooms: dict[str, type[BaseModel]] = {
        "models": ModelSpec,
        "pairs": Pair,
        "methods": MethodEntry,
        "budgets": Budget,
        "recipe": Recipe,
        "choose": Choose,
        "scoring": Scoring,
        "evaluation": Evaluation,
    }
    if location[:1] == ("tasks",):
        model: type[BaseModel] = TASK_KINDS[str(location[2])]
    elif location[:1] == ("retention",):
        model = KINDS[str(location[2])]
    else:
        model = rooms[str(location[0])] if location else Suite
    return [field.alias or name for name, field in model.model_fields.items()]
