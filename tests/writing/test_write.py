"""The order of work: items first, samples, redrawn samples, and what is left out."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from benchmark.core.errors import UserError
from benchmark.data.texts import Text
from benchmark.data.written import Writing, read_written, write_written
from benchmark.writing.requests import Request, Sample
from benchmark.writing.write import Journal, Session

TEXTS = [Text("a", "Ada Moss was born in Lagos."), Text("b", "Ben Fell lives in Bergen.")]


class _Scripted:
    """A writer that answers by a function of the request, and counts what it is asked."""

    def __init__(self, answer: Callable[[Request], str], stop_after: int | None = None) -> None:
        self.answer, self.stop_after = answer, stop_after
        self.asked: list[str] = []

    def write(self, requests: Sequence[Request], known: Mapping[str, Sample]) -> Iterator[tuple[Request, Sample]]:
        for request in reversed(requests):  # samples may arrive in any order
            if request.name in known:
                continue
            if self.stop_after is not None and len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(request.name)
            yield request, Sample(self.answer(request), 7, 3, "stop")


def _session(
    writer: _Scripted, writing: Writing, folder: Path, number: int = 3, tries: int = 2, **more: object
) -> Session:
    return Session(writer, writing, number, 1, tries, Journal(folder / "journal.jsonl"), **more)  # type: ignore[arg-type]


def test_prompts_are_used_in_turn_and_texts_are_in_order(tmp_path: Path) -> None:
    writer = _Scripted(lambda request: f"about {request.values['document']} {request.seed}")
    writing = Writing(prompts=("rewrite_list", "rewrite_child"))
    session = _session(writer, writing, tmp_path)
    written = session.write(TEXTS)
    assert [(text.id, text.copy) for text in written] == [(i, copy) for i in "ab" for copy in (1, 2, 3)]
    assert [text.prompt for text in written[:3]] == ["rewrite_list", "rewrite_child", "rewrite_list"]
    assert len({text.text for text in written}) == 6
    assert (session.report.texts, session.report.samples, session.report.prompt_tokens) == (6, 6, 42)


def test_what_cannot_be_used_is_drawn_again_then_left_out_and_counted(tmp_path: Path) -> None:
    def answer(request: Request) -> str:
        copy, attempt = request.name.split(":")[1:]
        return {"1": "fine", "2": "I cannot do this." if attempt == "1" else "better", "3": ""}[copy]

    session = _session(_Scripted(answer), Writing(prompts=("rewrite_list",)), tmp_path)
    written = session.write(TEXTS[:1])
    assert [(text.copy, text.text, text.attempt) for text in written] == [(1, "fine", 1), (2, "better", 2)]
    assert session.report.left_out == {"empty": 1}
    assert session.report.drawn_again == {"refused": 1, "empty": 1}
    assert session.report.samples == 5


def test_an_interrupted_session_asks_for_the_rest_alone(tmp_path: Path) -> None:
    def answer(request: Request) -> str:
        return "" if request.name.endswith("2:1") else f"about {request.name}"

    writing = Writing(prompts=("rewrite_list",))
    whole = _session(_Scripted(answer), writing, tmp_path / "whole")
    expected = whole.write(TEXTS)
    for stop_after in range(8):
        folder = tmp_path / str(stop_after)
        first = _Scripted(answer, stop_after)
        with pytest.raises(KeyboardInterrupt):
            _session(first, writing, folder).write(TEXTS)
        with (folder / "journal.jsonl").open("a") as journal:
            journal.write('{"name": "a:1:1", "te')  # a kill in the middle of a line
        second = _Scripted(answer)
        again = _session(second, writing, folder)
        assert again.write(TEXTS) == expected
        assert again.report == whole.report
        assert not set(first.asked) & set(second.asked)


def test_every_sample_is_about_a_pair_of_items_and_pairs_come_in_turn(tmp_path: Path) -> None:
    def answer(request: Request) -> str:
        if ":items:" in request.name:
            return "[]" if "b" in request.name else '["Ada Moss", "Lagos", "birth"]'
        return f"{request.values['item']} and {request.values['other']} belong together"

    writing = Writing(prompts=("entity_link",), items="entities", pairs=True)
    session = _session(_Scripted(answer), writing, tmp_path, number=4)
    written = session.write(TEXTS)
    assert {text.id for text in written} == {"a"}
    assert len({text.about for text in written[:3]}) == 3, "three items make three pairs"
    assert written[3].about == written[0].about
    assert session.report.left_out == {"items": 4}
    assert session.report.samples == 1 + 2 + 4, "the items of b were asked for twice"


def test_questions_of_the_task_are_removed_and_counted(tmp_path: Path) -> None:
    answer = "Question: Where was Ada born?\nAnswer: Lagos\nQuestion: Who was born?\nAnswer: Ada Moss"
    writing = Writing(prompts=("questions",), form="questions")
    session = _session(_Scripted(lambda _: answer), writing, tmp_path, number=1, gold={"where was ada born"})
    (written,) = session.write(TEXTS[:1])
    assert written.text == "Question: Who was born?\nAnswer: Ada Moss"
    assert session.report.gold_questions == 1


def test_clues_stand_in_the_prompt(tmp_path: Path) -> None:
    writer = _Scripted(lambda request: request.message.split("easily: ")[1].split("\n")[0])
    session = _session(writer, Writing(prompts=("rewrite_clues",), clues=2), tmp_path, 1, clues={"a": "Moss, Lagos"})
    assert session.write(TEXTS[:1])[0].text == "Moss, Lagos"


def test_thoughts_before_an_answer_are_left_out_of_the_text(tmp_path: Path) -> None:
    writer = _Scripted(lambda request: f"<think>What about it?</think>\n\nSample {request.name}.")
    written = _session(writer, Writing(prompts=("rewrite_list",)), tmp_path).write(TEXTS)
    assert written and all(text.text == f"Sample {text.id}:{text.copy}:1." for text in written)


def test_written_texts_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = _session(_Scripted(lambda r: f"ünï {r.seed}"), Writing(prompts=("rewrite_list",)), tmp_path).write(TEXTS)
    write_written(tmp_path / "written.jsonl", written)
    assert read_written(tmp_path / "written.jsonl") == written
    (tmp_path / "written.jsonl").write_text(json.dumps({"id": "a"}) + "\n")
    with pytest.raises(UserError, match=r"written.jsonl:1: not a written text"):
        read_written(tmp_path / "written.jsonl")
