"""Errors that files, configurations and tokenizers show are found before the first stage, by `plan` as well."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.corpora.own_documents import OwnDocuments
from benchmark.models.input_checks import check_texts
from benchmark.models.spec import ModelSpec
from benchmark.runs.prechecks import REMEMBERED, check_cells, check_questions, check_trained
from benchmark.runs.runner import run_suite
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import Suite
from scripts.strangers.models import change, rename_adapter_weights, write_adapter
from tests.tiny import InThisProcess, tiny_suite


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A model folder that a test may change."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def refusal(suite: Suite, results: Path) -> str:
    """The message that refuses a suite before any stage, the same when it is planned and when it is run."""
    plan = make_plan(suite)
    with pytest.raises(UserError) as error:
        check_cells(plan, plan.cells, results, remember=False)
    with pytest.raises(UserError) as again:
        run_suite(suite, results, results / "records", InThisProcess(), plain=True)
    assert str(again.value) == str(error.value)
    assert not list((results / "store").glob("*/*/manifest.json"))
    return str(error.value)


def corpus_of(path: Path, *rows: dict[str, Any]) -> OwnDocuments:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return OwnDocuments(path=path)


PLAIN = [
    {"text": "Ada met Bo in Bern.", "question": "Where?", "answer": "Bern"},
    {"text": "Cy met Di in Oslo.", "question": "And where?", "answer": "Oslo"},
]


def test_a_tokenizer_without_an_end_token_is_refused_before_training(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "tokenizer_config.json").read_text())
    del content["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(content))
    assert "its tokenizer has no end token, which ends texts and answers; name one as eos_token in its" in refusal(
        tiny_suite(folder), tmp_path / "results"
    )


def test_an_end_token_beyond_the_embeddings_is_refused_before_training(folder: Path, tmp_path: Path) -> None:
    change(folder / "tokenizer_config.json", eos_token="<|im_end|>")
    message = refusal(tiny_suite(folder), tmp_path / "results")
    assert "its end token '<|im_end|>' has number 700, but the model has embeddings for 700 tokens only" in message


def test_an_architecture_without_lora_support_is_refused_with_the_setting_to_use(folder: Path, tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    MambaForCausalLM(MambaConfig(vocab_size=700, hidden_size=32, num_hidden_layers=2)).save_pretrained(folder)
    message = refusal(tiny_suite(folder, recipe={"adaptation": "lora"}), tmp_path / "results")
    assert "LoRA cannot be put on its linear layers" in message and message.endswith("set recipe.adaptation: full")
    check_trained(ModelSpec(model=str(folder)), "full")


def test_checks_show_no_warnings_of_libraries(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(
        "benchmark.runs.prechecks.check_trained", lambda *_: warnings.warn("deprecated", FutureWarning, stacklevel=1)
    )
    plan = make_plan(tiny_suite(tiny))
    check_cells(plan, plan.cells, tmp_path / "results", remember=False)
    assert [str(warning.message) for warning in recwarn if warning.category is FutureWarning] == []


def test_an_encoder_is_refused_before_training(folder: Path, tmp_path: Path) -> None:
    from tests.models.test_strangers import bert

    bert(folder)
    assert "bert is not a causal language model: its tokens attend to later tokens" in refusal(
        tiny_suite(folder), tmp_path / "results"
    )


def test_an_adapter_that_does_not_fit_is_refused_before_training(folder: Path, tmp_path: Path) -> None:
    adapter = write_adapter(folder, tmp_path / "adapter")
    suite = tiny_suite(folder, models={"tiny": {"model": str(folder), "adapter": str(adapter)}})
    plan = make_plan(suite)
    check_cells(plan, plan.cells, tmp_path / "results", remember=False)
    rename_adapter_weights(adapter, lambda name: f"x.{name}")
    assert "has no use for 28 of its weights" in refusal(suite, tmp_path / "results")


@pytest.mark.parametrize(
    ("question", "answer", "says"),
    [
        ("Where? " * 200, "Bern", "question 'doc-00000:0': prompt and answer need .* the model's context of 512; "
         "shorten the question$"),
        ("Where?", "Bern " * 140, "its shortest answer has .* tokens, more than the 128 that may be generated; add"),
    ],
)  # fmt: skip
def test_prompts_and_answers_that_are_too_long_are_refused_before_training(
    tiny: Path, tmp_path: Path, question: str, answer: str, says: str
) -> None:
    rows = [{"text": f"It was {answer}.", "question": question, "answer": answer}, PLAIN[1]]
    task = corpus_of(tmp_path / "x.jsonl", *rows)
    spec = ModelSpec(model=str(tiny))
    with pytest.raises(UserError, match=says):
        check_questions(spec, task, task.load(), ["corpus"], task.default_fewshot)
    task = corpus_of(tmp_path / "x.jsonl", *PLAIN)
    check_questions(spec, task, task.load(), ["corpus"], task.default_fewshot)


def test_shots_that_are_too_long_are_refused_with_a_remedy_that_fits_the_task(tiny: Path, tmp_path: Path) -> None:
    documents = corpus_of(tmp_path / "x.jsonl", *PLAIN).path
    shots = tmp_path / "shots.jsonl"
    shots.write_text("".join(json.dumps({"question": f"What is {n}? " * 30, "answer": "it"}) + "\n" for n in range(60)))
    task = OwnDocuments(path=documents, shots=shots)
    with pytest.raises(
        UserError, match=r"ask with fewer examples \(evaluation.num_fewshot\), or give shorter examples in shots$"
    ):
        check_questions(ModelSpec(model=str(tiny)), task, task.load(), ["corpus"], task.default_fewshot)


def test_a_corrected_question_needs_no_new_training(tiny: Path, tmp_path: Path) -> None:
    task = corpus_of(tmp_path / "x.jsonl", *PLAIN)

    def stages() -> dict[str, str]:
        suite = tiny_suite(tiny, tasks=[task.model_dump(mode="json")], methods=["plain_matched"])
        (record,) = run_suite(suite, tmp_path, tmp_path / "records", InThisProcess(), plain=True).records.values()
        return record.stages

    first = stages()
    corpus_of(task.path, {**PLAIN[0], "question": "Where did they meet?"}, PLAIN[1])
    second = stages()
    assert {role for role in first if first[role] != second[role]} == {"evaluate"}
    corpus_of(task.path, {**PLAIN[0], "text": "Ada met Bo in old Bern."}, PLAIN[1])
    assert stages()["train"] != first["train"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("He types <end> to stop.", "text 'b': contains '<end>', which the model's tokenizer reads as a special token"),
        ("<end> is what he types.", "text 'b': contains '<end>', which the model's tokenizer reads as a special token"),
        ("word " * 600, "text 'b': 1801 tokens, more than the model's context of 512; shorten it, or set long_texts"),
    ],
)
def test_texts_that_a_model_would_misread_or_cannot_hold_are_refused(
    tiny: Path, tmp_path: Path, text: str, says: str
) -> None:
    rows = [{"id": "a", "text": "Plain.", "questions": []}, {"id": "b", "text": text, "questions": []}]
    asked = [{**row, "id": name} for name, row in zip("cd", PLAIN, strict=True)]
    nested = [
        {"id": row["id"], "text": row["text"], "questions": [{"question": row["question"], "answer": row["answer"]}]}
        for row in asked
    ]
    task = corpus_of(tmp_path / "x.jsonl", *rows, *nested)
    with pytest.raises(UserError, match=says):
        check_texts(ModelSpec(model=str(tiny)), task.load().texts, limit=True)


def test_a_document_that_a_writer_would_misread_is_refused(folder: Path, tiny: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<over>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    task = corpus_of(tmp_path / "x.jsonl", {**PLAIN[0], "text": "Ada met Bo in Bern. <over>"}, PLAIN[1])
    suite = tiny_suite(
        tiny,
        tasks=[task.model_dump(mode="json")],
        methods=[{"name": "rewrite", "writer": "w"}],
        writers={"w": {"model": str(folder), "max_tokens": 40}},
    )
    message = refusal(suite, tmp_path / "results")
    assert message.startswith(
        f"model {str(folder)!r}: text 'doc-00000': contains '<over>', which the model's tokenizer"
    )


def test_the_special_tokens_around_a_text_count_against_the_context(folder: Path, tmp_path: Path) -> None:
    from benchmark.models.loading import tokenizer_of

    spec, words = ModelSpec(model=str(folder)), "Ada met Bo in Oslo."
    whole = len(tokenizer_of(spec)(words, add_special_tokens=False)["input_ids"])
    change(folder / "config.json", max_position_embeddings=whole)
    task = corpus_of(tmp_path / "x.jsonl", {**PLAIN[1], "text": "Oslo"}, {**PLAIN[1], "text": words})
    check_texts(spec, task.load().texts, limit=True)
    with pytest.raises(
        UserError, match=f"text 'doc-00001': {whole + 1} tokens, more than the model's context of {whole}"
    ):
        check_texts(spec, task.load().texts, limit=True, end=True)


def test_a_text_that_fits_but_whose_copies_do_not_is_refused_for_that_method_only(tiny: Path, tmp_path: Path) -> None:
    task = corpus_of(tmp_path / "x.jsonl", PLAIN[0], {**PLAIN[1], "text": "Ada met Bo in Oslo, " * 25})
    names = ["masked_reconstruction", "plain_matched"]
    of_copies, plain = (
        make_plan(tiny_suite(tiny, tasks=[task.model_dump(mode="json")], methods=[name])) for name in names
    )
    check_cells(plain, plain.cells, tmp_path, remember=False)
    with pytest.raises(
        UserError, match=r"text '[^']+': up to \d+ tokens as a copy of masked_reconstruction, .* of 512"
    ):
        check_cells(of_copies, of_copies.cells, tmp_path, remember=False)


@pytest.mark.parametrize("unknown", [None, "<unk>"])
def test_characters_that_a_tokenizer_has_no_token_for_are_refused(
    folder: Path, tmp_path: Path, unknown: str | None
) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {
        letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,?")
    }
    special = ["<end>", *([unknown] if unknown else [])]
    vocab = {**letters, **{token: len(letters) + n for n, token in enumerate(special)}}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", unk_token=unknown).save_pretrained(folder)
    spec, task = ModelSpec(model=str(folder)), corpus_of(tmp_path / "x.jsonl", *PLAIN)
    check_texts(spec, task.load().texts, limit=True)
    corpus_of(task.path, {**PLAIN[0], "text": "Ada met Bo in Bern, not in Zürich."}, PLAIN[1])
    with pytest.raises(
        UserError, match="text 'doc-00000': its tokenizer has no token for 'ü', so the model cannot read"
    ):
        check_texts(spec, task.load().texts, limit=True)


def test_passed_checks_are_not_repeated_until_something_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, results = tiny_suite(folder), tmp_path / "results"
    plan = make_plan(suite)
    check_cells(plan, plan.cells, results, remember=True)
    marks = {file.name for file in (results / REMEMBERED).iterdir()}
    assert len(marks) == 4  # of the model, of its training, of the texts, of the questions
    monkeypatch.setattr("benchmark.runs.prechecks.check_model", lambda spec: pytest.fail("checked again"))
    check_cells(plan, plan.cells, results, remember=True)
    monkeypatch.undo()
    change(folder / "tokenizer_config.json", model_max_length=511)
    plan = make_plan(suite)
    check_cells(plan, plan.cells, results, remember=True)
    assert len(list((results / REMEMBERED).iterdir())) == 8
