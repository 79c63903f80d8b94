"""`benchmark plan --try`: the arithmetic of predictions by hand, and a real try on the small shipped model."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark import __main__ as cli
from benchmark.core.errors import UserError
from benchmark.data.texts import Text
from benchmark.evaluation.asking import Answers
from benchmark.runs import timing, trying
from benchmark.runs.time_estimate import Part, StageEstimate, TimeEstimate
from benchmark.stages import train as train_stage
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.plan import make_plan
from tests.tiny import make_tiny_model, tiny_suite

SUITE = """
name: trial
models: {small: zoo:small}
tasks: [{name: biography, people: 4}]
train: [small]
methods: [plain, plain_matched]
seeds: [1, 2]
copies: 2
budgets: [{epochs: 2}]
recipe: {adaptation: lora, batch_size: 4}
references: false
device: cpu
threads: 1
"""


def call(stage: str, name: str, **inputs: StageCall) -> StageCall:
    return StageCall(stage, 1, {"name": name}, inputs)


CORPUS = call("corpus", "c")
TRAIN = [call("train", f"t{number}", texts=CORPUS) for number in range(3)]
EVALUATE = [call("evaluate", f"e{number}", trained=trained) for number, trained in enumerate(TRAIN)]
MISSING = [CORPUS, *TRAIN, *EVALUATE]


def prediction(workers: int) -> TimeEstimate:
    """Trainings of 10 × 2 + 5 = 25 s, evaluations of 100 × 0.05 + 1 = 6 s, a corpus that is not tried."""
    tried = [StageEstimate(each, "m", [Part("step", 2.0, 10)], 5.0) for each in TRAIN]
    tried += [StageEstimate(each, "m", [Part("question", 0.05, 100)], 1.0) for each in EVALUATE]
    return TimeEstimate(MISSING, tried, {}, workers)


def test_seconds_of_a_stage_are_its_units_and_all_else() -> None:
    tried = StageEstimate(TRAIN[0], "m", [Part("step", 1.7, 400)], 4.0)
    assert tried.seconds == pytest.approx(684)
    assert tried.words == "1.7 s a step × 400 + 4 s besides"
    assert StageEstimate(TRAIN[0], "m", [Part("step", 99.7, 2)], 9.96).words == "100 s a step × 2 + 10 s besides"


def test_workers_share_the_work_but_no_chain_of_stages() -> None:
    assert prediction(1).worker_seconds == prediction(1).seconds == pytest.approx(3 * 31)
    assert prediction(2).seconds == pytest.approx(46.5)
    assert prediction(50).seconds == pytest.approx(31), "a training and then its evaluation"


def test_stages_that_were_not_tried_take_what_such_stages_took_before_or_are_named() -> None:
    assert prediction(1).not_known == {"corpus": 1}
    before = TimeEstimate(MISSING, prediction(1).tried, {"corpus": 7.0, "train": 1000.0}, 1)
    assert before.not_known == {} and before.worker_seconds == pytest.approx(3 * 31 + 7), "tries go before means"
    assert prediction(1).predicted("corpus") is None and before.predicted("corpus") == 7.0
    assert before.predicted("train") == pytest.approx(75)


def test_equal_tries_of_a_kind_are_one_line() -> None:
    assert prediction(1).lines("train") == ["tried: 3 × (2 s a step × 10 + 5 s besides), m"]


def test_the_first_step_is_not_timed() -> None:
    assert timing.seconds_a_step([100.0, 101.5, 103.5, 106.0]) == 2.0


def test_questions_are_asked_until_they_fill_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "clock", clock)
    limits: list[int] = []

    def ask(limit: int) -> int:
        """2 seconds, and .1 for each of three tasks' questions, of which there are 30 in all."""
        limits.append(limit)
        asked = min(3 * limit, 30)
        clock.now += 2 + 0.1 * asked
        return asked

    assert timing.seconds_of_questions(ask, 20) == pytest.approx((2, 0.1))
    assert limits == [1, 4], "the second takes 3 seconds"
    monkeypatch.setattr(timing, "ENOUGH", 9.0)
    limits.clear()
    assert timing.seconds_of_questions(ask, 20) == pytest.approx((2, 0.1)) and limits == [1, 4, 16]
    limits.clear()
    assert timing.seconds_of_questions(ask, 2) == pytest.approx((2, 0.1)) and limits == [1, 4], "at least two times"
    limits.clear()
    assert timing.seconds_of_questions(ask, 1000) == pytest.approx((5, 0)) and limits == [1, 4, 16, 64], "no more there"


class Clock:
    """A clock that stands still unless stubs of work move it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_predicted_seconds_of_a_cell_are_those_of_its_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, limits = Clock(), list[int]()

    def train(call: StageCall, inputs: Any, out: Path, progress: Any, resume_folder: Path) -> float:
        """5 s of loading, a first step of 9 s, steps of 2 s, 1 s of saving."""
        clock.now += 5
        steps = call.params["budget"]["steps"]
        for done in range(1, steps + 1):
            clock.now += 9 if done == 1 else 2
            progress(done, steps, 0)
        clock.now += 1
        return 0.0

    def load(*_: Any) -> object:
        clock.now += 4
        return object()

    def ask(*given: Any, limit: int, **_: Any) -> Answers:
        """4 people, a field, written and as a choice: 3 s a batch and half a second a question."""
        limits.append(limit)
        asked = min(limit, 4)
        clock.now += 3 + 0.5 * 2 * asked
        return Answers({("written", 0): [{}] * asked, ("choice", 0): [{}] * asked}, {}, [])

    monkeypatch.setattr(timing, "clock", clock)
    monkeypatch.setattr(train_stage, "run", train)
    monkeypatch.setattr("benchmark.models.loading.load_trained", load)
    monkeypatch.setattr("benchmark.evaluation.asking.ask", ask)
    suite = tiny_suite(
        make_tiny_model(tmp_path / "tiny"), methods=["plain_matched"], budgets=[{"steps": 50}],
        evaluation={"num_fewshot": [0], "batch_size": 6},
    )  # fmt: skip
    missing = make_plan(suite).calls()
    tried = {each.call.stage: each for each in trying.try_stages(missing, Store(tmp_path / "store"))}
    # 4 steps took 5 + 9 + 3 × 2 + 1 = 21 s. At 2 s each, 21 − 4 × 2 = 13 s are no steps: they come once a training.
    assert tried["train"].parts == [Part("step", 2.0, 50)] and tried["train"].seconds == 13 + 2 * 50
    assert tried["evaluate"].parts == [Part("batch", 3.0, 2), Part("question", 0.5, 8)], "batches of 6"
    assert limits == [1, 4]
    assert TimeEstimate(missing, list(tried.values()), {}, 8).seconds == 113 + (4 + 3 * 2 + 0.5 * 8)


def test_an_error_of_a_model_is_that_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: Any) -> float:
        raise MemoryError

    monkeypatch.setattr(train_stage, "run", train)
    suite = tiny_suite(make_tiny_model(tmp_path / "tiny"), methods=["plain_matched"])
    with pytest.raises(UserError, match="^stage train: out of memory; use fewer --workers, lower recipe.micro_batch"):
        trying.try_stages(make_plan(suite).calls(), Store(tmp_path / "store"))


def test_few_texts_are_the_first_up_to_a_number_of_characters() -> None:
    texts = [Text(str(number), "x" * 3_000) for number in range(5)]
    assert timing.few(texts) == texts[:2]
    assert timing.few([Text("long", "x" * 99_999), *texts]) == [Text("long", "x" * 99_999)]


def test_a_try_predicts_every_stage_with_a_model_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trial.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmark", "plan", "trial.yaml", "--try", "--workers", "2", "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out = capsys.readouterr().out
    assert not end.value.code and [path.name for path in tmp_path.iterdir()] == ["trial.yaml"]
    told = json.loads(out)["try"]
    stages = told["stages"]
    kinds = [stage["stage"] for stage in stages]
    assert kinds.count("train") == kinds.count("evaluate") == 4 and len(kinds) == 8
    steps = sorted(stage["parts"][0]["count"] for stage in stages if stage["stage"] == "train")
    assert steps == [2, 2, 6, 6], "2 epochs of 4 texts, and of 12 with their copies, in batches of 4"
    for stage in stages:
        parts = stage["parts"]
        units = {"train": ["step"], "evaluate": ["batch", "question"]}
        assert [part["unit"] for part in parts] == units[stage["stage"]]
        work = sum(part["seconds"] * part["count"] for part in parts)
        assert work > 0 and stage["besides"] >= 0 and stage["model"] == "zoo:small"
        assert stage["seconds"] == pytest.approx(stage["besides"] + work)
    assert len({stage["parts"][0]["seconds"] for stage in stages}) == 2, "equal work is tried once"
    assert told["workers"] == 2 and set(told["not_known"]) == {"corpus", "augment"}
    assert told["worker_seconds"] == pytest.approx(sum(stage["seconds"] for stage in stages))
    assert told["worker_seconds"] / 2 <= told["seconds"] < told["worker_seconds"]


def test_scores_teachers_writers_and_curves_are_tried_as_well(tmp_path: Path) -> None:
    prompt = tmp_path / "short.md"  # without examples, so that it fits the tiny model
    prompt.write_text("---\nsource: ours\n---\nSay it in other words: {document}\n", encoding="utf-8")
    written = {"name": "context_distillation", "writer": "w", "prompts": str(prompt)}
    tiny = make_tiny_model(tmp_path / "tiny")
    writer = {"model": str(tiny), "max_tokens": 40, "batch_size": 3}
    suite = tiny_suite(tiny, methods=["attention_dropout", written], writers={"w": writer}, curve=[1])
    calls = make_plan(suite).calls()
    by_kind = {tried.call.stage: tried for tried in trying.try_stages(calls, Store(tmp_path / "store"))}
    assert set(by_kind) == {"score", "teach", "write", "train", "evaluate", "curve"}
    people, copies = 4, suite.copies
    texts = {kind: [part.count for part in by_kind[kind].parts] for kind in by_kind}
    assert texts["score"] == [people] and texts["teach"] == [people * (1 + copies)]
    batches = -(-people * copies // 3)
    assert texts["write"] == [batches, batches * 39]
    assert texts["curve"][0] > 0 and texts["evaluate"][0] > texts["curve"][0] / 2
    assert all(tried.seconds > 0 for tried in by_kind.values())
    assert not (tmp_path / "store").exists()
