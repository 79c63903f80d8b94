"""The Wikipedia tasks: options, corpus, keys, answers and a board."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.corpora import TASK_KINDS
from benchmark.corpora.base import Task
from benchmark.corpora.wikipedia import WikipediaMini, WikipediaPwqa, WikipediaSquad
from benchmark.evaluation import asking
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.runs.runner import run_suite
from benchmark.stages import corpus as corpus_stage
from benchmark.store.artifacts import StageCall
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import Suite
from benchmark.tasks.wikipedia import wikipedia
from tests.tiny import InThisProcess, tiny_suite

ROOT = Path(__file__).parents[2]
COMMIT = "c0ffee" * 6 + "c0ff"


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {"context": f"Text {number}.", "question": f"What is {number}?", "answers": [str(number), "it"], **changes}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "wiki.jsonl", [row(number) for number in range(8)])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub's files with the validation split of SQuAD, and no network; returns the cached file."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "datasets--rajpurkar--squad"
    rows = [row(number) for number in range(8)]
    path = write(folder / "snapshots" / COMMIT / "plain_text" / "validation.jsonl", rows)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return path


def test_the_three_tasks_are_in_the_registry() -> None:
    kinds = (WikipediaSquad, WikipediaPwqa, WikipediaMini)
    assert {name: kind for name, kind in TASK_KINDS.items() if name.startswith("wikipedia")} == {
        "wikipedia_squad": kinds[0],
        "wikipedia_pwqa": kinds[1],
        "wikipedia_mini": kinds[2],
    }


def test_a_users_file_gives_its_paragraphs_and_may_not_be_published(file: Path) -> None:
    corpus = WikipediaSquad(path=file, paragraphs=5, subset_seed=7).load()
    drawn = wikipedia.read_paragraphs(file, count=5, seed=7)
    assert [(text.id, text.text, text.subject) for text in corpus.texts] == [(p["id"], p["text"], "") for p in drawn]
    assert list(corpus.halves.values()) == ["development", "test", "development", "test", "development"]
    assert corpus.metadata == {"half": "all", "paragraphs": 5, "subset_seed": 7, "wikipedia_squad_path": str(file)}
    assert not corpus.may_redistribute


def test_the_hubs_paragraphs_are_pinned_to_their_commit_and_may_be_published(hub: Path) -> None:
    corpus = WikipediaSquad().load()
    assert len(corpus.texts) == 8 and corpus.may_redistribute
    assert corpus.metadata == {"half": "all", "subset_seed": 1, "wikipedia_squad_revision": COMMIT}
    asked = wikipedia.load("squad", **corpus.metadata)["questions"]
    assert set(asked["cluster"]) == set(corpus.halves)


def test_an_unreachable_hub_is_reported_in_one_line_that_suggests_a_path(hub: Path) -> None:
    shutil.rmtree(hub.parents[4])
    for task in (WikipediaSquad(), WikipediaPwqa(split="test")):
        with pytest.raises(UserError, match=rf"^task {task.name}: the hub did not give .*; get .* as path ") as caught:
            task.load()
        assert "\n" not in str(caught.value)


def test_shipped_paragraphs_may_be_published() -> None:
    corpus = WikipediaMini().load()
    assert [text.id for text in corpus.texts] == [p["id"] for p in wikipedia.read_mini()]
    assert corpus.may_redistribute and corpus.metadata == {"half": "all"}
    assert WikipediaMini(paragraphs=2).load().metadata == {"half": "all", "paragraphs": 2}


def test_the_data_hash_depends_on_the_content_and_not_on_its_source(file: Path, hub: Path, tmp_path: Path) -> None:
    first = WikipediaSquad(path=file).load()
    assert first.data_hash == WikipediaSquad().load().data_hash
    shutil.copy(file, tmp_path / "moved.json")
    assert WikipediaSquad(path=tmp_path / "moved.json").load().data_hash == first.data_hash
    changes: list[dict[str, Any]] = [{"context": "Text 0!"}, {"question": "What's 0?"}, {"answers": ["0"]}]
    others = [
        WikipediaSquad(path=write(tmp_path / "other.jsonl", [row(0, **change), *map(row, range(1, 8))])).load()
        for change in changes
    ]
    others += [WikipediaSquad(path=file, paragraphs=6).load(), WikipediaSquad(path=file, subset_seed=2).load()]
    assert len({first.data_hash, *(other.data_hash for other in others)}) == 6


def test_the_identity_has_the_options_that_change_texts_or_questions_and_no_paths(file: Path) -> None:
    assert WikipediaSquad(path=file, revision="x", split="train", paragraphs=3, subset_seed=2).identity() == {
        "split": "train",
        "paragraphs": 3,
        "subset_seed": 2,
    }


def test_of_a_list_the_ids_are_in_keys_and_neither_its_path_nor_its_order(file: Path, tmp_path: Path) -> None:
    ids = [p["id"] for p in wikipedia.read_paragraphs(file)]

    def listed(name: str, *chosen: str) -> WikipediaSquad:
        (tmp_path / name).write_text("\n".join(chosen), encoding="utf-8")
        return WikipediaSquad(path=file, paragraphs=tmp_path / name)

    one, same, other = listed("a", *ids[:4]), listed("b", "# again", *reversed(ids[:4])), listed("c", *ids[:5])
    assert one.identity() == same.identity() != other.identity()
    assert str(one.identity()["paragraphs"]).startswith("ids:") and str(tmp_path) not in json.dumps(one.identity())
    corpus = one.load()
    assert {text.id for text in corpus.texts} == set(ids[:4]) and corpus.data_hash == same.load().data_hash
    assert corpus.metadata["paragraphs"] == str(tmp_path / "a")
    asked = wikipedia.load("squad", **corpus.metadata)["questions"]
    assert set(asked["cluster"]) == set(ids[:4])
    entry = one.model_dump(mode="json")
    assert WikipediaSquad.model_validate(entry) == one


def test_a_list_with_an_unknown_id_is_reported_in_one_line(file: Path, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("nobody\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^task wikipedia_squad: .*ids:1: 'nobody' is no paragraph or question of"):
        WikipediaSquad(path=file, paragraphs=tmp_path / "ids").load()


@pytest.mark.parametrize("value", [1, True, 2.5, "", []])
def test_paragraphs_that_are_no_number_and_no_file_are_rejected(file: Path, value: Any) -> None:
    with pytest.raises(ValueError, match="paragraphs\n.*expected a number from 2, or a file of ids"):
        WikipediaSquad.model_validate({"path": file, "paragraphs": value})


def test_the_definition_covers_the_tasks_own_files_and_the_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    before = WikipediaSquad(path=file).load().definition_hash
    assert WikipediaMini().load().definition_hash != before
    changed = tmp_path / "biography.py"
    changed.write_bytes(wikipedia.METRICS_FILE.read_bytes() + b"\n")
    monkeypatch.setattr(wikipedia, "METRICS_FILE", changed)
    assert WikipediaSquad(path=file).load().definition_hash != before


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (WikipediaMini(paragraphs=10**6), r"wikipedia_mini: paragraphs: 1000000 is no number from 1 to"),
        (WikipediaPwqa(path=Path("/nowhere")), "wikipedia_pwqa: /nowhere: no such file or folder"),
    ],
)
def test_options_that_do_not_fit_the_data_are_reported_in_one_line(task: Task, message: str) -> None:
    with pytest.raises(UserError, match=message):
        task.load()


def test_a_half_without_questions_is_rejected(tmp_path: Path) -> None:
    paragraphs = [
        {"context": f"Text {n}.", "qas": [{"question": "Who?", "answers": [{"text": "I"}]}] * (n == 0)} for n in (0, 1)
    ]
    (tmp_path / "s.json").write_text(json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}))
    with pytest.raises(UserError, match=r"s\.json: no question on the (test|development) half; take more paragraphs$"):
        WikipediaSquad(path=tmp_path / "s.json").load()


def test_data_changed_after_planning_are_rejected(file: Path, tmp_path: Path) -> None:
    task = WikipediaSquad(path=file)
    params = {"task": task.name, **task.identity(), "data": task.load().data_hash}
    call = StageCall("corpus", 1, params, {}, {"entry": task.model_dump(mode="json")})
    corpus_stage.run(call, {}, tmp_path, lambda done, total: None)
    write(file, [row(number) for number in range(9)])
    with pytest.raises(UserError, match="^task wikipedia_squad: its data changed while the suite ran"):
        corpus_stage.run(call, {}, tmp_path, lambda done, total: None)


def suite(model: Path, **task: Any) -> Suite:
    return tiny_suite(model, tasks=[task], methods=["plain_matched"])


def test_each_task_is_asked_only_its_own_questions(tiny: Path) -> None:
    with pytest.raises(
        UserError, match=r"unknown lm-eval task 'wikipedia_squad'; .*known: wikipedia_mini, wikipedia_mini_cloze$"
    ):
        make_plan(suite(tiny, name="wikipedia_mini", evaluate=["wikipedia_squad"]))


def test_options_change_the_keys_and_paths_do_not(tiny: Path, file: Path, hub: Path) -> None:
    def keys(**options: Any) -> dict[str, str]:
        (cell,) = make_plan(suite(tiny, name="wikipedia_squad", **options)).cells
        return {role: call.key for role, call in cell.stages.items()}

    from_hub = keys()
    assert keys(path=str(file)) == keys(revision=COMMIT) == from_hub
    other = keys(subset_seed=2)
    assert all(other[role] != from_hub[role] for role in from_hub)


def test_the_stage_gives_the_answers_of_stock_lm_eval(tiny: Path, file: Path) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    metadata = WikipediaSquad(path=file, paragraphs=3).load().metadata
    spec = ModelSpec(model=str(tiny))
    model = load_model(spec, "cpu")
    samples, versions, _ = asking.ask(model, tokenizer_of(spec), ["wikipedia_squad"], metadata, 4, num_fewshot=[5])
    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=dict(metadata))
    lm = HFLM(pretrained=str(tiny), device="cpu", dtype="float32", batch_size=4)
    stock = simple_evaluate(lm, tasks=["wikipedia_squad"], task_manager=manager, bootstrap_iters=0, log_samples=True)
    mine = {sample["doc"]["id"]: sample for sample in samples["wikipedia_squad", 5]}
    assert versions == {"wikipedia_squad": "1.1"} and len(mine) == 3
    for sample in stock["samples"]["wikipedia_squad"]:
        same = mine[sample["doc"]["id"]]
        for key in ("doc", "arguments", "filtered_resps", "exact_match", "f1", "answered"):
            assert same[key] == sample[key]


def test_a_question_with_only_overlong_gold_answers_is_rejected(tiny: Path, tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager

    long, tokenizer = " ".join(map(str, range(200))), tokenizer_of(ModelSpec(model=str(tiny)))

    def check(golds: list[str]) -> None:
        metadata = WikipediaSquad(path=write(tmp_path / "long.jsonl", [row(0, answers=golds), row(1)])).load().metadata
        manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata=metadata)
        task = manager.load(["wikipedia_squad"])["tasks"]["wikipedia_squad"]
        samples = [{"doc": doc, "arguments": [("Q", task.config.generation_kwargs)]} for doc in task.eval_docs]
        asking.check_answers({"wikipedia_squad": samples}, tokenizer)

    check([long, "0"])
    with pytest.raises(
        UserError, match=r"^wikipedia_squad: question '.*': its shortest answer has \d+ tokens, more than the 96"
    ):
        check([long])


def test_a_run_on_paragraphs_gives_a_board_without_fields(tiny: Path, tmp_path: Path) -> None:
    from leaderboard.board.assemble import build_board, load_records

    outcome = run_suite(
        suite(tiny, name="wikipedia_mini", paragraphs=2), tmp_path, tmp_path / "records", InThisProcess(), plain=True
    )
    (record,) = outcome.records.values()
    paragraphs = wikipedia.read_mini(2)
    assert record.task.may_redistribute and (record.task.texts, record.task.clusters) == (2, 2)
    # with 0, 1 and 5 examples, and as a cloze: every shipped answer occurs in its text
    assert record.task.questions == (3 + 1) * sum(len(p["questions"]) for p in paragraphs)
    (table,) = build_board(load_records(tmp_path / "records")).tables
    test = [p for p in paragraphs if p["half"] == "test"]
    assert (table.task, table.fields, table.subjects) == ("wikipedia_mini", (), len(test))
    assert table.questions == sum(len(p["questions"]) for p in test)
    assert set(table.rows[0].scores) == {"exact_match", "f1", "answered", "cloze"}
