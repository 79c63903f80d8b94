"""The result record: one cell as JSON, with the answer to every question in a Parquet file beside it.

`<name>.json` holds a Record. `<name>.answers.parquet` holds a row per question and number of few-shot examples, with
ANSWER_COLUMNS and, for tasks that know it, DISTANCE_COLUMNS: the distance in the text from the last mention of the
subject's name to the answer (negative if the answer comes first; tokens are the trained model's). Where a user's file
names kinds of questions, it has KIND_COLUMN as well. The board is made from records and answers alone, so this module
imports neither torch nor the stages.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from benchmark.core.environment import Cost, Environment
from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.core.inputs import read_text
from benchmark.records.scores import Scores, best_shots, shots_of, with_shots

WRITTEN, CHOSEN, CLOZED = ("exact_match", "f1", "answered"), ("acc", "acc_norm"), ("cloze",)  # by kind of question
METRICS = (*WRITTEN, *CHOSEN, *CLOZED)
ANSWER_COLUMNS = ("question", "task", "cluster", "half", "shots", *METRICS, "answer")
DISTANCE_COLUMNS = ("distance_characters", "distance_tokens")  # optional
KIND_COLUMN = "kind"  # optional, after those
Role = Literal["trained", "large", "small"]  # the model whose token scores are meant
SCORING: tuple[Role, ...] = get_args(Role)  # names of the stages that score tokens
HALVES = ("development", "test")
OPEN_BOOK = "open_book"  # the document in the prompt
REFERENCES = frozenset({"untouched", OPEN_BOOK})  # method names in records of the untrained model
_MAX_BYTES = 2**24  # of a record; shipped suites make records of about 6 kB
_REMEDY = "run the suite again to make a new record"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ModelInfo(_Strict):
    """A model as it was used. `fingerprint` is the hash of local weights, or the commit on the hub."""

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

    `questions` counts a question once for each way in which it was asked. `pieces_hash` is the hash of the texts after
    splitting, if the suite splits long texts.
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
    """How training texts were made. `texts` counts originals and copies together.

    `package` is the distribution, with its version, that provides the method; None for methods of this project.
    """

    name: str
    parameters: dict[str, Any]
    copies: int
    texts: int
    package: str | None = None


class FactsInfo(_Strict):
    """How many of the facts asked about a method's copies keep; see `benchmark.stages.facts`.

    `facts` is the number of pairs of a copy and a fact of its original. `answer` is the share of them whose gold answer
    is intact in the copy, `answer_and_name` the share in which the subject's name is intact as well. `tokens` is the
    relative increase in tokens from originals to copies. Shares are None if there is nothing to count.
    """

    copies: int
    facts: int
    answer: float | None
    answer_and_name: float | None
    tokens: float | None


class WrittenInfo(_Strict):
    """Texts that a writer wrote for a method, over all its prompts; see `benchmark.writing`.

    `writer` is the name in the suite. `model` describes a model on the machine, `api_model` names the model of an
    endpoint. `sampling` says how it was sampled. `texts` counts the texts used and `samples` all answers drawn.
    `left_out` counts texts that are missing after all tries, by problem, `drawn_again` answers that were drawn again,
    and `gold_questions` questions left out since the task asks them. `invented` is the share of names and numbers in
    the copies that their originals do not have. `sha256` lists the hashes of the written files.
    """

    writer: str
    model: ModelInfo | None = None
    api_model: str | None = None
    sampling: dict[str, Any]
    texts: int
    samples: int
    left_out: dict[str, int]
    drawn_again: dict[str, int]
    gold_questions: int
    prompt_tokens: int
    tokens: int
    invented: float | None = None
    sha256: list[str]


class TrainingInfo(_Strict):
    """How the model was trained. `budget` is the suite's label of the budget, such as "400 steps".

    `tokens` counts the tokens read, with repetitions; `loss_tokens` those of them that counted in the loss (None in
    older records), and `rehearsal_tokens` those of rehearsal and practice, which are not part of the corpus.
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
    """Retention: what training cost on one held-out text or lm-eval task, by `metric`.

    `measured` is the suite's entry, with the hash of a file in place of its path. `before` is the untouched model's
    value and `after` the trained model's. `forgetting` is the change for the worse: it is positive if the model got
    worse, whichever direction of the metric is better. `numbers` has everything measured "before" and "after".
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
    """The model's scores after `steps` optimizer steps; `scores` as in a record."""

    steps: int
    scores: Scores


class Record(_Strict):
    """One line of results: trained model × pair × task × method × seed.

    `choice` lists, as dotted fields, the parameters over which the suite chooses: among records that differ only in
    these, the board takes the one with the highest exact match on the development half. `points` is the number of
    combinations that the suite tries for this row. `confirms` says that no combination was chosen with this seed.

    Records of `untouched` and `open_book` (`benchmark.suite.references`) are of the model before training: they have no
    `training`, and seed 0.

    `scores` maps lm-eval task → number of examples → half → metric → mean over that half's questions. `stages` maps
    each stage to the key of its artifact. `retention` has the results of the suite's retention entries, `curve` those
    of checkpoints before the last step. Two runs of the same cell may differ in `created`, `cost` and `environment`
    only.
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
    written: WrittenInfo | None = None
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
        """Add the number of examples, which records of version 1 lack: the suite's, else the task's default."""
        if not isinstance(content, dict) or content.get("schema_version") != 1:
            return content
        asked = (content.get("evaluation") or {}).get("num_fewshot")
        return {
            **content,
            "scores": with_shots(content.get("scores"), asked),
            "curve": [
                {**point, "scores": with_shots(point.get("scores"), asked)} for point in content.get("curve") or []
            ],
        }

    @property
    def is_reference(self) -> bool:
        """Whether the record is of the untrained model."""
        return self.training is None

    @property
    def shots(self) -> list[int]:
        """The numbers of examples with which an exact match of direct questions was measured, ascending."""
        return shots_of(self.scores)

    def body_hash(self) -> str:
        """SHA-256 of the record's canonical JSON without the field `sha256` itself."""
        return _body_hash(self.model_dump(mode="json"))

    @property
    def development_score(self) -> float:
        """The exact match on the development half with its best number of examples; 0 if there is none."""
        return best_shots([self.scores], "development")[1]

    def results(self) -> dict[str, Any]:
        """The fields that are equal in two runs of the same cell: all but times, memory and environment."""
        return self.model_dump(mode="json", exclude={"sha256", "created", "cost", "environment"})


def _body_hash(content: dict[str, Any]) -> str:
    body = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def read_record(path: Path) -> Record:
    """Read a record and verify it and the answers beside it.

    Raises:
        UserError: The record does not fit the schema, or the record or its answers were changed after the run.
    """
    text = read_text(path, _MAX_BYTES, _REMEDY)
    try:
        record = Record.model_validate_json(text)
        # Hash the file's own content: older records lack fields that the schema has gained since.
        intact = record.sha256 == _body_hash(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise UserError(f"{path}: {where}: {first['msg']}; {_REMEDY}") from None
    except ValueError as error:  # a number with thousands of digits
        raise UserError(f"{path}: file: {error}; {_REMEDY}") from None
    if not intact:
        raise UserError(f"{path}: sha256: the record was changed after it was written; {_REMEDY}")
    answers = path.parent / record.answers.file
    if Path(record.answers.file).name != record.answers.file or not answers.is_file():
        raise UserError(f"{path}: answers.file: {record.answers.file!r} is not beside the record; {_REMEDY}")
    if file_hash(answers) != record.answers.sha256:
        raise UserError(f"{answers}: does not have the hash that its record names; {_REMEDY}")
    return record
