"""`benchmark augment` and its function with a writer: what is asked, printed, kept after a failure, and refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import benchmark
from benchmark.cli.app import app
from benchmark.data.texts import read_augmented
from tests.writing.server import Reply, Script, chat, prompt_of, serving

TEXTS = [
    {"id": "a", "text": "Ada Moss was born in Lagos in 1951.", "subject": "Ada Moss", "entities": [[0, 8], [21, 26]]},
    {"id": "b", "text": "Ben Fell lives in Bergen.", "subject": "Ben Fell", "entities": [[0, 8], [18, 24]]},
]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(text) + "\n" for text in TEXTS))
    return path


def augment(file: Path, *options: str) -> Any:
    arguments = ["augment", "rewrite", "--texts", str(file), "--out", str(file.with_name("out.jsonl")), *options]
    return CliRunner().invoke(app, arguments)


def answered(number: int, asked: dict[str, Any]) -> Reply:
    """The first text's facts are kept with another year; the second text is refused at every try."""
    if "Ada" in prompt_of(asked):
        return chat("The city of Lagos is where Ada Moss was born in 1952.", tokens=12)
    return chat("I cannot do this.")


def test_a_server_writes_the_copies_and_the_report_says_what_it_kept_and_cost(file: Path) -> None:
    script = Script(answered)
    with serving(script) as api:
        options = ("--copies", "2", "--writer", api, "--writer-model", "m")
        done = augment(file, *options, "--set-writer", "temperature=0.25", "--set-writer", "tries=2", "--report")
        assert done.exit_code == 0, done.output
        writer = {"api": api, "model": "m", "temperature": 0.25, "tries": 2}
        made = benchmark.augment(TEXTS, "rewrite", writer=writer, copies=2)
    assert {(asked["model"], asked["temperature"]) for asked in script.asked} == {("m", 0.25)}
    assert [(text.id, text.copy) for text in made] == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    out = file.with_name("out.jsonl")
    assert read_augmented(out) == made
    lines = done.output.splitlines()
    assert lines[0] == f"{out}: 4 texts from 2"
    assert "100.0% of 2 facts whole" in lines[1]
    # Lagos, Ada, Moss and 1952 in each copy: one of four is not in the text
    assert lines[2] == "25.0% of names and numbers invented; 2 texts of 6 answers"
    assert lines[3] == "texts left out: refused 2; answers drawn again: refused 2"
    assert lines[4] == "tokens of the writer: 42 in, 36 out"
    assert not out.with_name("out.jsonl.begun").exists()


def test_what_was_written_before_a_failure_is_not_asked_for_again(file: Path) -> None:
    def failing(number: int, asked: dict[str, Any]) -> Reply:
        return chat(f"text {number}") if number < 3 else (401, {"error": "no"})

    options = ("--copies", "3", "--writer-model", "m", "--set-writer", "parallel=1", "--set-writer", "max_tokens=9")
    with serving(Script(failing)) as api:
        done = augment(file, *options, "--writer", api)
        assert isinstance(done.exception, benchmark.UserError), done.output
    (journal,) = file.with_name("out.jsonl.begun").glob("*/write.jsonl")
    assert len(journal.read_text().splitlines()) == 3
    script = Script(lambda number, asked: chat(f"new {number}"))
    with serving(script) as api:  # the server has moved
        assert augment(file, *options, "--writer", api).exit_code == 0
        assert len(script.asked) == 3
        assert augment(file, *options, "--writer", api, "--seed", "2").exit_code == 0
        assert len(script.asked) == 3 + 6, "a finished command leaves nothing to continue from"


def test_texts_that_are_missing_are_told_without_a_report_too(file: Path) -> None:
    with serving(Script(answered)) as api:
        done = augment(file, "--copies", "1", "--writer", api, "--writer-model", "m")
    assert done.output.splitlines()[1:] == ["texts left out: refused 1; --report says more"]


def test_a_server_that_does_not_sample_is_refused_unless_it_should_not(file: Path) -> None:
    texts = [f"{name} lives in Bergen." for name in ("Ada", "Ben", "Cleo")]

    def same(number: int, asked: dict[str, Any]) -> Reply:
        return chat(f"In Bergen there lives {prompt_of(asked).split()[1]}.")

    parameters = {"prompts": "rewrite_list"}
    with serving(Script(same)) as api:
        writer = {"api": api, "model": "m"}
        with pytest.raises(
            benchmark.UserError, match=r"the same text whatever the seed, at temperature 0\.8: .* remove"
        ):
            benchmark.augment(texts, "rewrite", writer=writer, copies=2, parameters=parameters)
        assert len(benchmark.augment(texts[:2], "rewrite", writer=writer, copies=2, parameters=parameters)) == 6
        cold = {**writer, "temperature": 0}
        assert len(benchmark.augment(texts, "rewrite", writer=cold, copies=2, parameters=parameters)) == 9


def test_the_seed_is_the_seed_of_the_writer_unless_it_has_one(file: Path) -> None:
    def seeds(*options: str) -> list[int]:
        with serving(script := Script(lambda number, asked: chat(f"text {number}"))) as api:
            done = augment(
                file, "--copies", "1", "--writer", api, "--writer-model", "m", "--set-writer", "parallel=1", *options
            )
        assert done.exit_code == 0, done.output
        return [asked["seed"] for asked in script.asked]

    first, second = seeds(), seeds("--seed", "2")
    assert not set(first) & set(second)
    assert seeds("--seed", "1") == first
    assert seeds("--set-writer", "seed=2") == second
    assert seeds("--seed", "3", "--set-writer", "seed=2") == second


def test_clues_and_items_reach_the_prompts(file: Path) -> None:
    def listed(number: int, asked: dict[str, Any]) -> Reply:
        return chat('["Ada", "Lagos"]' if "JSON list" in prompt_of(asked) else f"About both, {number}.")

    with serving(script := Script(listed)) as api:
        writer = {"api": api, "model": "m"}
        assert len(benchmark.augment(TEXTS[:1], "entity_links", writer=writer, copies=2)) == 3
        assert len(script.asked) == 3 and "Ada" in prompt_of(script.asked[1]) and "Lagos" in prompt_of(script.asked[1])
        made = benchmark.augment(
            TEXTS[:1], "contrastive_rewrite", writer=writer, copies=1, large="zoo:large", small="zoo:small"
        )
    assert [text.copy for text in made] == [0, 1]
    asked = prompt_of(script.asked[-1]).replace(str(TEXTS[0]["text"]), "")
    assert any(word in asked for word in ("Ada", "Moss", "born", "Lagos", "1951")), asked


def test_a_local_writer_gives_the_same_texts_each_time(file: Path) -> None:
    prompt = file.with_name("short.md")
    prompt.write_text("---\nsource: this test\n---\n{document} And:\n")
    writer = {"model": "zoo:large", "max_tokens": 60, "tries": 2}
    first, again = (
        benchmark.augment(TEXTS, "rewrite", writer=writer, copies=2, parameters={"prompts": str(prompt)}, device="cpu")
        for _ in range(2)
    )
    assert first == again and any(text.copy > 0 for text in first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "method 'rewrite' needs a writer: name a model with --writer (writer= in Python)"),
        (("--writer-model", "m"), "--writer: missing; name the model or the server"),
        (("--set-writer", "top_p=1"), "--writer: missing; name the model or the server"),
        (("--writer", "http://h/v1"), "--writer-model: missing; give the name"),
        (("--writer", "zoo:large", "--writer-model", "m"), "--writer-model: is for a server alone"),
        (("--writer", "zoo:large", "--set-writer", "temperature"), "--set-writer temperature: expected NAME=VALUE"),
        (("--writer", "zoo:large", "--set-writer", "temp=1"), "writer: unknown field 'temp'; did you mean"),
        (
            ("--writer", "zoo:large", "--set-writer", "top_p=2"),
            "writer: top_p: Input should be less than or equal to 1",
        ),
        (("--writer", "zoo:larg"), "not in the zoo; did you mean 'large'?"),
        (("--writer", "zoo:large", "--set-writer", "chat=true"), "chat: true, but the model's tokenizer has no chat"),
        (
            ("--writer", "http://me:word@h/v1", "--writer-model", "m"),
            "writer: api: must hold no user, password or query",
        ),
    ],
)
def test_a_wrong_writer_is_one_line(file: Path, options: tuple[str, ...], message: str) -> None:
    done = augment(file, *options, "--device", "cpu")
    assert isinstance(done.exception, benchmark.UserError), done.output
    assert message in str(done.exception) and "\n" not in str(done.exception) and "word@" not in str(done.exception)


def test_a_writer_for_a_method_that_needs_none_is_refused(file: Path) -> None:
    with pytest.raises(benchmark.UserError, match="method 'aeda' needs no writer; leave --writer out"):
        benchmark.augment(TEXTS, "aeda", writer="zoo:large")
