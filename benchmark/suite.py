"""The suite: a YAML file that says which models, pairs, tasks, methods, seeds and training recipe to compare."""

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from benchmark.errors import UserError, nearest
from benchmark.methods import make_method
from benchmark.models.spec import ModelSpec

ROOT = Path(__file__).resolve().parent.parent
SUITES = ROOT / "suites"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _name_only(value: Any) -> Any:
    """Let a bare string stand for {"name": string}."""
    return {"name": value} if isinstance(value, str) else value


class Pair(_Strict):
    """Names of the two models whose attention is contrasted."""

    large: str
    small: str


class TaskEntry(_Strict):
    """A corpus with its questions. `evaluate` names the lm-eval tasks; `people` keeps the first so many people."""

    name: Literal["biography"]
    path: Path | None = None
    people: int | None = Field(default=None, ge=2)
    evaluate: list[str] = ["biography", "biography_choice"]


class MethodEntry(BaseModel):
    """A method and its parameters; a list of values makes a grid.

    `for` limits it to some of the trained models, `pairs` to some of the pairs.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    trained: list[str] | None = Field(default=None, alias="for")
    pairs: list[str] | None = None

    def points(self) -> list[dict[str, Any]]:
        """Every combination of the listed parameter values, in the order of the file."""
        extra = self.model_extra or {}
        values = [value if isinstance(value, list) else [value] for value in extra.values()]
        return [dict(zip(extra, point, strict=True)) for point in itertools.product(*values)]


class Budget(_Strict):
    """How long to train: optimizer steps, or passes over the augmented texts (of a method with all copies)."""

    steps: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_of_both(self) -> "Budget":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self

    @property
    def label(self) -> str:
        """The budget in words, as the board shows it."""
        return f"{self.steps} steps" if self.steps else f"{self.epochs:g} epochs"


class Recipe(_Strict):
    """How a model is trained. `batch_size` is the effective batch; `micro_batch` only bounds memory."""

    adaptation: Literal["lora", "full"] = "lora"
    learning_rate: float = Field(default=5e-4, gt=0)
    batch_size: int = Field(default=8, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    max_grad_norm: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    lora_rank: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=16, ge=1)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    autocast: Literal["none", "bfloat16"] = "none"
    append_end: bool = True

    @model_validator(mode="after")
    def _micro_batch_divides(self) -> "Recipe":
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(f"micro_batch {self.micro_batch} does not divide batch_size {self.batch_size}")
        return self


class Scoring(_Strict):
    """How tokens are scored; `prefix` is put before every text and not scored."""

    reduction: Literal["received", "received_strict"] = "received"
    prefix: str = ""
    tokens_per_batch: int = Field(default=4096, ge=1)


class Evaluation(_Strict):
    """How lm-eval is run; `num_fewshot` None means what the task says."""

    batch_size: int = Field(default=32, ge=1)
    num_fewshot: int | None = Field(default=None, ge=0)


class Suite(_Strict):
    """A validated suite file. `threads` is part of every key, since on CPU it changes the order of sums."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    description: str = ""
    models: dict[str, Annotated[ModelSpec, BeforeValidator(ModelSpec.from_yaml)]] = Field(min_length=1)
    pairs: dict[str, Pair] = {}
    tasks: list[Annotated[TaskEntry, BeforeValidator(_name_only)]] = Field(min_length=1)
    train: list[str] = Field(min_length=1)
    methods: list[Annotated[MethodEntry, BeforeValidator(_name_only)]] = Field(min_length=1)
    seeds: list[int] = Field(default=[1], min_length=1)
    copies: int = Field(default=10, ge=1)
    long_texts: Literal["refuse", "split"] = "refuse"
    budgets: list[Budget] = Field(min_length=1)
    recipe: Recipe = Recipe()
    scoring: Scoring = Scoring()
    evaluation: Evaluation = Evaluation()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _names_are_known(self) -> "Suite":
        known = list(self.models)
        uses = [(f"train[{i}]", name) for i, name in enumerate(self.train)]
        uses += [
            (f"pairs.{pair}.{end}", getattr(p, end)) for pair, p in self.pairs.items() for end in ("large", "small")
        ]
        for i, method in enumerate(self.methods):
            uses += [(f"methods[{i}].for", name) for name in method.trained or []]
        for where, name in uses:
            if name not in known:
                raise ValueError(f"{where}: unknown model {name!r}; {nearest(name, known)}")
        for i, method in enumerate(self.methods):
            for name in method.pairs or []:
                if name not in self.pairs:
                    raise ValueError(f"methods[{i}].pairs: unknown pair {name!r}; {nearest(name, list(self.pairs))}")
        for i, entry in enumerate(self.methods):
            for point in entry.points():
                try:
                    method_needs = make_method(entry.name, point).needs
                except UserError as error:
                    raise ValueError(f"methods[{i}]: {error}") from None
                if method_needs == "difference" and not self.pairs:
                    raise ValueError(
                        f"methods[{i}]: {entry.name} contrasts two models; give the suite a pair under pairs"
                    )
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
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not a readable YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping with the keys of a suite; see suites/smoke.yaml")
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_explain(error, content)}") from None


def _explain(error: ValidationError, content: dict[str, Any]) -> str:
    """The first problem of a validation error as one line: field, problem, what was given."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(first["loc"][:-1])
        return f"{where}: unknown key; {nearest(str(first['loc'][-1]), known)}"
    message = first["msg"].removeprefix("Value error, ").split("\n")[0]
    given = "" if first["type"] in ("missing", "value_error") else f", not {first['input']!r}"
    return f"{where}: {message}{given}" if where else message


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that may stand at a place of a suite file."""
    rooms: dict[str, type[BaseModel]] = {
        "models": ModelSpec,
        "pairs": Pair,
        "tasks": TaskEntry,
        "methods": MethodEntry,
        "budgets": Budget,
        "recipe": Recipe,
        "scoring": Scoring,
        "evaluation": Evaluation,
    }
    model = rooms[str(location[0])] if location else Suite
    return [field.alias or name for name, field in model.model_fields.items()]
