"""The FictionalQA task: its files, the choice of events and questions, alone and under stock lm-eval."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmark.corpora.fictional import FictionalQa
from benchmark.evaluation import asking
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.tasks.fictional import fictional
from tests.fictional import TOWNS, document, question, rows, write, write_sample

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return write_sample(tmp_path / "fictionalqa")


def asked(folder: Path, **options: Any) -> list[tuple[str, str]]:
    """What is asked of which document."""
    documents = fictional.read_events(folder, **options).documents
    return [(d["id"], q["question"]) for d in documents for q in d["questions"]]


def test_parquet_and_json_lines_and_a_file_beside_the_folders_give_the_same(sample: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    documents, questions = rows()
    as_parquet = tmp_path / "parquet"
    for name, content in (("fictions", documents), ("joined_qa", questions)):
        (as_parquet / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(content), as_parquet / name / "train-00000-of-00001.parquet")
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("fictions", "joined_qa"):
        (flat / f"{name}.jsonl").write_bytes((sample / name / "train.jsonl").read_bytes())
    expected = fictional.read_events(sample)
    assert len(expected.documents) == 18
    assert fictional.read_events(as_parquet) == fictional.read_events(flat) == expected


def test_without_joined_qa_grades_come_from_the_blind_attempts(sample: Path, tmp_path: Path) -> None:
    documents, questions = rows()
    questions[1]["grade_blind"] = 1
    joined = write(tmp_path / "joined", fictions=documents, joined_qa=questions)
    attempts = [{"question_id": q["question_id"], "grade": q["grade_blind"]} for q in questions]
    bare = [
        {key: value for key, value in q.items() if key not in ("grade_blind", "style", "fiction")} for q in questions
    ]
    apart = write(tmp_path / "apart", fictions=documents, fict_qa=bare, blind_answer_attempts=attempts)
    assert fictional.read_events(apart) == fictional.read_events(joined) != fictional.read_events(sample)


def test_documents_of_an_event_share_a_half_and_halves_alternate(sample: Path) -> None:
    read = fictional.read_events(sample).documents
    halves: dict[str, set[str]] = {}
    for d in read:
        halves.setdefault(d["event"], set()).add(d["half"])
    assert all(len(of_event) == 1 for of_event in halves.values()) and len(halves) == 6
    assert Counter(half for of_event in halves.values() for half in of_event) == {"development": 3, "test": 3}
    loaded = fictional.load(half="all", fictional_path=str(sample))["questions"]
    assert {(row["cluster"], row["half"]) for row in loaded} == {(event, *half) for event, half in halves.items()}


def test_fewer_events_are_the_first_of_more_and_another_seed_draws_others(sample: Path) -> None:
    def drawn(events: int | None, seed: int = 1) -> list[str]:
        return list(dict.fromkeys(d["event"] for d in fictional.read_events(sample, events, seed=seed).documents))

    assert drawn(3) == drawn(None)[:3] and sorted(drawn(None)) == [f"event_{n:03d}" for n in range(6)]
    assert len({tuple(drawn(None, seed)) for seed in range(5)}) > 1


def test_a_question_of_the_same_words_is_asked_once_and_the_others_are_counted(sample: Path) -> None:
    read = fictional.read_events(sample)
    assert read.left_out == {"no_answer": 0, "duplicate": 12, "answered_without_the_text": 0}
    per_style = Counter((d["style"], len(d["questions"])) for d in read.documents)
    assert per_style == {("news", 2): 6, ("blog", 1): 6, ("encyclopedia", 1): 6}


def test_of_a_repeated_question_whose_first_document_is_not_taken_another_is_asked(sample: Path) -> None:
    read = fictional.read_events(sample, styles=["encyclopedia", "blog"])
    assert {d["style"] for d in read.documents} == {"blog", "encyclopedia"}
    years = [d["style"] for d in read.documents for q in d["questions"] if q["question"].startswith("When")]
    assert years == ["blog"] * 6  # the first by its id
    assert read.left_out["duplicate"] == 6


def test_similar_questions_are_asked_once_where_wanted_along_the_authors_chain(tmp_path: Path) -> None:
    news, blog = document(0, "news"), document(0, "blog")
    first = question(news, 0, "Who built it?", "Ada Orrin")
    # The second resembles the third, which is marked as the root; the first of the blog repeats the second's words.
    third = question(news, 2, "Who made it?", "Ada")
    second = question(
        news, 1, "Who was its maker?", "Ada", duplicate_relationship="similar", duplicate_root=third["question_id"]
    )
    again = question(
        blog, 0, second["question"], "Ada", duplicate_relationship="exact", duplicate_root=second["question_id"]
    )
    folder = write(tmp_path, fictions=[news, blog], joined_qa=[again, second, first, third])
    exact = [text for _, text in asked(folder)]
    assert sorted(exact) == sorted(["Who built it?", "Who was its maker?", "Who made it?"])
    assert sorted(text for _, text in asked(folder, duplicates="similar")) == ["Who built it?", "Who made it?"]
    assert fictional.read_events(folder, duplicates="similar").left_out["duplicate"] == 2


def test_what_has_no_answer_or_was_answered_without_the_text_is_left_out_and_counted(tmp_path: Path) -> None:
    news = document(1, "news")
    questions = [
        question(news, 0, "Asked?", "2101"),
        question(news, 1, "Without an answer?", None),
        question(news, 2, "With an empty one?", "  "),
        question(news, 3, "Known to all?", "Vesk", grade_blind=1),
    ]
    folder = write(tmp_path, fictions=[news], joined_qa=questions)
    assert asked(folder) == [(news["fiction_id"], "Asked?")]
    assert fictional.read_events(folder).left_out == {"no_answer": 2, "duplicate": 0, "answered_without_the_text": 1}


def test_the_cloze_has_the_document_up_to_an_answer_that_stands_in_it(tmp_path: Path) -> None:
    news = document(2, "news")
    questions = [question(news, 0, "When?", "2102"), question(news, 1, "How long?", "forty yards")]
    folder = write(tmp_path, fictions=[news], joined_qa=questions)
    (row,) = fictional.load(half="all", cloze=True, fictional_path=str(folder))["questions"]
    assert row["context"] == "From the news desk. The bridge of Talmouth opened in"
    assert row["target"] == " 2102."  # with the mark behind it
    assert len(fictional.load(half="all", fictional_path=str(folder))["questions"]) == 2
    (open_book, _) = fictional.load(half="all", open_book=True, fictional_path=str(folder))["questions"]
    assert open_book["before"] == f"{news['fiction']}\n\n"


NEWS = document(0, "news")
TRUE = question(NEWS, 0, "When?", "2100")


@pytest.mark.parametrize(
    ("documents", "questions", "message"),
    [
        ([NEWS, NEWS], [TRUE], r"fictions/train\.jsonl:2: fiction_id: .* is there twice"),
        ([{**NEWS, "style": "poem"}], [TRUE], r"train\.jsonl:1: style: 'poem' is none of news, social"),
        ([{**NEWS, "fiction": " "}], [TRUE], r"train\.jsonl:1: fiction: expected a string"),
        ([], [TRUE], "fictions: no document in it"),
        ([NEWS], [TRUE, TRUE], r"joined_qa/train\.jsonl:2: question_id: .* is there twice"),
        ([NEWS], [{**TRUE, "fiction_id": "x"}], r"train\.jsonl:1: fiction_id: 'x' is no document of fictions"),
        ([NEWS], [{**TRUE, "question": None}], r"train\.jsonl:1: question: expected a string"),
        ([NEWS], [{**TRUE, "grade_blind": None}], r"train\.jsonl:1: grade_blind None; expected 0 or 1"),
        ([NEWS], [{**TRUE, "duplicate_relationship": "twin"}], r"duplicate_relationship: 'twin' is none of exact"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_file_row_and_field(
    tmp_path: Path, documents: list[dict[str, Any]], questions: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fictional.read_events(write(tmp_path, fictions=documents, joined_qa=questions))


def test_options_and_folders_that_do_not_fit_are_refused_by_name(sample: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"events": 7}, "events: 7 is no number from 1 to 6"),
        ({"styles": ["poem"]}, "styles: 'poem': expected a list of one or more of news"),
        ({"styles": "news"}, "styles: 'n"),
        ({"duplicates": "none"}, "duplicates: 'none' is none of exact, similar"),
    ):
        with pytest.raises(ValueError, match=message):
            fictional.read_events(sample, **options)
    with pytest.raises(ValueError, match="nowhere: no such folder; give one with fictions and joined_qa"):
        fictional.read_events(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no fictions/\*\.parquet or fictions\.jsonl in it"):
        fictional.read_events(write(tmp_path / "half", joined_qa=[TRUE]))
    (sample / "fictions.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"fictions is there as \.parquet and as \.jsonl; leave one"):
        fictional.read_events(sample)


def test_lm_eval_asks_with_five_shots_that_no_document_answers(sample: Path) -> None:
    from lm_eval.tasks import TaskManager

    metadata = {"fictional_path": str(sample)}
    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=metadata)
    task = manager.load(["fictional"])["tasks"]["fictional"]
    (doc, *_) = task.eval_docs
    prompt = task.fewshot_context(doc, 5)
    assert prompt.count("Question: ") == 6 and prompt.endswith(f"Question: {doc['question']}\nAnswer:")
    assert not any(town in prompt.split(doc["question"])[0] for town in TOWNS)


@pytest.mark.slow
def test_the_stock_lm_eval_command_gives_the_numbers_of_the_harness(sample: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"events": 4, "styles": ["news", "blog"]}
    metadata = FictionalQa(path=sample, **options).load().metadata
    names = ["fictional", "fictional_cloze"]
    spec = ModelSpec(model="zoo:small")
    samples, versions, _ = asking.ask(load_model(spec, "cpu"), tokenizer_of(spec), names, metadata, 4, num_fewshot=[5])
    assert versions == dict.fromkeys(names, "1.0")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    given = {**options, "half": "all", "fictional_path": str(sample)}
    zoo = ROOT / "benchmark" / "models" / "zoo" / "small"
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={zoo},dtype=float32"]
    command += ["--include_path", str(ROOT / "tasks"), "--tasks", ",".join(names), "--metadata", json.dumps(given)]
    command += ["--device", "cpu", "--batch_size", "4", "--output_path", "out", "--log_samples"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, cwd=elsewhere, check=True, env=environment, capture_output=True)
    for name, metrics in (("fictional", ("exact_match", "f1", "answered")), ("fictional_cloze", ("cloze",))):
        (file,) = (elsewhere / "out").rglob(f"samples_{name}_2*.jsonl")
        stock = {line["doc"]["id"]: line for line in map(json.loads, file.read_text(encoding="utf-8").splitlines())}
        ((_, mine),) = [(key, found) for key, found in samples.items() if key[0] == name]
        assert {sample["doc"]["id"] for sample in mine} == set(stock) and len(stock) >= 12
        for one in mine:
            assert [one[metric] for metric in metrics] == [stock[one["doc"]["id"]][metric] for metric in metrics]
