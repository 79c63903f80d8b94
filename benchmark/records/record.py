"""The result record: one cell as JSON, with every question's answer in a Parquet file beside it.

`<name>.json` holds a Record, `<name>.answers.parquet` the answers: ANSWER_COLUMNS, a row per question and number of
examples before it, and, where the task knows how far answers stand from the name of the text's subject,
DISTANCE_COLUMNS (of the answer from the last mention of the name before it, less than 0 where the answer comes first;
tokens are the trained model's). The board is made from these alone, so this module imports neither torch nor the
stages.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from benchmark.core.environment import Cost, Environment
from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.core.inputs import read_text

WRITTEN, CHOSEN, CLOZED = ("exact_match", "f1", "answered"), ("acc", "acc_norm"), ("cloze",)  # by how one answers
METRICS = (*WRITTEN, *CHOSEN, *CLOZED)
ANSWER_COLUMNS = ("question", "task", "cluster", "half", "shots", *METRICS, "answer")
DISTANCE_COLUMNS = ("distance_characters", "distance_tokens")  # beside them, where the task knows it
Role = Literal["trained", "large", "small"]  # whose token scores
SCORING: tuple[Role, ...] = get_args(Role)  # the stages that score tokens
HALVES = ("development", "test")
REFERENCES = frozenset({"untouched", "open_book"})  # "methods" of records of a model that was not trained
_MOST_BYTES = 2**24  # of a record; those of the shipped suites have some 6 kB
_AGAIN = "run the suite again to make the record anew"


def _nested(depth: int) -> dict[str, Any]:
    """The JSON Schema of so many objects, one in the other, of numbers."""
    return {"type": "object", "additionalProperties": _nested(depth - 1)} if depth else {"type": "number"}


# lm-eval task → number of examples → half → metric → mean; in files of version 1 without the number of examples
Scores = Annotated[
    dict[str, dict[str, dict[str, dict[str, float]]]], WithJsonSchema({"anyOf": [_nested(4), _nested(3)]})
]


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

    `questions` counts a question once for every way in which it was asked. `pieces_hash` is of the texts as they were
    cut, where a suite splits long ones.
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


class FactsInfo(_Strict):
    """What a method's copies keep of the facts that are asked about, see `benchmark.stages.facts`.

    `facts` is the number of pairs of a copy and a fact of its original, `answer` the share of them whose gold answer
    stands whole in the copy, `answer_and_name` the share in which the subject's name does, too. `tokens` is by how much
    copies are longer than their originals, as a share. Shares are None where there is nothing to count.
    """

    copies: int
    facts: int
    answer: float | None
    answer_and_name: float | None
    tokens: float | None


class TrainingInfo(_Strict):
    """What the trained model went through; `budget` is the suite's label of the step budget, e.g. "400 steps".

    `tokens` were read, a token as often as it was, `loss_tokens` of them predicted for the loss (None in records from
    before this was counted), and `rehearsal_tokens` are those of texts beside the corpus.
    """

    budget: str
    recipe: dict[str, Any]
    steps: int
    epochs: float
    tokens: int
    loss_tokens: int | None = None
    rehearsal_tokens: int = 0
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
    of combinations that the suite tries, this one among them. Where `confirms` is true, the seed is one that no point
    was chosen with.

    A record of `untouched` or `open_book` (`benchmark.suite.references`) is of the model before training: it has no
    `training`, and its seed is 0.

    `scores` maps lm-eval task → number of examples → half → metric → mean over that half's questions. `stages` maps
    each stage to the key of its artifact. `retention` has what the suite's entries of that name gave, `curve` what
    checkpoints gave (before the last step). `created`, `cost` and `environment` may differ between two runs of one
    cell; all else may not.
    """

    schema_version: Literal[1, 2] = 2
    cell: str
    suite: str
    created: str
    model: ModelInfo
    pair: PairInfo | None
    task: TaskInfo
    method: MethodInfo
    seed: int
    facts: FactsInfo | None = None
    training: TrainingInfo | None
    evaluation: dict[str, Any]
    scoring: dict[str, Any]
    scores: Scores
    stages: dict[str, str]
    cost: dict[str, Cost]
    environment: Environment
    answers: AnswersInfo
    choice: list[str] = []
    points: int = Field(default=1, ge=1)
    confirms: bool = False
    retention: dict[str, RetentionInfo] = {}
    curve: list[CurvePoint] = []
    sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, content: Any) -> Any:
        """Records of version 1 have one number of examples: what the suite said, else what the task did."""
        if not isinstance(content, dict) or content.get("schema_version") != 1:
            return content
        asked = (content.get("evaluation") or {}).get("num_fewshot")
        return {
            **content,
            "scores": _by_shots(content.get("scores"), asked),
            "curve": [{**one, "scores": _by_shots(one.get("scores"), asked)} for one in content.get("curve") or []],
        }

    @property
    def is_reference(self) -> bool:
        """Whether nothing was trained."""
        return self.training is None

    @property
    def shots(self) -> list[int]:
        """The numbers of examples that questions with an exact match were asked with, rising."""
        return shots_of(self.scores)

    def body_hash(self) -> str:
        """SHA-256 of the record's canonical JSON without the field `sha256` itself."""
        return _body_hash(self.model_dump(mode="json"))

    @property
    def development_score(self) -> float:
        """Exact match on the development half with the number of examples that is best there; 0 where none is."""
        return best_shots([self.scores], "development")[1]

    def results(self) -> dict[str, Any]:
        """All that must be equal when the same cell is run twice: everything but times, memory and environment."""
        return self.model_dump(mode="json", exclude={"sha256", "created", "cost", "environment"})


def flat_scores(scores: Scores) -> dict[tuple[str, int, str, str], float]:
    """Every mean by lm-eval task, number of examples, half and metric."""
    return {
        (task, int(shots), half, metric): value
        for task, by_shots in scores.items()
        for shots, halves in by_shots.items()
        for half, metrics in halves.items()
        for metric, value in metrics.items()
    }


def shots_of(scores: Scores) -> list[int]:
    """The numbers of examples with which an exact match was measured, rising."""
    return sorted({shots for _, shots, _, metric in flat_scores(scores) if metric == "exact_match"})


def mean_exact_match(scores: Scores, half: str, shots: int) -> float:
    """Exact match on one half with so many examples, the mean over lm-eval tasks; 0 where none measures it."""
    asked = (by_shots.get(str(shots), {}).get(half, {}) for by_shots in scores.values())
    values = [metrics["exact_match"] for metrics in asked if "exact_match" in metrics]
    return sum(values) / len(values) if values else 0.0


def best_shots(scores: Sequence[Scores], half: str) -> tuple[int, float]:
    """The number of examples with the highest exact match on one half, and that exact match.

    It is the mean over lm-eval tasks, and over several seeds' scores, which have the same numbers of examples; of equal
    ones the lowest number counts. Without any, 0 examples and 0.
    """
    means = {
        shots: sum(mean_exact_match(one, half, shots) for one in scores) / len(scores) for shots in shots_of(scores[0])
    }
    best = max(means, key=lambda shots: (means[shots], -shots), default=0)
    return best, means.get(best, 0.0)


OLD_SHOTS = 5  # of the tasks that ask in words, in records of version 1 whose suite does not say it


def _by_shots(scores: Any, asked: Any) -> Any:
    """Scores of version 1, task → half → metric, with the number of examples between."""
    if not isinstance(scores, dict):
        return scores
    return {task: {str(old_shots(task, asked)): halves} for task, halves in scores.items()}


def old_shots(task: str, asked: Any) -> int:
    """The number of examples that a record of version 1 asked an lm-eval task with."""
    if task.endswith("_choice") or task == "corpus":
        return 0
    return asked if isinstance(asked, int) else OLD_SHOTS


def _body_hash(content: dict[str, Any]) -> str:
    body = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def read_record(path: Path) -> Record:
    """Read and verify a record and the answers beside it.

    Raises UserError if it does not fit the schema, or if it or its answers were changed after they were written.
    """
    text = read_text(path, _MOST_BYTES, _AGAIN)
    try:
        record = Record.model_validate_json(text)
        # Of the file as it is: fields that came to the schema later are not in records from before.
        whole = record.sha256 == _body_hash(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise UserError(f"{path}: {where}: {first['msg']}; {_AGAIN}") from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{path}: file: {error}; {_AGAIN}") from None
    if not whole:
        raise UserError(
            f"{path}: sha256: the record was changed after it was written; run the suite again to make it anew"
        )
    answers = path.parent / record.answers.file
    if Path(record.answers.file).name != record.answers.file or not answers.is_file():
        raise UserError(f"{path}: answers.file: {record.answers.file!r} is not beside the record; run the suite again")
    if file_hash(answers) != record.answers.sha256:
        raise UserError(f"{answers}: does not have the hash that its record names; run the suite again to make it anew")
    return record
