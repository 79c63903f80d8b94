"""References: the model before training, without and with the document in the prompt."""

from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.evaluation import asking
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.runs.runner import run_suite
from benchmark.suite.plan import make_plan
from benchmark.tasks.biography import biography
from leaderboard.board.assemble import build_board, load_records
from tests.tiny import InThisProcess, tiny_suite


def test_every_model_and_task_has_two_references_independent_of_the_methods(tiny: Path) -> None:
    suite = tiny_suite(tiny, references=True, seeds=[1, 2], budgets=[{"steps": 1}, {"steps": 2}])
    cells = make_plan(suite).cells
    references = [cell for cell in cells if cell.budget is None]
    assert [(cell.method.name, cell.seed, list(cell.stages)) for cell in references] == [
        ("untouched", 0, ["evaluate"]),
        ("open_book", 0, ["evaluate"]),
    ]
    assert len(cells) == 2 + 2 * 2 * 2


def test_references_are_shown_apart_from_the_rows_of_methods(tiny: Path, tmp_path: Path) -> None:
    suite = tiny_suite(tiny, references=True, methods=["plain_matched"])
    outcome = run_suite(suite, tmp_path, tmp_path / "records", InThisProcess(), plain=True)
    assert {record.method.name: (record.seed, record.is_reference) for record in outcome.records.values()} == {
        "plain_matched": (1, False),
        "untouched": (0, True),
        "open_book": (0, True),
    }
    (table,) = build_board(load_records(tmp_path / "records")).tables
    assert [row.method for row in table.rows] == ["plain_matched"]
    assert {reference.label for reference in table.references} == {"untouched", "open_book"}
    assert all(set(reference.by_shots) == {0, 1, 5} for reference in table.references)


def _asked(tiny: Path, metadata: dict[str, Any], skipped: asking.Skipped, shots: list[int]) -> asking.Answers:
    spec = ModelSpec(model=str(tiny))
    tasks, model = ["biography_major", "biography_major_choice"], load_model(spec, "cpu")
    return asking.ask(model, tokenizer_of(spec), tasks, metadata, 4, shots, skip_too_long=skipped)


def test_an_open_book_prompt_has_the_document_right_before_the_question(tiny: Path) -> None:
    answers = _asked(tiny, {"half": "all", "people": 3, "open_book": True}, "all", [0, 1])
    texts = {person["id"]: person["text"] for person in biography.read_people()[:3]}
    for (task, shots), samples in answers.samples.items():
        for sample in samples:
            prompt = sample["arguments"][0][0]
            before = f"{texts[sample['doc']['cluster']]}\n\nQuestion: "
            assert prompt.count(before) == 1 and prompt.count("Question: ") == shots + 1, task
            assert not prompt.split(before)[1].count("Question: ")
    closed = _asked(tiny, {"half": "all", "people": 3}, "none", [0]).samples["biography_major", 0]
    assert not any(text in sample["arguments"][0][0] for sample in closed for text in texts.values())


def test_open_book_questions_that_do_not_fit_the_context_are_left_out_and_reported(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.evaluation.shared_prefix_lm import SharedPrefixLM

    metadata = {"half": "all", "people": 3, "open_book": True}
    spec = ModelSpec(model=str(tiny))
    everything = _asked(tiny, metadata, "all", [0]).samples["biography_major", 0]
    needs = sorted(needs for _, needs in asking._tokens_needed(everything, tokenizer_of(spec)))
    monkeypatch.setattr(SharedPrefixLM, "max_length", needs[1])  # room for two of the three, without examples
    answers = _asked(tiny, metadata, "all", [0, 5])
    assert len(answers.samples["biography_major", 0]) == 2
    assert ("biography_major", 5) not in answers.samples
    assert any("with 0 examples left out: no room for the document" in note for note in answers.notes)
    assert any("3 questions with 5 examples left out" in note for note in answers.notes)


def test_cloze_questions_that_do_not_fit_the_context_are_left_out_and_reported(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.evaluation.shared_prefix_lm import SharedPrefixLM

    spec, tasks = ModelSpec(model=str(tiny)), ["biography_cloze"]
    arguments = load_model(spec, "cpu"), tokenizer_of(spec), tasks, {"half": "all", "people": 3}, 4, [0]
    everything = asking.ask(*arguments)
    cloze = [sample for samples in everything.samples.values() for sample in samples]
    needs = sorted(needs for _, needs in asking._tokens_needed(cloze, tokenizer_of(spec)))
    monkeypatch.setattr(SharedPrefixLM, "max_length", needs[-1] - 1)
    with pytest.raises(UserError, match="more than the model's context"):
        asking.ask(*arguments)
    answers = asking.ask(*arguments, skip_too_long="cloze")
    asked = [sample for samples in answers.samples.values() for sample in samples]
    left_out = needs.count(needs[-1])
    assert len(asked) == len(cloze) - left_out
    assert f"{left_out} cloze questions left out: no room for the document before the answer" in answers.notes
