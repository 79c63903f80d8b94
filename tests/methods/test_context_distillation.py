"""Context distillation from a suite to its records, with a scripted writer."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.data.targets import read_targets
from benchmark.data.texts import read_augmented
from benchmark.memory.predict import predict
from benchmark.methods import make_method
from benchmark.methods.base import Training
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.runs.prechecks import check_cells
from benchmark.runs.runner import run_suite
from benchmark.stages import write
from benchmark.store.artifacts import Store
from benchmark.suite.plan import make_plan
from benchmark.writing.requests import Request, Sample
from tests.tiny import InThisProcess, tiny_suite


class _Questions:
    """A writer that asks for the first words of the document; it has no answer for the second sample of any."""

    def write(self, requests: Sequence[Request], known: Mapping[str, Sample]) -> Iterator[tuple[Request, Sample]]:
        for request in requests:
            first = " ".join(request.values["document"].split()[:3])
            answer = f"Question: How does text {request.name} begin?\nAnswer: {first}"
            yield request, Sample("" if ":2:" in request.name else answer, 7, 9, "stop")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "_writer", lambda call: _Questions())


def _suite(model: str | Path, prompt: Path) -> Any:
    """A suite with a prompt and answers that are short enough for a small model's context."""
    prompt.write_text("---\nsource: ours\n---\n{document}\n\nAsk.")
    entries: list[dict[str, Any]] = [{"name": "self_qa"}, {"name": "context_distillation", "top": 5}]
    methods = [{**entry, "writer": "w", "prompts": [str(prompt)]} for entry in entries]
    return tiny_suite(Path(model), methods=methods, copies=3, writers={"w": {"model": str(model), "max_tokens": 20}})


@pytest.mark.parametrize("model", ["tiny", pytest.param("zoo:small", marks=pytest.mark.slow)])
def test_a_suite_teaches_and_trains_on_the_texts_of_its_writer(
    tiny: Path, tmp_path: Path, model: str, scripted: None
) -> None:
    suite = _suite(tiny if model == "tiny" else model, tmp_path / "prompt.md")
    outcome = run_suite(suite, tmp_path, tmp_path / "records", InThisProcess(), plain=True)
    assert len(outcome.records) == 2
    store, spec = Store(tmp_path / "store"), next(iter(suite.models.values()))
    weights = set()
    for cell in make_plan(suite).cells:
        record, texts = outcome.records[cell.key], store.path(cell.stages["augment"])
        weights.add(next((store.path(cell.stages["train"]) / "model").glob("*.safetensors")).read_bytes())
        if cell.method.name == "self_qa":
            assert "teach" not in record.stages
            continue
        assert record.written and record.written.left_out == {"empty": 4}
        assert record.cost["teach"].seconds > 0
        assert record.training
        (note,) = record.training.notes
        rows = read_augmented(texts / "augmented.jsonl")
        assert {row.copy for row in rows} == {1, 3}
        targets = read_targets(store.path(cell.stages["teach"]) / "targets.parquet")
        assert [*targets] == [(row.id, row.copy) for row in rows]
        tokenizer: Any = tokenizer_of(spec)
        for row in rows:
            shape = (len(tokenizer(row.text)["input_ids"]), cell.method.training().top)
            assert targets[row.id, row.copy].tokens.shape == shape
        assert note.startswith(f"targets: the {shape[1]} likeliest tokens, ")
        assert record.method.parameters["top"] == shape[1]
    assert len(weights) == 2
    again = run_suite(suite, tmp_path, tmp_path / "records", InThisProcess(), plain=True)
    assert (again.made, again.stages) == (0, 0)


def test_the_texts_are_those_of_self_qa_and_written_once(tiny: Path) -> None:
    methods = ["self_qa", {"name": "context_distillation", "top": [1, 5]}]
    stages = [cell.stages for cell in make_plan(tiny_suite(tiny, methods=methods)).cells]
    assert len({of_cell["write"].key for of_cell in stages}) == 1
    distilled = [of_cell for of_cell in stages if "teach" in of_cell]
    assert len({of_cell["augment"].key for of_cell in distilled}) == 1
    assert len({of_cell["teach"].key for of_cell in distilled}) == 2
    assert distilled[0]["train"].inputs == {"texts": distilled[0]["augment"], "targets": distilled[0]["teach"]}


def test_a_temperature_is_part_of_training_and_not_of_the_targets(tiny: Path) -> None:
    methods = [{"name": "context_distillation", "temperature": [1.0, 2.0]}]
    first, second = make_plan(tiny_suite(tiny, methods=methods)).cells
    assert first.stages["teach"].key == second.stages["teach"].key
    assert first.stages["train"].key != second.stages["train"].key
    assert second.method.training() == Training(loss="distilled", temperature=2.0)


def test_a_document_that_leaves_no_room_is_refused_before_the_first_stage(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    suite = tiny_suite(tiny, methods=["context_distillation"])
    (cell,) = make_plan(suite).cells
    tokenizer: Any = tokenizer_of(ModelSpec(model=str(tiny)))
    longest = max(len(tokenizer(text.text)["input_ids"]) for text in cell.corpus.texts)
    config["max_position_embeddings"] = longest + 1  # room for the document, but not for a text after it
    (folder / "config.json").write_text(json.dumps(config))
    writers = {"w": {"api": "http://localhost:1/v1", "model": "m"}}
    methods = [{"name": "context_distillation", "writer": "w"}]
    plan = make_plan(tiny_suite(folder, methods=methods, writers=writers))
    with pytest.raises(UserError, match=r"tokens as a prompt, which leaves no room for a text after it") as error:
        check_cells(plan, plan.cells, tmp_path / "results", remember=False, ask=False)
    assert "\n" not in str(error.value)


def test_teaching_needs_the_weights_and_the_logits_of_a_batch(tiny: Path) -> None:
    (cell,) = make_plan(tiny_suite(tiny, methods=["context_distillation"])).cells
    (need,) = predict(cell.stages["teach"], cell.corpus).needs
    model = load_model(ModelSpec(model=str(tiny)), "cpu")
    assert need.weights == 4 * sum(parameter.numel() for parameter in model.parameters())
    assert need.training == need.kept == 0
    logits = 4 * 4096 * model.config.vocab_size
    assert 2 * logits <= need.passing <= 3 * logits  # the logits, their log-probabilities, and the hidden states


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"top": 0}, "top: "),
        ({"top": True}, "top: "),
        ({"top": 1001}, "top: "),
        ({"temperature": 0}, "temperature: "),
        ({"temperature": True}, "temperature: "),
    ],
)
def test_parameters_out_of_range_are_refused_in_one_line(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=f"^method 'context_distillation': {says}") as error:
        make_method("context_distillation", parameters)
    assert "\n" not in str(error.value)
