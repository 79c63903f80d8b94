"""The evaluate stage must give the numbers that stock lm-eval gives, question by question."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmark.core.errors import UserError
from benchmark.corpora.biography import Biography
from benchmark.data.people import make_people, people_lines
from benchmark.evaluation import asking
from benchmark.models.loading import load_trained, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.records.record import ANSWER_COLUMNS, METRICS
from benchmark.stages import evaluate
from benchmark.store.artifacts import StageCall
from tests.tiny import biographies, train, train_call

ROOT = Path(__file__).parents[2]
TASKS = ["biography_major", "biography_major_choice"]
METADATA = {"half": "all", "people": 6}


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a train stage for an adaptation: forty steps on six people, enough for well-formed answers."""
    made: dict[str, Path] = {}

    def get(adaptation: str) -> Path:
        if adaptation not in made:
            recipe = {"adaptation": adaptation, "batch_size": 6, "learning_rate": 0.02}
            call = train_call(tiny, recipe=recipe, budget={"steps": 40})
            made[adaptation] = train(call, biographies(6), tmp_path_factory.mktemp(adaptation))
        return made[adaptation]

    return get


def run(model: Path, trained: Path, out: Path, **changes: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run the stage; returns the rows of its answers file and its results."""
    params = {"device": "cpu", "threads": 1, "tasks": TASKS, "batch_size": 8, "num_fewshot": [5], **changes}
    call = StageCall("evaluate", 1, params, where={"model": {"model": str(model)}, "metadata": METADATA})
    out.mkdir()
    evaluate.run(call, {"trained": trained}, out, lambda done, total: None)
    return pq.read_table(out / "answers.parquet").to_pylist(), json.loads((out / "results.json").read_text())


def stock(tasks: list[str], num_fewshot: int | None, **model: Any) -> dict[str, Any]:
    """The results of stock lm-eval for a model that it loads itself."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=dict(METADATA))
    lm = HFLM(device="cpu", dtype="float32", batch_size=8, **model)
    results: dict[str, Any] = simple_evaluate(
        lm, tasks=tasks, num_fewshot=num_fewshot, task_manager=manager, log_samples=True
    )
    return results


@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_the_answers_are_those_of_stock_lm_eval(
    tiny: Path, trained: Callable[[str], Path], tmp_path: Path, adaptation: str
) -> None:
    folder = trained(adaptation)
    rows, results = run(tiny, folder, tmp_path / "out", tasks=[*TASKS, "biography_major_cloze"], num_fewshot=[0, 1, 5])
    where = {"pretrained": str(folder / "model"), "tokenizer": str(tiny)}
    if adaptation == "lora":
        where = {"pretrained": str(tiny), "peft": str(folder / "model")}
    mine = {(row["task"], row["shots"], row["question"]): row for row in rows}
    assert len(mine) == len(rows) == 6 * (3 + 1 + 1)
    compared = 0
    for task, shots, metrics in (
        *(("biography_major", shots, ("exact_match", "f1", "answered")) for shots in (0, 1, 5)),
        ("biography_major_choice", 0, ("acc", "acc_norm")),
        ("biography_major_cloze", 0, ("cloze",)),
    ):
        expected = stock([task], num_fewshot=shots if task == "biography_major" else None, **where)
        for sample in expected["samples"][task]:
            row = mine[task, shots, sample["doc"]["id"]]
            assert (row["cluster"], row["half"]) == (sample["doc"]["cluster"], sample["doc"]["half"])
            measured = {metric: row[metric] for metric in METRICS if row[metric] is not None}
            assert measured == pytest.approx({metric: sample[metric] for metric in metrics})
            assert row["answer"] == (sample["filtered_resps"][0] if "exact_match" in metrics else None)
            compared += 1
        for metric in metrics:
            halves = [results["scores"][task][str(shots)][half][metric] for half in ("development", "test")]
            assert sum(halves) / 2 == pytest.approx(expected["results"][task][f"{metric},none"], abs=1e-6)
    assert compared == len(rows)
    assert len({row["answer"] for row in rows}) > 3


def test_the_answers_file_has_its_columns_and_a_row_per_question_in_order(
    tiny: Path, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    rows, _ = run(tiny, trained("lora"), tmp_path / "out")
    assert all(tuple(row) == ANSWER_COLUMNS for row in rows)
    people = [f"person-{number:05d}" for number in range(6)]
    assert [(row["task"], row["question"]) for row in rows] == [
        (task, f"{person}:major") for task in TASKS for person in people
    ]


def test_the_number_of_shots_can_be_set(tiny: Path, trained: Callable[[str], Path], tmp_path: Path) -> None:
    metadata, model = (
        dict(METADATA),
        load_trained(ModelSpec(model=str(tiny)), "cpu", trained("lora") / "model"),
    )
    tokenizer = tokenizer_of(ModelSpec(model=str(tiny)))
    samples = asking.ask(model, tokenizer, ["biography_major"], metadata, batch_size=8, num_fewshot=[0]).samples
    prompts = [sample["arguments"][0][0] for sample in samples["biography_major", 0]]
    assert all(prompt.count("Question:") == 1 for prompt in prompts)


def test_answered_requests_are_reported_and_no_bar_is_shown(
    tiny: Path, trained: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    spec, reported = ModelSpec(model=str(tiny)), list[tuple[int, int]]()
    model = load_trained(spec, "cpu", trained("lora") / "model")
    tasks, metadata = ["biography_major", "biography_major_choice"], {"half": "all", "people": 3}
    capsys.readouterr()
    asking.ask(
        model,
        tokenizer_of(spec),
        tasks,
        metadata,
        2,
        num_fewshot=[0],
        progress=lambda done, of: reported.append((done, of)),
    )
    # Three questions. With three people each question has three choices, and each choice is a request.
    assert reported == [*((done, 3) for done in (1, 2, 3)), *((done, 9) for done in range(1, 10))]
    assert "requests" not in capsys.readouterr().err


def test_the_tokenizer_that_stages_share_is_not_changed(
    tiny: Path, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    run(tiny, trained("lora"), tmp_path / "out", tasks=["biography_major_choice"])
    tokenizer = tokenizer_of(ModelSpec(model=str(tiny)))
    assert tokenizer.pad_token is None and tokenizer.padding_side == "right"


def test_means_are_those_computed_by_hand() -> None:
    nothing = dict.fromkeys(METRICS)
    test, said = {**nothing, "half": "test"}, {"task": "t", "shots": 0}
    rows: list[dict[str, Any]] = [
        {**test, **said, "exact_match": 1.0, "f1": 1.0, "answered": 1.0},
        {**test, **said, "exact_match": 0.0, "f1": 0.5, "answered": 1.0},
        {**test, **said, "exact_match": 0.0, "f1": 0.0, "answered": 0.0},
        {**test, **said, "shots": 5, "exact_match": 0.0, "f1": 0.25, "answered": 1.0},
        {**nothing, **said, "half": "development", "exact_match": 1.0, "f1": 0.25, "answered": 1.0},
        {**test, "task": "c", "shots": 0, "acc": 0.0, "acc_norm": 1.0},
        {**test, "task": "z", "shots": 0, "cloze": 1.0},
    ]
    assert evaluate.means(rows) == {
        "t": {
            "0": {
                "development": {"exact_match": 1.0, "f1": 0.25, "answered": 1.0},
                "test": {"exact_match": 0.333333, "f1": 0.5, "answered": 0.666667},
            },
            "5": {"development": {}, "test": {"exact_match": 0.0, "f1": 0.25, "answered": 1.0}},
        },
        "c": {"0": {"development": {}, "test": {"acc": 0.0, "acc_norm": 1.0}}},
        "z": {"0": {"development": {}, "test": {"cloze": 1.0}}},
    }


def test_the_error_for_an_unknown_task_names_the_nearest_task() -> None:
    with pytest.raises(UserError, match=r"^lm-eval task 'biography_mayor': unknown; did you mean 'biography_major'\? "):
        asking.ask(None, None, ["biography_mayor"], METADATA, batch_size=1, num_fewshot=[5])


def test_a_prompt_that_lm_eval_would_cut_is_refused(tiny: Path, trained: Callable[[str], Path], tmp_path: Path) -> None:
    short = shutil.copytree(trained("full") / "model", tmp_path / "weights" / "model")
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 160}))
    with pytest.raises(
        UserError, match=r"^biography_major: question 'person-00000:major': .* context of 160; lower eval"
    ):
        run(tiny, short.parent, tmp_path / "out", tasks=["biography_major"])


def test_prompts_are_checked_in_batches_and_none_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PROMPTS_AT_ONCE", 2)
    batches: list[list[str]] = []

    def tokenizer(texts: list[str], verbose: bool) -> dict[str, list[list[int]]]:
        batches.append(texts)
        return {"input_ids": [[0] * len(text) for text in texts]}

    prompts = [
        ("aaa", " bbbb"),
        ("aaaaaa", {"max_gen_toks": 2}),
        ("aaaa", {"max_gen_toks": 4}),
        ("a", " b"),
        ("aaaaa", {"max_gen_toks": 4}),
    ]
    samples = [{"doc": {"id": f"q{i}"}, "doc_id": i, "arguments": [prompt]} for i, prompt in enumerate(prompts)]
    asking.check_prompts({"t": samples[:4]}, tokenizer, 8, "lower it")
    assert batches == [["aaa bbbb", "aaaaaa"], ["aaaa", "a b"]]
    with pytest.raises(
        UserError, match="^t: question 'q4': prompt and answer need 9 tokens, more than .* context of 8;"
    ):
        asking.check_prompts({"t": samples}, tokenizer, 8, "lower it")


def test_questions_on_data_that_changed_since_the_plan_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text("".join(people_lines(make_people(4, 5))), encoding="utf-8")
    task = Biography(path=file)
    corpus = task.load()
    params = {"data": corpus.data_hash, "definition": corpus.definition_hash}
    call = StageCall("evaluate", 1, params, {}, {"entry": task.model_dump(mode="json")})
    evaluate.check_task_unchanged(call)
    file.write_text("".join(people_lines(make_people(4, 6))), encoding="utf-8")
    with pytest.raises(UserError, match="task biography: its data or definition changed while the suite ran"):
        evaluate.check_task_unchanged(call)


def test_a_question_whose_answer_exceeds_the_generation_limit_is_refused(tiny: Path) -> None:
    tokenizer = tokenizer_of(ModelSpec(model=str(tiny)))
    limit = len(tokenizer(" Palaeoclimatology", add_special_tokens=False)["input_ids"])
    sample = {"doc": {"id": "p:major", "answers": ["Palaeoclimatology"]}, "arguments": [("Q", {"max_gen_toks": limit})]}
    asking.check_answers({"biography_major": [sample]}, tokenizer)
    sample["arguments"] = [("Q", {"max_gen_toks": limit - 1})]
    with pytest.raises(
        UserError, match=rf"^biography_major: question 'p:major': its shortest answer has {limit} tokens"
    ):
        asking.check_answers({"biography_major": [sample]}, tokenizer)


@pytest.mark.parametrize(
    ("answers", "characters", "refused"),
    [
        (["１８７１"], "as_written", "writes its answer '１８７１' as '1871'"),
        (["１８７１"], "folded", ""),
        (["１８７１", "1871"], "as_written", ""),
    ],
)
def test_an_answer_that_the_tokenizer_cannot_write_is_refused(
    tiny: Path, tmp_path: Path, answers: list[str], characters: str, refused: str
) -> None:
    from tokenizers import Tokenizer, normalizers

    folder = shutil.copytree(tiny, tmp_path / "model")
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.normalizer = normalizers.NFKC()  # as the tokenizers of sentencepiece have
    backend.save(str(folder / "tokenizer.json"))
    tokenizer = tokenizer_of(ModelSpec(model=str(folder)))
    document = {"id": "q", "answers": answers, "characters": characters}
    samples = {"corpus": [{"doc": document, "arguments": [("Q", {"max_gen_toks": 64})]}]}
    if refused:
        with pytest.raises(UserError, match=rf"^corpus: question 'q': the model's tokenizer {refused}"):
            asking.check_answers(samples, tokenizer)
    else:
        asking.check_answers(samples, tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize("adaptation", ["full", "lora"])
def test_the_answers_are_those_of_the_stock_command_in_another_folder(tmp_path: Path, adaptation: str) -> None:
    """The shipped model, trained so briefly that some answers are right, some wrong and some missing."""
    base, elsewhere = ROOT / "benchmark/models/zoo/large", tmp_path / "elsewhere"
    elsewhere.mkdir()
    recipe = {"adaptation": adaptation, "batch_size": 6, "learning_rate": 0.002}
    call = train_call(base, recipe=recipe, budget={"steps": {"full": 2, "lora": 15}[adaptation]})
    folder = train(call, biographies(6), tmp_path / "trained")
    tasks = ["biography", "biography_choice", "biography_cloze"]
    rows, _ = run(base, folder, tmp_path / "out", tasks=tasks, num_fewshot=[0, 1, 5])
    where = f"pretrained={base},peft={folder / 'model'}"
    if adaptation == "full":
        where = f"pretrained={folder / 'model'},tokenizer={base}"
    mine = {(row["task"], row["shots"], row["question"]): row for row in rows}
    compared = set()
    for shots, names in ((0, tasks), (1, tasks[:1]), (5, tasks[:1])):
        command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"{where},dtype=float32"]
        command += ["--include_path", str(ROOT / "tasks"), "--tasks", ",".join(names), "--device", "cpu"]
        command += ["--batch_size", "8", "--num_fewshot", str(shots), "--metadata", json.dumps(METADATA)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command += ["--output_path", f"out{shots}", "--log_samples"]
        subprocess.run(command, cwd=elsewhere, check=True, env=environment, capture_output=True)
        for file in elsewhere.glob(f"out{shots}/**/samples_*.jsonl"):
            task = file.name.removeprefix("samples_").rsplit("_", 1)[0]
            for line in file.read_text().splitlines():
                sample = json.loads(line)
                row = mine[task, shots, sample["doc"]["id"]]
                for metric in METRICS:
                    assert row[metric] == (pytest.approx(sample[metric]) if metric in sample else None)
                compared.add((task, shots, sample["doc"]["id"]))
    assert compared == set(mine) and len(mine) == 6 * 5 * (3 + 1 + 1)
    for metric in ("exact_match", "answered", "acc", "cloze"):
        assert {row[metric] for row in rows} == {0.0, 1.0, None}
