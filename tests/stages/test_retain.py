"""The retain stage: retention of a model before and after training, and one-line errors."""

import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark import corpora
from benchmark.core.errors import UserError
from benchmark.models.loading import load_model, load_trained, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring.perplexity import measure_text
from benchmark.stages import retain
from benchmark.store.artifacts import StageCall
from benchmark.suite.retention import HubText, make_entry
from tests.tiny import biographies, train, train_call

TEXT = "The lake froze early that year, and nobody crossed it before March.\n" * 20


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    call = train_call(tiny, recipe={"adaptation": "lora", "learning_rate": 0.02}, budget={"steps": 10})
    return train(call, biographies(4), tmp_path_factory.mktemp("trained"))


@pytest.fixture
def lake(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "lake.txt").write_text(TEXT, encoding="utf-8")
    return {"name": "lake", "text": str(tmp_path / "lake.txt")}


@pytest.fixture
def measure(tiny: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run the stage on entries of a suite; returns the content of retention.json."""

    def run(*entries: dict[str, Any], trained: Path | None = None, model: Path = tiny) -> dict[str, Any]:
        parsed = [make_entry(entry) for entry in entries]
        params = {"device": "cpu", "threads": 1, "batch_size": 8, "entries": [entry.identity() for entry in parsed]}
        where = {
            "model": {"model": str(model)},
            "entries": [entry.model_dump(mode="json", exclude_none=True) for entry in parsed],
        }
        out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        out.mkdir()
        inputs = {"trained": trained} if trained else {}
        retain.run(StageCall("retain", 1, params, where=where), inputs, out, lambda *steps: None)
        results: dict[str, Any] = json.loads((out / "retention.json").read_text())
        return results

    return run


def stock(model: Any, tokenizer: Any, task: str, **options: Any) -> dict[str, Any]:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(corpora.TASKS), include_defaults=False)
    lm = HFLM(pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=8)
    results: dict[str, Any] = simple_evaluate(lm, tasks=[task], task_manager=manager, bootstrap_iters=0, **options)
    return results


def test_a_text_is_measured_before_and_after_training(
    measure: Callable[..., dict[str, Any]], tiny: Path, trained: Path, lake: dict[str, Any]
) -> None:
    spec = ModelSpec(model=str(tiny))
    before, after = measure(lake)["lake"], measure(lake, trained=trained)["lake"]
    expected = measure_text(load_model(spec, "cpu"), tokenizer_of(spec), TEXT, 512)
    assert before["numbers"] == expected
    assert (before["metric"], before["higher_is_better"]) == ("perplexity", False)
    assert before["value"] == expected["perplexity"]
    # The loss of the model with its adapter, by transformers.
    model = load_trained(spec, "cpu", trained / "model")
    import torch

    ids = torch.tensor([tokenizer_of(spec)(TEXT)["input_ids"][:512]])
    short = measure({**lake, "tokens": 512}, trained=trained)["lake"]
    assert short["value"] == pytest.approx(math.exp(float(model(input_ids=ids, labels=ids).loss)), rel=1e-5)
    assert after["value"] != before["value"]


def test_entries_have_their_own_window_length_and_metric(
    measure: Callable[..., dict[str, Any]], lake: dict[str, Any]
) -> None:
    other = {**lake, "name": "other", "context": 16, "tokens": 40, "metric": "bits_per_byte"}
    results = measure(lake, other)
    assert [results[name]["numbers"]["context"] for name in ("lake", "other")] == [512, 16]
    assert results["other"]["numbers"]["tokens"] == 15 + 15 + 7
    assert (results["other"]["metric"], results["other"]["value"]) == (
        "bits_per_byte",
        results["other"]["numbers"]["bits_per_byte"],
    )


def test_windows_have_2048_tokens_if_the_model_takes_more() -> None:
    assert retain._window("x", None, 8192) == retain._window("x", None, None) == 2048
    assert retain._window("x", None, 512) == 512
    assert retain._window("x", 4096, 8192) == 4096


def test_a_task_gives_what_stock_lm_eval_gives(measure: Callable[..., dict[str, Any]], tiny: Path) -> None:
    spec = ModelSpec(model=str(tiny))
    choice = {"name": "choice", "lm_eval": "biography_major_choice", "metric": "acc_norm", "limit": 12}
    asked = {"name": "asked", "lm_eval": "biography_major", "metric": "f1", "limit": 3, "num_fewshot": 1}
    results = measure(choice, asked)
    model, tokenizer = load_model(spec, "cpu"), tokenizer_of(spec)
    expected = stock(model, tokenizer, "biography_major_choice", limit=12)["results"]["biography_major_choice"]
    assert results["choice"]["value"] == pytest.approx(expected["acc_norm,none"], abs=1e-6) != 0
    assert results["choice"]["numbers"] == {"acc_norm": results["choice"]["value"], "questions": 12}
    assert results["choice"]["higher_is_better"] is True
    expected = stock(model, tokenizer, "biography_major", limit=3, num_fewshot=1)["results"]["biography_major"]
    assert results["asked"]["value"] == pytest.approx(expected["f1,none"], abs=1e-6)


def test_a_group_gives_the_mean_over_its_tasks(measure: Callable[..., dict[str, Any]], tiny: Path) -> None:
    entry = {"name": "group", "lm_eval": "biography_choice", "metric": "acc", "limit": 2}
    group = measure(entry)["group"]
    spec = ModelSpec(model=str(tiny))
    results = stock(load_model(spec, "cpu"), tokenizer_of(spec), "biography_choice", limit=2)["results"]
    tasks = [value["acc,none"] for name, value in results.items() if name != "biography_choice"]
    assert len(tasks) == 5
    assert group["value"] == pytest.approx(sum(tasks) / 5, abs=1e-6)
    assert group["numbers"]["questions"] == 10


def test_the_filter_of_a_metric_may_be_named(measure: Callable[..., dict[str, Any]]) -> None:
    entry = {"name": "x", "lm_eval": "biography_major_choice", "limit": 1}
    named = measure({**entry, "metric": "acc,none"})["x"]
    assert named["value"] == measure({**entry, "metric": "acc"})["x"]["value"]
    assert (named["metric"], set(named["numbers"])) == ("acc,none", {"acc,none", "questions"})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metric": "acc_nrom"}, r"has no single metric 'acc_nrom'; did you mean 'acc_norm'\? known: acc, acc_norm$"),
        ({"metric": "acc,strict"}, r"has no single metric 'acc,strict'; known: acc,none, acc_norm,none$"),
        ({"num_fewshot": 3}, r": num_fewshot: the task fixes it at 0; remove num_fewshot$"),
    ],
)
def test_an_entry_that_lm_eval_cannot_measure_gives_a_one_line_error(
    measure: Callable[..., dict[str, Any]], changes: dict[str, Any], says: str
) -> None:
    entry = {"name": "x", "lm_eval": "biography_major_choice", "metric": "acc", "limit": 1, **changes}
    with pytest.raises(UserError, match=rf"^retention x: lm-eval task 'biography_major_choice'.*{says}"):
        measure(entry)


def test_a_prompt_that_lm_eval_would_cut_is_refused(
    measure: Callable[..., dict[str, Any]], tiny: Path, tmp_path: Path
) -> None:
    short = shutil.copytree(tiny, tmp_path / "short")
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 160}))
    entry = {"name": "x", "lm_eval": "biography_major", "metric": "f1", "limit": 1}
    with pytest.raises(UserError, match=r"^biography_major: .* context of 160; lower num_fewshot of retention x$"):
        measure(entry, model=short)
    measure({**entry, "num_fewshot": 0}, model=short)


@pytest.fixture
def own_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """lm-eval knows this project's tasks and a few of this test, instead of its own thousands."""
    from lm_eval.tasks import TaskManager

    folder = tmp_path / "tasks"
    folder.mkdir()
    retain._manager.cache_clear()
    index = retain._manager(built_in=False)
    assert "hellaswag" not in index.all_tasks
    monkeypatch.setattr(
        retain,
        "_manager",
        lambda built_in: (
            TaskManager(include_path=[str(corpora.TASKS), str(folder)], include_defaults=False) if built_in else index
        ),
    )
    return folder


def write_task(folder: Path, name: str, **fields: Any) -> None:
    import yaml

    content = {"task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": "nowhere.jsonl"}, **fields}
    content = {
        "output_type": "multiple_choice",
        "test_split": "train",
        "doc_to_text": "q",
        "doc_to_target": 0,
    } | content
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"doc_to_choice": ["a", "b"], **content}), encoding="utf-8")


def test_the_error_for_an_unknown_task_names_the_nearest_task(
    measure: Callable[..., dict[str, Any]], own_tasks: Path
) -> None:
    write_task(own_tasks, "hellaswag")
    with pytest.raises(UserError) as error:
        measure({"name": "x", "lm_eval": "helaswag", "metric": "acc"})
    assert str(error.value) == (
        "retention x: lm-eval task 'helaswag': unknown; did you mean 'hellaswag'? `lm-eval ls tasks` lists them"
    )


def test_missing_data_and_tags_give_a_one_line_error(measure: Callable[..., dict[str, Any]], own_tasks: Path) -> None:
    write_task(own_tasks, "hellaswag")
    with pytest.raises(
        UserError, match=r"^retention x: lm-eval task 'hellaswag': cannot be loaded \(.*; check the net"
    ):
        measure({"name": "x", "lm_eval": "hellaswag", "metric": "acc"})
    rows = own_tasks / "rows.jsonl"
    rows.write_text('{"a": 1}\n{"a": 2}\n')
    for name in ("one", "two"):
        write_task(own_tasks, name, tag="both", dataset_kwargs={"data_files": str(rows)})
    with pytest.raises(UserError, match=r"'both': is a tag of several tasks; name one of these: one, two$"):
        measure({"name": "x", "lm_eval": "both", "metric": "acc"})
    assert measure({"name": "x", "lm_eval": "one", "metric": "acc"})["x"]["numbers"]["questions"] == 2


def test_a_window_longer_than_the_model_takes_is_refused(
    measure: Callable[..., dict[str, Any]], lake: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=r"^retention lake: context: 600 tokens, more than the model's 512; lower it$"):
        measure({**lake, "context": 600})


def test_a_text_with_nothing_to_predict_is_named(measure: Callable[..., dict[str, Any]], lake: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^retention lake: its text is too short: no token is left to predict; give"):
        measure({**lake, "tokens": 1})


def test_the_error_for_running_out_of_memory_names_the_remedy(
    measure: Callable[..., dict[str, Any]], lake: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(retain, "measure_text", fail)
    with pytest.raises(UserError, match=r"^retention lake: out of memory; set its context below 512$"):
        measure(lake)


def test_a_text_changed_since_the_plan_is_refused(tiny: Path, lake: dict[str, Any], tmp_path: Path) -> None:
    entry = make_entry(lake)
    params = {"device": "cpu", "threads": 1, "entries": [entry.identity()]}
    Path(lake["text"]).write_text("other words")
    call = StageCall("retain", 1, params, where={"model": {"model": str(tiny)}, "entries": [lake]})
    remedy = "run the suite again"
    with pytest.raises(UserError, match=rf"^retention lake: .*lake.txt: changed while the suite ran; {remedy}$"):
        retain.run(call, {}, tmp_path, lambda *steps: None)


# --- texts from files and from the hub


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty; give a file with text"),
        (b" \n\n", "is empty; give a file with text"),
        ("Größe".encode("latin-1"), "not UTF-8 at byte 2; convert it first"),
        (None, "No such file or directory; give the path of a text file"),
    ],
)
def test_a_file_without_text_is_refused_before_anything_runs(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "held_out.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        make_entry({"name": "x", "text": str(path)}).identity()
    assert str(error.value) == f"retention x: {path}: {says}"


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replace the hub by a data set of three rows; returns the recorded requests."""
    import datasets

    asked: list[Any] = []

    def load(*args: Any, **options: Any) -> Any:
        asked.append((*args, options))
        return datasets.Dataset.from_dict({"text": ["One.", "", "Two."], "number": [1, 2, 3]})

    monkeypatch.setattr(datasets, "load_dataset", load)
    return asked


def test_the_rows_of_a_hub_data_set_are_one_text_at_one_commit(hub: list[Any]) -> None:
    entry = HubText(name="x", dataset="Salesforce/wikitext", config="wikitext-2-raw-v1", revision=COMMIT)
    assert entry.pinned() == entry
    assert entry.words() == "One.\n\n\n\nTwo."
    assert hub == [("Salesforce/wikitext", "wikitext-2-raw-v1", {"split": "test", "revision": COMMIT})]


def test_a_missing_column_or_one_without_text_is_refused(hub: list[Any]) -> None:
    with pytest.raises(UserError, match=r"has no column 'txt'; did you mean 'text'\? known: number, text$"):
        HubText(name="x", dataset="a/b", column="txt").words()
    with pytest.raises(UserError, match=r"^retention x: column 'number' of 'a/b' is not text; give another$"):
        HubText(name="x", dataset="a/b", column="number").words()


def test_the_commit_comes_from_the_cache_or_else_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Api:
        def dataset_info(self, name: str, revision: str | None, timeout: float) -> Any:
            assert (name, revision) == ("a/b", None)
            return type("Info", (), {"sha": COMMIT})

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert HubText(name="x", dataset="a/b").pinned().revision == COMMIT
    (tmp_path / "datasets--a--b/refs").mkdir(parents=True)
    (tmp_path / "datasets--a--b/refs/main").write_text("f" * 40)
    assert HubText(name="x", dataset="a/b").pinned().revision == "f" * 40


def test_a_hub_that_cannot_be_reached_gives_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as error:
        HubText(name="x", dataset="a/b").pinned()
    assert str(error.value) == (
        "retention x: data set 'a/b': cannot be loaded from the hub (ConnectionError: HF_HUB_OFFLINE is set); "
        "check its name, config, split and the network, or give a file under text"
    )


def test_a_data_set_that_cannot_be_loaded_gives_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach\nthe hub")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(UserError, match=r"cannot be loaded from the hub \(ConnectionError: Couldn't reach the hub"):
        HubText(name="x", dataset="a/b", revision=COMMIT).words()
