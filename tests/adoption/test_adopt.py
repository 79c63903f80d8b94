"""Adopting a trained model: the folder, how other programs load it, how it is asked, and what is refused."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import ModelCard

import benchmark
from benchmark.adoption.adopt import check_free
from benchmark.api import AdoptedModel
from benchmark.cli.adopt import ask as ask_command
from benchmark.core.errors import UserError
from benchmark.runs.prune import prune
from benchmark.runs.runner import run_suite
from benchmark.store.artifacts import Store
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import load_suite, validate
from tests.conftest import ROOT
from tests.tiny import InThisProcess

QUESTION = "How many steps has the lighthouse on Gull Rock?"
IDS = [[3, 1, 4, 1, 5, 9, 2, 6]]
# Runs with no path to this project: only transformers and peft are known.
PLAIN_LOADING = """
import sys, json, torch
from {library} import {loader} as Loader
model = Loader.from_pretrained(sys.argv[1], dtype="float32").eval()
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
assert "benchmark" not in sys.modules
with torch.no_grad():
    logits = model(torch.tensor({ids})).logits
prompt = tokenizer(sys.argv[2], return_tensors="pt")
out = model.generate(**prompt, max_new_tokens=20, do_sample=False)
answer = tokenizer.decode(out[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True)
print(json.dumps([logits[0, -1].tolist(), answer]))
"""


class Home:
    """A finished suite in a folder, with the documents it was trained on."""

    def __init__(self, folder: Path, model: Path, adaptation: str) -> None:
        self.folder, self.model = folder, model
        shutil.copy(ROOT / "docs" / "harbour.jsonl", folder / "harbour.jsonl")
        shot = {"question": "What is kept in the shed?", "answers": ["the lifeboat"]}
        (folder / "shots.jsonl").write_text(json.dumps(shot) + "\n")
        content = {
            "name": "own",
            "models": {"tiny": str(model)},
            "tasks": [{"name": "corpus", "path": str(folder / "harbour.jsonl"), "shots": str(folder / "shots.jsonl")}],
            "train": ["tiny"],
            "methods": ["plain_matched", "sentence_shuffle"],
            "copies": 1,
            "budgets": [{"steps": 2}],
            "evaluation": {"num_fewshot": [1]},
            "recipe": {"adaptation": adaptation, "learning_rate": 0.05, "batch_size": 2},
            "device": "cpu",
        }
        self.suite = folder / "own.yaml"
        self.suite.write_text(yaml.safe_dump(content))
        run_suite(validate(content, "own"), self.results, self.results / "records", InThisProcess(), plain=True)

    @property
    def results(self) -> Path:
        """The folder of store and records."""
        return self.folder / "results"

    def adopt(self, out: Path, **options: Any) -> AdoptedModel:
        """Adopt the model of `plain_matched`."""
        return benchmark.adopt(self.suite, out, self.results, **{"method": "plain_matched", **options})

    def record(self) -> dict[str, Any]:
        """The record of `plain_matched`."""
        (file,) = (self.results / "records" / "own").glob("*plain_matched*.json")
        content: dict[str, Any] = json.loads(file.read_text())
        return content


@pytest.fixture(scope="module")
def home(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A suite that trains LoRA adapters."""
    return Home(tmp_path_factory.mktemp("home"), tiny, "lora")


@pytest.fixture
def own(home: Home, tmp_path: Path) -> Home:
    """A copy of the suite's results that a test may change."""
    changed = object.__new__(Home)
    changed.folder, changed.model, changed.suite = tmp_path / "copy", home.model, home.suite
    shutil.copytree(home.folder, changed.folder)
    return changed


def loaded_elsewhere(folder: Path, library: str, loader: str, tmp_path: Path, prompt: str) -> tuple[list[float], str]:
    """The last logits and an answer of a model that a process without this project loads in another folder."""
    code = PLAIN_LOADING.format(library=library, loader=loader, ids=IDS)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-I", "-c", code, str(folder), prompt]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    logits, answer = json.loads(done.stdout)
    return logits, answer


def trained_logits(home: Home) -> list[float]:
    """The last logits of the model in the store, as this project loads it."""
    import torch

    from benchmark.models.loading import load_trained
    from benchmark.models.spec import ModelSpec

    weights = home.results / "store" / "train" / home.record()["stages"]["train"] / "model"
    model = load_trained(ModelSpec(model=str(home.model)), "cpu", weights)
    with torch.no_grad():
        logits: list[float] = model(torch.tensor(IDS)).logits[0, -1].tolist()
    return logits


def answer_in_evaluation(home: Home) -> str:
    """What the evaluation of the suite got as the answer to QUESTION, the first of the second document."""
    table = pq.read_table(home.results / "store" / "evaluate" / home.record()["stages"]["evaluate"] / "answers.parquet")
    (answer,) = [
        row["answer"] for row in table.to_pylist() if (row["question"], row["task"]) == ("doc-00001:0", "corpus")
    ]
    return str(answer)


@pytest.mark.slow
def test_peft_alone_loads_the_adapter_in_another_folder_with_the_same_logits(home: Home, tmp_path: Path) -> None:
    adopted = home.adopt(tmp_path / "out")
    assert adopted.weights == "LoRA adapter"
    logits, _ = loaded_elsewhere(tmp_path / "out", "peft", "AutoPeftModelForCausalLM", tmp_path, "Question:")
    assert logits == trained_logits(home)


@pytest.mark.slow
def test_transformers_alone_loads_the_merged_weights_and_answers_as_ask_does(home: Home, tmp_path: Path) -> None:
    adopted = home.adopt(tmp_path / "out", merge=True)
    assert adopted.weights == "whole weights"
    shot = "Question: What is kept in the shed?\nAnswer: the lifeboat\n\n"
    prompt = f"{shot}Question: {QUESTION}\nAnswer:"
    logits, answer = loaded_elsewhere(tmp_path / "out", "transformers", "AutoModelForCausalLM", tmp_path, prompt)
    assert logits == pytest.approx(trained_logits(home), abs=1e-4)
    (asked,) = benchmark.ask(tmp_path / "out", QUESTION, device="cpu")
    assert asked.startswith(answer.split("\n")[0].strip()[:20])


def test_ask_gives_the_answer_of_the_evaluation(home: Home, tmp_path: Path) -> None:
    home.adopt(tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "crambench.json").read_text())
    assert settings["asked"]["before"] == "Question: What is kept in the shed?\nAnswer: the lifeboat\n\n"
    assert settings["asked"]["template"] == "Question: {question}\nAnswer:"
    assert benchmark.ask(tmp_path / "out", [QUESTION], device="cpu") == [answer_in_evaluation(home)]


def test_the_command_says_that_the_model_recalled_nothing(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.adopt(tmp_path / "out")
    ask_command(tmp_path / "out", [QUESTION], device="cpu")
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert (
        err.splitlines()[-1] == f"note: this model recalled nothing when it was chosen ({tmp_path / 'out/README.md'})"
    )


def test_the_model_card_says_where_the_model_comes_from(home: Home, tmp_path: Path) -> None:
    home.adopt(tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.library_name == "peft" and "plain_matched" in card.data.tags
    record = home.record()
    for fact in (record["task"]["corpus_hash"], record["cell"], record["sha256"], "trained on 5 documents", "2 steps"):
        assert fact in card.text
    assert "**Nothing was recalled**" in card.text
    assert f"AutoPeftModelForCausalLM.from_pretrained('{tmp_path / 'out'}'" in card.text
    assert f"vllm serve {home.model} --enable-lora --max-lora-rank 16" in card.text


def test_the_model_card_says_if_a_model_wrote_the_questions(own: Home, tmp_path: Path) -> None:
    documents = own.folder / "harbour"
    documents.mkdir()
    shutil.move(own.folder / "harbour.jsonl", documents / "documents.jsonl")
    content = yaml.safe_load(own.suite.read_text())
    content["tasks"][0]["path"] = str(documents)
    own.suite = own.folder / "own.yaml"
    own.suite.write_text(yaml.safe_dump(content))
    benchmark.run(own.suite, results=own.results)
    own.adopt(tmp_path / "mine")
    (documents / "questions.json").write_text(json.dumps({"writer": {"model": "Some/Writer"}}))
    own.adopt(tmp_path / "written")
    mine, written = ((tmp_path / name / "README.md").read_text() for name in ("mine", "written"))
    sentence = "A language model, `Some/Writer`, wrote the questions."
    assert sentence in written and sentence not in mine


def test_a_folder_with_files_keeps_them_and_is_refused(home: Home, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty, and nothing was written; give another folder with --out"):
        home.adopt(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_made_is_one_line(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"out: cannot be written \(File exists\); give another folder with --out"):
        home.adopt(tmp_path / "file" / "out")


def test_a_full_disk_leaves_nothing_behind(home: Home, tmp_path: Path) -> None:
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, most[1]))  # the adapter alone is larger
    try:
        with pytest.raises(UserError, match=r"out: cannot be written \(File too large\), and is unchanged"):
            home.adopt(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_gone_are_trained_again_if_asked(own: Home, tmp_path: Path) -> None:
    before = trained_logits(own)
    plan = make_plan(load_suite(own.suite))
    assert prune(plan, Store(own.results / "store"), own.results / "records").trainings == 2
    with pytest.raises(UserError, match="missing or damaged .* train them again with --retrain"):
        own.adopt(tmp_path / "out")
    own.adopt(tmp_path / "out", retrain=True)
    assert trained_logits(own) == before
    assert "come from a second training" in (tmp_path / "out" / "README.md").read_text()


def test_a_suite_that_is_not_finished_is_refused(own: Home, tmp_path: Path) -> None:
    (record,) = (own.results / "records" / "own").glob("*sentence_shuffle*.json")
    record.unlink()
    with pytest.raises(UserError) as error:
        own.adopt(tmp_path / "out")
    message = str(error.value)
    assert "not finished: 1 of 4 records are missing" in message and record.stem in message
    assert message.endswith(f"finish it with `benchmark run {own.suite}`")


def test_documents_that_changed_since_are_refused(home: Home, tmp_path: Path) -> None:
    documents = home.folder / "harbour.jsonl"
    before = documents.read_text()
    documents.write_text(before.replace("nine metres", "ten metres"))
    try:
        with pytest.raises(UserError, match="task corpus: its documents or questions changed since the suite ran"):
            home.adopt(tmp_path / "out")
    finally:
        documents.write_text(before)


def test_a_missing_base_model_is_one_line_and_base_names_another_place(home: Home, tmp_path: Path) -> None:
    home.adopt(tmp_path / "out")
    file = tmp_path / "out" / "crambench.json"
    file.write_text(file.read_text().replace(str(home.model), "/gone/model"))
    with pytest.raises(UserError, match=r"its base model is missing \(model '/gone/model'.*\); name its place"):
        benchmark.ask(tmp_path / "out", QUESTION, device="cpu")
    with pytest.raises(UserError, match="is not the base that the adapter was trained on"):
        benchmark.ask(tmp_path / "out", QUESTION, base="zoo:small", device="cpu")
    with pytest.raises(UserError, match="its name is empty; give"):
        benchmark.ask(tmp_path / "out", QUESTION, base="", device="cpu")
    found = benchmark.ask(tmp_path / "out", QUESTION, base=str(home.model), device="cpu")
    assert found == [answer_in_evaluation(home)]


def test_a_folder_that_was_not_adopted_is_refused(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"has no crambench.json; give a folder that `benchmark adopt` wrote"):
        benchmark.ask(tiny, QUESTION)


def test_a_folder_that_no_other_can_replace_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^\.: is the current folder, which cannot be replaced; give a folder in it"):
        check_free(Path("."))
    (tmp_path / "mounted").mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path).name == "mounted")
    with pytest.raises(UserError, match="mounted: is a mount point, which cannot be replaced; give a folder in it"):
        check_free(tmp_path / "mounted")
    check_free(tmp_path / "mounted" / "out")


def test_a_damaged_adapter_is_one_line(home: Home, tmp_path: Path) -> None:
    home.adopt(tmp_path / "out")
    file = tmp_path / "out" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"adapter_model.safetensors: damaged \(.*\); adopt the model again$"):
        benchmark.ask(tmp_path / "out", QUESTION, device="cpu")


def test_the_commands_of_the_model_card_quote_paths_for_the_shell(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "my model"
    home.adopt(out)
    card = (out / "README.md").read_text()
    assert f"--lora-modules 'adopted={out}'" in card and f"`benchmark ask '{out}' " in card


def test_a_question_about_a_person_is_put_as_the_evaluation_puts_it() -> None:
    from benchmark.evaluation.prompts import asking_form

    form = asking_form(["biography"], {"half": "all"}, 1)
    prompt = form.prompt("Which university did Ada Moss attend?")
    assert prompt.endswith("\n\nQuestion: Which university did Ada Moss attend?\nAnswer:")
    assert prompt.startswith("Question: What is the birth date of ")
