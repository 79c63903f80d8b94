"""The result record: one cell as JSON, with every question's answer in a Parquet file beside it.

`<name>.json` holds a Record, `<name>.answers.parquet` the answers: ANSWER_COLUMNS and, where the task knows how far
answers stand from the name of the text's subject, DISTANCE_COLUMNS (of the answer from the last mention of the name
before it, less than 0 where the answer comes first; tokens are the trained model's). The board is made from these
alone, so this module imports neither torch nor the stages.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from benchmark.errors import UserError

ANSWER_COLUMNS = ("question", "task", "cluster", "half", "exact_match", "f1", "acc", "acc_norm", "answer")
DISTANCE_COLUMNS = ("distance_characters", "distance_tokens")  # beside them, where the task knows it
SCORING = ("trained", "large", "small")  # roles of the stages that score tokens
METRICS = ("exact_match", "f1", "acc", "acc_norm")
HALVES = ("development", "test")


Scores = dict[str, dict[str, dict[str, float]]]  # lm-eval task → half → metric → mean


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ModelInfo(_Strict):
    """A model as it was used. `fingerprint` is the hash of its weights (local) or its commit (hub)."""

    name: str
    spec: dict[str, Any]
    fingerprint: str
    parameters: int | None = None


class PairInfo(_Strict):
    """The large and the small model whose attention was contrasted."""

    name: str
    large: ModelInfo
    small: ModelInfo


class TaskInfo(_Strict):
    """Corpus and questions. `may_redistribute` says whether answers may be published with the record.

    `pieces_hash` is of the texts as they were cut, where a suite splits long ones.
    """

    name: str
    options: dict[str, Any]
    corpus_hash: str
    definition_hash: str
    versions: dict[str, str]
    texts: int
    questions: int
    clusters: int
    may_redistribute: bool
    pieces_hash: str | None = None


class MethodInfo(_Strict):
    """How training texts were made. `texts` counts the training texts, originals and copies together.

    `package` is the distribution, with its version, that the method was installed with; None for those of this project.
    """

    name: str
    parameters: dict[str, Any]
    copies: int
    texts: int
    package: str | None = None


class TrainingInfo(_Strict):
    """What the trained model went through; `budget` is the suite's label of the step budget, e.g. "400 steps"."""

    budget: str
    recipe: dict[str, Any]
    steps: int
    epochs: float
    tokens: int
    micro_batch: int
    effective_batch: int
    trainable_parameters: int
    loss_first: float
    loss_last: float
    notes: list[str] = []


class RetentionInfo(_Strict):
    """What training cost on one held-out text or lm-eval task, by `metric`.

    `measured` is the suite's entry, a file as the hash of its bytes. `before` is the untouched model's value, `after`
    the trained model's, and `forgetting` the change for the worse: above 0 the model has lost something, whichever
    direction of the metric is the better one. `numbers` has all that was measured "before" and "after".
    """

    measured: dict[str, Any]
    metric: str
    higher_is_better: bool
    before: float
    after: float
    forgetting: float
    numbers: dict[str, dict[str, int | float]]


class Environment(_Strict):
    """Code, packages and device of the training. `commit` is None outside a git checkout."""

    benchmark_version: str
    code_hash: str
    commit: str | None
    dirty: bool | None
    python: str
    packages: dict[str, str]
    platform: str
    device: str
    threads: int


class Cost(_Strict):
    """What one stage took where it was done; `peak_memory_bytes` is of the process on CPU, of CUDA on a GPU."""

    seconds: float
    peak_memory_bytes: int


class AnswersInfo(_Strict):
    """The answers file beside the record."""

    file: str
    sha256: str
    rows: int


class CurvePoint(_Strict):
    """What the model knew after so many steps of its training; `scores` as those of a record."""

    steps: int
    scores: Scores


class Record(_Strict):
    """One line of results: trained model × pair × task × method × seed.

    `choice` names the facts, by dotted field, that a suite tries several values of to report the best: of records that
    differ in these alone, the one with the highest exact match on the development half counts. `points` is the number
    of combinations that the suite tries, this one among them.

    `scores` maps lm-eval task → half → metric → mean over that half's questions. `stages` maps each stage to the key of
    its artifact. `retention` has what the suite's entries of that name gave, `curve` what checkpoints gave (before
    the last step). `created`, `cost` and `environment` may differ between two runs of one cell; all else may not.
    """

    schema_version: Literal[1] = 1
    cell: str
    suite: str
    created: str
    model: ModelInfo
    pair: PairInfo | None
    task: TaskInfo
    method: MethodInfo
    seed: int
    training: TrainingInfo
    evaluation: dict[str, Any]
    scoring: dict[str, Any]
    scores: Scores
    stages: dict[str, str]
    cost: dict[str, Cost]
    environment: Environment
    answers: AnswersInfo
    choice: list[str] = []
    points: int = Field(default=1, ge=1)
    retention: dict[str, RetentionInfo] = {}
    curve: list[CurvePoint] = []
    sha256: str = ""

    def body_hash(self) -> str:
        """SHA-256 of the record's canonical JSON without the field `sha256` itself."""
        return _body_hash(self.model_dump(mode="json"))

    @property
    def development_score(self) -> float:
        """Exact match on the development half, the mean over lm-eval tasks; 0 where none measures it."""
        return mean_exact_match(self.scores, "development")

    def results(self) -> dict[str, Any]:
        """All that must be equal when the same cell is run twice: everything but times, memory and environment."""
        return self.model_dump(mode="json", exclude={"sha256", "created", "cost", "environment"})


def flat_scores(scores: Scores) -> dict[tuple[str, str, str], float]:
    """Every mean by lm-eval task, half and metric."""
    return {
        (task, half, metric): value
        for task, halves in scores.items()
        for half, metrics in halves.items()
        for metric, value in metrics.items()
    }


def mean_exact_match(scores: Scores, half: str) -> float:
    """Exact match on one half, the mean over lm-eval tasks; 0 where none measures it."""
    values = [halves[half]["exact_match"] for halves in scores.values() if "exact_match" in halves.get(half, {})]
    return sum(values) / len(values) if values else 0.0


def _body_hash(content: dict[str, Any]) -> str:
    body = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_record(path: Path) -> Record:
    """Read and verify a record and the answers beside it.

    Raises UserError if it does not fit the schema, or if it or its answers were changed after they were written.
    """
    try:
        record = Record.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(map(str, first["loc"])) or "file"
        raise UserError(f"{path}: {where}: {first['msg']}; run the suite again to make the record anew") from None
    # Of the file as it is: fields that came to the schema later are not in records from before.
    if record.sha256 != _body_hash(json.loads(path.read_text(encoding="utf-8"))):
        raise UserError(
            f"{path}: sha256: the record was changed after it was written; run the suite again to make it anew"
        )
    answers = path.parent / record.answers.file
    if Path(record.answers.file).name != record.answers.file or not answers.is_file():
        raise UserError(f"{path}: answers.file: {record.answers.file!r} is not beside the record; run the suite again")
    if file_hash(answers) != record.answers.sha256:
        raise UserError(f"{answers}: does not have the hash that its record names; run the suite again to make it anew")
    return record
