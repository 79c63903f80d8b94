"""Rehearsal: texts other than the corpus in a share of every batch."""

from pathlib import Path

import pytest

from benchmark.core.errors import UserError
from benchmark.data.people import FIELDS, QUESTIONS
from benchmark.data.texts import AugmentedText
from benchmark.tasks.biography import biography
from benchmark.training.order import ExtraTexts, data_order, reading_order
from benchmark.training.recipe import Rehearsal
from benchmark.training.rehearsal import rehearsal_texts, rehearsal_turns
from tests.tiny import biographies, train, train_call


@pytest.mark.parametrize(
    ("share", "batch", "each"), [(0.1, 16, {1, 2}), (0.25, 8, {2}), (0.5, 4, {2}), (0.1, 10, {1}), (0.3, 10, {3})]
)
def test_the_share_of_every_batch_is_as_near_as_whole_texts_allow(share: float, batch: int, each: set[int]) -> None:
    turns = rehearsal_turns(100 * batch, share)
    assert {sum(turns[start : start + batch]) for start in range(0, len(turns), batch)} == each
    assert sum(turns) == pytest.approx(share * 100 * batch, abs=1)


def test_rehearsal_does_not_change_the_order_of_the_corpus() -> None:
    mixed = reading_order(10, 60, 3, [ExtraTexts(10, 4, 0.25)])
    corpus = [number for number in mixed if number < 10]
    assert corpus == data_order(10, 45, seed=3) == reading_order(10, 45, seed=3)
    others = [number for number in mixed if number >= 10]
    assert len(others) == 15 and set(others) == {10, 11, 12, 13}


def test_rehearsal_texts_state_and_ask_facts_about_people_of_no_task() -> None:
    texts = [text.text for text in rehearsal_texts(Rehearsal(), None, biographies(100))]
    statements = [text for text in texts if not text.startswith("Question: ")]
    questions = [text for text in texts if text.startswith("Question: ")]
    assert len(statements) == len(questions) == 200
    names = {person["name"] for person in [*biography.read_people(), *biography.read_shots()]}
    assert not any(name in text for text in texts for name in names)
    for text in questions:  # ten statements about the same person give the answer
        for pair in text.split("\n\n"):
            question, answer = pair.removeprefix("Question: ").split("\nAnswer: ")
            field = next(f for f in FIELDS if question.startswith(QUESTIONS[f].split("{name}")[0]))
            name = question.removeprefix(QUESTIONS[field].split("{name}")[0]).removesuffix(
                QUESTIONS[field].split("{name}")[1]
            )
            about = [text for text in statements if name in text]
            assert len(about) == 10 and all(answer in text for text in about), pair
    assert rehearsal_texts(Rehearsal(), None, biographies(100)) == rehearsal_texts(Rehearsal(), None, biographies(100))


def test_people_in_the_training_texts_are_not_rehearsed() -> None:
    first = rehearsal_texts(Rehearsal(), None, biographies(2))[0].text
    name = first.split(" was ")[0].split(" grew ")[0]
    again = rehearsal_texts(Rehearsal(), None, [*biographies(2), AugmentedText("x", 0, first)])
    assert any(name in text.text for text in rehearsal_texts(Rehearsal(), None, biographies(2)))
    assert not any(name in text.text for text in again)


def test_a_rehearsal_file_holds_lines_or_paragraphs(tmp_path: Path) -> None:
    (plain := tmp_path / "mine.txt").write_text("One\ntwo.\n\n\nThree.\n")
    (lines := tmp_path / "mine.jsonl").write_text('{"text": "One\\ntwo."}\n{"text": "Three."}\n')
    for file in (plain, lines):
        texts = rehearsal_texts(Rehearsal(source=str(file)), file, [])
        assert [text.text for text in texts] == ["One\ntwo.", "Three."]
    (lines := tmp_path / "bad.jsonl").write_text('{"text": "One"}\n{"txt": "Two"}\n')
    with pytest.raises(UserError, match=r'bad.jsonl:2: each line needs a non-empty "text"'):
        rehearsal_texts(Rehearsal(source=str(lines)), lines, [])
    (empty := tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(UserError, match=r"recipe.rehearsal.source: .*empty.txt: holds no text; give a file"):
        rehearsal_texts(Rehearsal(source=str(empty)), empty, [])


def test_a_training_reports_the_number_of_rehearsed_tokens(tiny: Path, tmp_path: Path) -> None:
    import json

    reports = []
    for name, rehearsal in (("with", {"share": 0.25}), ("without", None)):
        (tmp_path / name).mkdir()
        recipe = {"batch_size": 4, **({"rehearsal": rehearsal} if rehearsal else {})}
        out = train(train_call(tiny, recipe=recipe, budget={"steps": 3}), biographies(5), tmp_path / name)
        reports.append(json.loads((out / "training.json").read_text()))
    mixed, alone = reports
    assert alone["rehearsal_tokens"] == 0 < mixed["rehearsal_tokens"] < mixed["tokens"]
    for report in reports:
        assert report["steps"] == 3 and report["loss_tokens"] == report["tokens"] - 3 * 4, (
            "the first token of a text is not predicted"
        )


def test_a_rehearsed_text_that_is_too_long_is_named_by_its_setting(tiny: Path) -> None:
    from benchmark.models.loading import tokenizer_of
    from benchmark.models.spec import ModelSpec
    from benchmark.training.data import encode
    from benchmark.training.recipe import Recipe

    texts, tokenizer = [AugmentedText("rehearsal-0", 0, "word " * 90)], tokenizer_of(ModelSpec(model=str(tiny)))
    with pytest.raises(
        UserError, match=r"^recipe.rehearsal.source: text 'rehearsal-0': \d+ tokens, .* context of 50; shorten it$"
    ):
        encode(texts, tokenizer, Recipe(), 50, "recipe.rehearsal.source")
