"""Practice: texts on other subjects before or among the corpus, from the method's share of the budget."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.core.errors import UserError
from benchmark.data.texts import AugmentedText, Text
from benchmark.methods import make_method
from benchmark.methods.base import Practice
from benchmark.stages import run_stage
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.plan import make_plan
from benchmark.training.order import ExtraTexts, data_order, reading_order, steps_for_tokens
from benchmark.training.recipe import Rehearsal
from benchmark.training.rehearsal import rehearsal_texts
from tests.tiny import biographies, tiny_suite, train, train_call

# --- the order


def test_mixed_practice_takes_its_share_of_every_batch_and_first_takes_it_before_the_corpus() -> None:
    mixed = reading_order(10, 80, 3, [ExtraTexts(10, 5, 0.25)])
    first = reading_order(10, 80, 3, [ExtraTexts(10, 5, 0.25, first=True)])
    assert all(sum(number >= 10 for number in mixed[start : start + 8]) == 2 for start in range(0, 80, 8))
    assert all(number >= 10 for number in first[:20]) and all(number < 10 for number in first[20:])
    for order in (mixed, first):
        assert [number for number in order if number < 10] == data_order(10, 60, seed=3)
        assert [number - 10 for number in order if number >= 10] == data_order(5, 20, seed=3)


def test_practice_takes_its_share_of_what_rehearsal_leaves() -> None:
    order = reading_order(10, 80, 3, [ExtraTexts(10, 4, 0.25), ExtraTexts(14, 6, 0.5, first=True)])
    rehearsed = [number for number in order if 10 <= number < 14]
    assert len(rehearsed) == 20
    assert all(sum(10 <= n < 14 for n in order[start : start + 8]) == 2 for start in range(0, 80, 8))
    left = [number for number in order if not 10 <= number < 14]
    assert all(number >= 14 for number in left[:30]) and left[30:] == data_order(10, 30, seed=3)


@given(st.lists(st.integers(2, 30), min_size=4, max_size=12), st.integers(1, 5), st.integers(1, 900), st.booleans())
def test_a_budget_of_tokens_ends_with_the_step_that_reaches_it_with_practice_too(
    lengths: list[int], batch: int, tokens: int, first: bool
) -> None:
    def order_of(needed: int) -> list[int]:
        return reading_order(2, needed, 1, [ExtraTexts(2, len(lengths) - 2, 0.3, first)])

    steps = steps_for_tokens(tokens, [[0] * length for length in lengths], order_of, batch)
    totals = [sum(lengths[number] for number in order_of(count * batch)) for count in range(steps + 1)]
    assert totals[-1] >= tokens and all(total < tokens for total in totals[:-1])


# --- the texts


def test_practice_never_names_a_person_of_the_corpus() -> None:
    practice = Practice(source="questions", share=0.3, order="mixed")
    texts = [text.text for text in rehearsal_texts(practice, None, biographies(100))]
    assert any(text.startswith("Question: ") for text in texts)
    names = [make_name(text.text) for text in biographies(100)]
    assert not any(name in text for text in texts for name in names)
    someone = next(text for text in texts if not text.startswith("Question: "))
    again = rehearsal_texts(practice, None, [*biographies(2), AugmentedText("x", 0, someone)])
    assert make_name(someone) in someone and not any(make_name(someone) in text.text for text in again)


def make_name(biography: str) -> str:
    """The full name with which a biography begins: its first two words or more, all with a capital."""
    words = biography.split()
    count = next(position for position, word in enumerate(words) if not word[0].isupper())
    return " ".join(words[:count]).removesuffix("'s")


def test_practice_and_rehearsal_from_the_same_source_have_the_same_texts_under_other_ids() -> None:
    practised = rehearsal_texts(Practice(source="questions", share=0.3, order="first"), None, biographies(2))
    rehearsed = rehearsal_texts(Rehearsal(), None, biographies(2))
    assert [text.text for text in practised] == [text.text for text in rehearsed]
    assert (practised[0].id, rehearsed[0].id) == ("practice-0", "rehearsal-0")


# --- training


def _report(tiny: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    folder.mkdir()
    call = train_call(tiny, budget={"steps": 5}, method="practice_questions", **changes)
    content: dict[str, Any] = json.loads((train(call, biographies(5), folder) / "training.json").read_text())
    return content


def test_steps_stay_matched_and_the_tokens_of_practice_are_counted(tiny: Path, tmp_path: Path) -> None:
    def practice(order: str) -> dict[str, Any]:
        return {"practice": {"source": "questions", "share": 0.5, "order": order}}

    alone = _report(tiny, tmp_path / "alone")
    mixed, first = (_report(tiny, tmp_path / order, training=practice(order)) for order in ("mixed", "first"))
    both = _report(tiny, tmp_path / "both", training=practice("first"), recipe={"rehearsal": {"share": 0.25}})
    assert alone["steps"] == mixed["steps"] == first["steps"] == both["steps"] == 5
    assert alone["rehearsal_tokens"] == 0 < mixed["rehearsal_tokens"] == first["rehearsal_tokens"]
    assert (alone["epochs"], mixed["epochs"], first["epochs"]) == (4.0, 2.0, 2.0)  # 20 or 10 readings of 5 texts
    assert both["epochs"] == 1.6  # 20, less 5 of rehearsal, less 7 of the other 15
    assert mixed["loss_last"] != first["loss_last"]


def _cell(tiny: Path, **changes: Any) -> dict[str, StageCall]:
    (cell,) = make_plan(tiny_suite(tiny, methods=[{"name": "practice_questions", **changes}])).cells
    return dict(cell.stages)


def test_keys_hold_the_hash_of_a_practice_file_and_no_path(tiny: Path, tmp_path: Path) -> None:
    calls = []
    for folder, content in (("here", "Question: Who?\nAnswer: He."), ("there", "Question: Who?\nAnswer: He.")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.txt").write_text(content)
        calls.append(_cell(tiny, source=str(tmp_path / folder / "mine.txt")))
    here, there = calls
    assert here["train"].key == there["train"].key != _cell(tiny)["train"].key
    assert str(tmp_path / "here") not in json.dumps(here["train"].params)
    assert _cell(tiny)["train"].params["practice"] == 2, "the version of the made-up texts"
    (tmp_path / "here" / "mine.txt").write_text("Something else.")
    assert _cell(tiny, source=str(tmp_path / "here" / "mine.txt"))["train"].key != here["train"].key
    store = Store(tmp_path / "store")
    for stage in ("corpus", "augment"):
        run_stage(store, there[stage], lambda *steps: None)
    (tmp_path / "there" / "mine.txt").write_text("Something else.")
    with pytest.raises(UserError, match=r"^source of the practice: .*mine.txt: changed while the suite ran"):
        run_stage(store, there["train"], lambda *steps: None)


def test_the_label_and_the_record_name_a_file_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Question: Who?\nAnswer: He.")
    method = make_method("practice_questions", {"source": str(tmp_path / "mine.txt"), "order": "first"})
    assert method.label == "practice_questions source=mine.txt order=first"
    assert method.recorded_parameters()["label"] == "mine.txt"
    assert str(tmp_path) not in json.dumps([method.recorded_parameters(), method.key_parameters()])


@pytest.mark.parametrize("name", ["mine.txt", "mine.jsonl"])
def test_a_practice_file_that_names_a_subject_of_the_corpus_is_refused(tmp_path: Path, name: str) -> None:
    content = "Question: Where was Žofie Moss born?\nAnswer: Brno."
    lines = json.dumps({"text": content}) if name.endswith("jsonl") else content
    (tmp_path / name).write_text(lines)
    method = make_method("practice_questions", {"source": str(tmp_path / name)})
    method.check([Text("a", "Bo Lee ran.", "Bo Lee"), Text("b", "No subject.")], 1)
    with pytest.raises(UserError, match=r"names 'Žofie Moss', whom text 'c' of the corpus is about; practise on other"):
        method.check([Text("c", "Žofie Moss ran.", "Žofie Moss")], 1)


def test_a_practice_file_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    for name, says in (("none.txt", "No such file"), ("empty.txt", "holds no text")):
        with pytest.raises(UserError, match=says) as error:
            make_method("practice_questions", {"source": str(tmp_path / name)}).check([Text("a", "b")], 1)
        assert "\n" not in str(error.value)
