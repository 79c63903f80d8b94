"""Questions that a writer writes: each check against a scripted writer, going on after a kill, and the report."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.data.prompts import read_prompt
from benchmark.data.texts import Text
from benchmark.writing import questions as module
from benchmark.writing.answers import read_questions
from benchmark.writing.question_checks import WrittenQuestion, checked, names_its_subject, names_of_examples
from benchmark.writing.questions import EACH, KINDS, PROMPTS, write_questions
from benchmark.writing.requests import Request, Sample
from benchmark.writing.settings import LocalWriter
from benchmark.writing.writers import writer_from_text
from tests.writing.server import Reply, Script, chat, prompt_of, serving

DOCUMENTS = [
    Text("pier", "The pier of Port Ellery was built by Ada Moss in 1871 and has a blue rail."),
    Text("rock", "Gull Rock has 212 steps. Its keeper Owen Tarr was born in Lagos in 1871."),
]
WRITER = LocalWriter(model="any", tries=2)
QWEN = Path.home() / ".cache" / "models" / "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf"

# What the writer writes, by document and kind, and what becomes of each question.
WRITTEN = {
    ("pier", "direct"): [
        ("Who built the pier of Port Ellery?", "Ada Moss", "kept"),
        ("who built the Pier of Port Ellery", "Moss", "asked already"),
        ("What colour is the rail of the pier?", "green", "answer not in its passage"),
        ("What is the rail of the pier?", "blu", "answer not in its passage"),  # a part of a word
        ("Was Ada Moss a builder of the pier?", "Ada Moss", "answer in the question"),
        ("What is known in 1871?", "a blue rail", "names only what many documents hold"),
        ("What is the rail?", "blue", "names nothing of its passage"),
        ("Who wrote Tidemark for Ada Moss?", "Ada Moss", "about the prompt's example"),
        ("What of 1871 has a blue rail or steps?", "Port Ellery", "has several answers"),
        ("What does the text say about the pier?", "a blue rail", "asks about the text itself"),
        ('What is "the" in English?', "the", "answer is empty"),
    ],
    ("pier", "reworded"): [
        ("What colour has the railing at Port Ellery?", "blue", "kept"),
        ("Who was pier of Port Ellery was built by?", "Ada Moss", "reworded in the words of the document"),
    ],
    ("pier", "backwards"): [
        ("What did Ada Moss build in 1871?", "The pier of Port Ellery", "kept"),
        ("Which pier was built by Moss?", "Port Ellery", "not answered with the document"),
        ("What has a rail?", "Port Ellery", "names only what many documents hold"),
    ],
    ("rock", "direct"): [
        ("How many steps has Gull Rock?", "212", "kept"),
        ("Where was Owen Tarr born?", "Lagos", "answered without the document"),
        ("What of 1871 has a blue rail or steps?", "Gull Rock", "has several answers"),
        (
            "What is known of keeper Tarr?",
            "was born in Lagos in 1871",
            "kept",
        ),
        (
            "What is known of Gull Rock?",
            "Gull Rock has 212 steps. Its keeper Owen Tarr was born",
            "answer has more than 10 words",
        ),
    ],
}
LISTED = [
    (document, question, answer, kind, fate)
    for (document, kind), rows in WRITTEN.items()
    for question, answer, fate in rows
]


class Scripted:
    """A writer whose questions and answers are those above; stops like a killed process after some samples."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.stop_after = stop_after

    def write(self, requests: Sequence[Request], known: Mapping[str, Sample]) -> Iterator[tuple[Request, Sample]]:
        for request in reversed(requests):  # samples may arrive in any order
            if request.name not in known:
                if len(self.asked) == self.stop_after:
                    raise KeyboardInterrupt
                self.asked.append(request.name)
                yield request, Sample(self._answer(request), 10, 2, "stop")

    def _answer(self, request: Request) -> str:
        if not request.name.startswith("with"):
            name, copy, _ = request.name.split(":")
            rows = WRITTEN.get((name.partition("#")[0], KINDS[int(copy) - 1]))
            return "\n".join(f"Question: {q}\nAnswer: {a}" for q, a, _ in rows) if rows else "I cannot do that."
        asked = request.values["item"]
        (answer, fate), *_ = [(a, fate) for _, q, a, _, fate in LISTED if q == asked]
        with_document = request.message.startswith("Text: ")
        assert with_document == (DOCUMENTS[0].text in request.message or DOCUMENTS[1].text in request.message)
        knows = fate != "not answered with the document" if with_document else fate.startswith("answered without")
        return f"<think>Hm.</think>It is {answer.upper()}!" if knows else "I do not know"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scripted], Scripted]:
    def use(writer: Scripted) -> Scripted:
        monkeypatch.setattr(module, "open_writers", lambda settings, samplings, device: [writer for _ in samplings])
        return writer

    return use


def test_questions_that_fail_a_check_are_left_out_and_counted(
    tmp_path: Path, opened: Callable[[Scripted], Scripted]
) -> None:
    opened(Scripted())
    kept, report = write_questions(DOCUMENTS, WRITER, "cpu", tmp_path)
    assert kept == [WrittenQuestion(d, q, a, kind) for d, q, a, kind, fate in LISTED if fate == "kept"]
    assert kept[0].row() == {
        "document": "pier", "question": "Who built the pier of Port Ellery?", "answers": ["Ada Moss"], "kind": "direct",
    }  # fmt: skip
    for name in {fate for *_, fate in LISTED} - {"kept"}:
        assert report.left_out[name] == sum(fate == name for *_, fate in LISTED), name
    assert (report.passages, report.asked, report.parsed) == (2, 2 * 3 * EACH, len(LISTED))
    assert report.kept == {"direct": 3, "reworded": 1, "backwards": 1} and report.documents == 2
    assert report.unusable == {"refused": 2}, "two kinds about the rock, after both tries"
    # Six prompts and two again; seven questions are asked with the document, and six of them without.
    assert (report.prompt_tokens, report.tokens) == (10 * (8 + 7 + 6), 2 * (8 + 7 + 6))
    first, second, third = report.lines()
    assert first == (
        "questions: up to 18 asked for about 2 passages, 21 read, 5 kept (direct 3, reworded 1, backwards 1) "
        "about 2 documents"
    )
    assert second.startswith("left out: ") and "answered without the document 1" in second
    assert third == "answers of the writer without a usable question: refused 2"


def test_a_killed_call_asks_for_the_rest_alone(tmp_path: Path, opened: Callable[[Scripted], Scripted]) -> None:
    whole = opened(Scripted())
    expected = write_questions(DOCUMENTS, WRITER, "cpu", tmp_path / "whole")
    for stop_after in range(len(whole.asked)):
        resume_folder = tmp_path / str(stop_after)
        first = opened(Scripted(stop_after))
        with pytest.raises(KeyboardInterrupt):
            write_questions(DOCUMENTS, WRITER, "cpu", resume_folder)
        second = opened(Scripted())
        assert write_questions(DOCUMENTS, WRITER, "cpu", resume_folder) == expected
        assert len(first.asked) + len(second.asked) == len(whole.asked), stop_after


def test_samples_of_other_documents_or_another_writer_are_not_taken(
    tmp_path: Path, opened: Callable[[Scripted], Scripted]
) -> None:
    opened(Scripted())
    write_questions(DOCUMENTS, WRITER, "cpu", tmp_path)
    for documents, writer in ((DOCUMENTS[:1], WRITER), (DOCUMENTS, WRITER.model_copy(update={"seed": 2}))):
        again = opened(Scripted())
        write_questions(documents, writer, "cpu", tmp_path)
        assert again.asked
    again = opened(Scripted())
    write_questions(DOCUMENTS, WRITER, "cpu", tmp_path)
    assert not again.asked


def test_without_a_usable_question_the_error_says_why(tmp_path: Path, opened: Callable[[Scripted], Scripted]) -> None:
    class Ignorant(Scripted):
        def _answer(self, request: Request) -> str:
            return "I know nothing" if request.name.startswith("with:") else super()._answer(request)

    opened(Ignorant())
    with pytest.raises(UserError, match=r"^--questions-by: none of 21 .*not answered with the document 7.*; use"):
        write_questions(DOCUMENTS, WRITER, "cpu", tmp_path)


def test_every_passage_of_a_long_document_is_asked_about(
    tmp_path: Path, opened: Callable[[Scripted], Scripted]
) -> None:
    filler = "Nothing is said here. " * 80
    writer = opened(Scripted())
    document = Text("pier", f"{filler}\n\n{filler}\n\n{DOCUMENTS[0].text}")

    def answer(request: Request) -> str:
        if request.name.startswith("with:"):
            return "Ada Moss" if DOCUMENTS[0].text in request.message else ""
        return (
            "Question: Who built the pier of Port Ellery?\nAnswer: Ada Moss"
            if DOCUMENTS[0].text in request.message
            else "Nothing."
        )

    writer._answer = answer  # type: ignore[method-assign]
    kept, report = write_questions([document], WRITER, "cpu", tmp_path)
    assert [(question.document, question.answer) for question in kept] == [("pier", "Ada Moss")]
    assert report.passages == 2


def test_a_server_is_asked_and_answers_with_the_likeliest_tokens(tmp_path: Path) -> None:
    def reply(number: int, content: dict[str, Any]) -> Reply:
        prompt = prompt_of(content)
        if "Write up to three" in prompt:
            return chat("Question: Who built Port Ellery's pier?\nAnswer: Ada Moss")
        return chat("Ada Moss." if prompt.startswith("Text: The pier") else "I do not know.")

    script = Script(reply)
    with serving(script) as address:
        writer = writer_from_text(f"api:{address}#qwen", {"temperature": "0.7"})
        kept, report = write_questions(DOCUMENTS[:1], writer, "cpu", tmp_path)
    assert [(question.question, question.kind) for question in kept] == [("Who built Port Ellery's pier?", "direct")]
    assert report.left_out == {"asked already": 2}
    assert sorted(asked["temperature"] for asked in script.asked) == [0, 0, 0.7, 0.7, 0.7]
    assert {asked["model"] for asked in script.asked} == {"qwen"}
    roles = {tuple(message["role"] for message in asked["messages"]) for asked in script.asked}
    assert roles == {("user", "assistant", "user"), ("user", "assistant", "user", "assistant", "user")}
    assert all(
        "Tidemark" in asked["messages"][0]["content"] or "Tomas Riel" in asked["messages"][0]["content"]
        for asked in script.asked
    ), "the example is a turn"


@pytest.mark.parametrize("name", [*KINDS, "answer"])
def test_every_prompt_names_its_source_and_has_examples_for_base_models(name: str) -> None:
    prompt = read_prompt(str(PROMPTS / f"{name}.md"))
    assert prompt.source and prompt.examples
    plain = Request("", prompt, {"document": "Text: x\n\n", "item": "Who?"}, 0).plain
    assert plain.endswith("\n\nAnswer:") and plain.count("###") == len(prompt.examples)


@pytest.mark.parametrize("kind", KINDS)
def test_the_questions_of_an_example_pass_the_checks(kind: str) -> None:
    (example,) = read_prompt(str(PROMPTS / f"{kind}.md")).examples
    pairs = read_questions(example.answer, "stop")
    assert len(pairs) == EACH
    candidates = [(WrittenQuestion("t", question, answer, kind), example.document) for question, answer in pairs]
    kept, left_out = checked(candidates, {"t": example.document}, frozenset())
    assert kept == candidates, left_out


def asked(question: str, answer: str, passage: str, *others: str, kind: str = "direct") -> str:
    """What becomes of one question about a passage, beside other documents: "kept", or what it fails."""
    documents = {"t": passage, **{f"other{number}": text for number, text in enumerate(others)}}
    kept, left_out = checked([(WrittenQuestion("t", question, answer, kind), passage)], documents, frozenset())
    return "kept" if kept else next(iter(left_out))


@pytest.mark.parametrize(
    ("question", "fate"),
    [
        ("What is the title of the document about the Ellery pier?", "asks about the text itself"),
        ("Which number is used in the code of Ellery?", "asks about the text itself"),
        ("What does the text mention about Ellery?", "asks about the text itself"),
        ("How long is the text of Ellery?", "kept"),
        ("What is the default of the text column of Ellery?", "kept"),
        ("Which number is used in the code system of Ellery?", "asks about the text itself"),  # one that it gets wrong
    ],
)
def test_a_question_about_the_text_itself_is_told_from_one_about_texts(question: str, fate: str) -> None:
    assert asked(question, "310", "The pier of Ellery has number 310.") == fate


def test_a_name_that_many_documents_hold_does_not_name_a_subject() -> None:
    others = [f"Cram has a room of {number} chairs." for number in range(6)]
    passage = "Cram has a pier that is 310 metres long."
    assert asked("How many metres has Cram?", "310", passage, *others) == "kept"  # few hold "metres"
    assert asked("How long is Cram?", "310", passage, *others) == "names only what many documents hold"
    assert asked("How long is Cram?", "310", passage) == "kept", "it is the only document"


def test_different_answers_make_a_question_ambiguous_and_parts_of_one_another_do_not() -> None:
    passage = "Ada Moss and Owen Tarr built the pier of Ellery."
    of = [
        (WrittenQuestion("t", "Who built Ellery's pier?", answer, "direct"), passage)
        for answer in ("Ada Moss", "Moss", "Owen Tarr")
    ]
    kept, left_out = checked(of[:2], {"t": passage}, frozenset())
    assert kept == of[:1] and left_out == {"asked already": 1}
    kept, left_out = checked(of, {"t": passage}, frozenset())
    assert not kept and left_out == {"has several answers": 3}


def test_names_of_an_example_are_known_unless_the_passage_holds_them_too() -> None:
    examples = names_of_examples([read_prompt(str(PROMPTS / f"{kind}.md")) for kind in KINDS])
    assert examples == {"Tidemark", "Riel", "Bergen"}
    for passage, kept in (("Bergen has a pier of 1871.", 1), ("The town has a pier of 1871.", 0)):
        written = WrittenQuestion("t", "When was the pier of Bergen built? In 1870 or later?", "1871", "direct")
        assert len(checked([(written, passage)], {"t": passage}, examples)[0]) == kept


def test_a_reply_about_the_example_alone_is_drawn_again(tmp_path: Path, opened: Callable[[Scripted], Scripted]) -> None:
    writer = opened(Scripted())
    about_pier = "Question: Who built the pier of Port Ellery?\nAnswer: Ada Moss"
    about_example = "Question: Who wrote the first version?\nAnswer: Tomas Riel"

    def answer(request: Request) -> str:
        if request.name.startswith("with:"):
            return "Ada Moss"
        return about_pier if request.name.endswith(":2") else about_example

    writer._answer = answer  # type: ignore[method-assign]
    kept, report = write_questions(DOCUMENTS[:1], WRITER, "cpu", tmp_path)
    assert [question.answer for question in kept] == ["Ada Moss"] and not report.unusable
    assert report.parsed == 3, "the second reply to each kind of question"


def test_a_writer_that_repeats_the_passage_has_not_answered(
    tmp_path: Path, opened: Callable[[Scripted], Scripted]
) -> None:
    writer = opened(Scripted())
    answers = writer._answer

    def repeat(request: Request) -> str:
        return DOCUMENTS[0].text if request.name.startswith("with:pier:") else answers(request)

    writer._answer = repeat  # type: ignore[method-assign]
    kept, report = write_questions(DOCUMENTS, WRITER, "cpu", tmp_path)
    assert {question.document for question in kept} == {"rock"}
    assert report.left_out["not answered with the document"] == 4


@pytest.mark.parametrize(
    ("question", "passage", "names"),
    [
        ("What is the figure?", "The figure is 0.31, as Table 3 says.", False),
        ("Which file holds the CSV?", "The CSV is board.csv.", True),
        ("What does num_fewshot default to?", "num_fewshot is 0, 1 and 5.", True),
        ("What happened in 1871?", "The pier was built in 1871.", True),
        ("What happened in 1871?", "The pier was built in 18712.", False),
        ("How long is the pier?", "# The pier of Port Ellery\n\nIt is 310 metres long.", True),
        ("How long is the pier?", "The pier is 310 metres long.", False),
        ("What is Ellery's oldest pier?", "Ellery has a pier of 1871.", True),
        ("What is Ellery\u2019s oldest pier?", "Ellery has a pier of 1871.", True),
        ("What is done?", "# What is done with records\n\nThey are kept.", False),
        ("Who met Ada Moss?", "Owen Tarr met her.", False),  # the name is not the document's
        ("\u5728\u54ea\u91cc\uff1f", "\u5728\u6d77\u8fb9", True),  # no capital letters exist
    ],
)
def test_a_question_has_to_name_something_of_its_passage(question: str, passage: str, names: bool) -> None:
    assert names_its_subject(question, passage) == names


@pytest.mark.slow
@pytest.mark.skipif(not QWEN.is_file(), reason="needs a real writer: run ../shared/models/get qwen-coder-0.5b")
def test_a_real_writer_writes_the_same_questions_twice(tmp_path: Path) -> None:
    writer = LocalWriter(model=str(QWEN), temperature=0.3, max_tokens=120, tries=1, batch_size=3)
    first = write_questions(DOCUMENTS, writer, "cpu", tmp_path / "one")
    assert write_questions(DOCUMENTS, writer, "cpu", tmp_path / "two") == first
    texts = {document.id: document.text.lower() for document in DOCUMENTS}
    assert all(question.answer.lower().strip(".") in texts[question.document] for question in first[0])
    journals = [next((tmp_path / run).glob("*/answers.jsonl")).read_text() for run in ("one", "two")]
    assert journals[0] == journals[1] and json.loads(journals[0].splitlines()[0])
