"""A suite whose writer is an endpoint: checked first, continued after a failure, pinned, and its key in no file."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.runs.plan_status import plan_status
from benchmark.runs.runner import Outcome, run_suite
from benchmark.suite.schema import Suite
from tests.tiny import InThisProcess, tiny_suite
from tests.writing.server import Reply, Script, chat, prompt_of, serving

KEY = "sk-SentinelOfThisTest"
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MY_KEY", KEY)


def suite_of(tiny: Path, api: str, **changes: Any) -> Suite:
    return tiny_suite(
        tiny,
        name="with_a_server",
        tasks=[{"name": "biography", "people": 2, "evaluate": ["biography_major"]}],
        writers={"w": {"api": api, "model": "m", "key_from": "MY_KEY", "retries": 0, "parallel": 2, **changes}},
        methods=[{"name": name, "writer": "w"} for name in ("rewrite", "self_qa")],
        budgets=[{"steps": 1}],
        evaluation={"num_fewshot": 0},
    )


def run(suite: Suite, folder: Path) -> Outcome:
    return run_suite(suite, folder, folder / "records", InThisProcess(), plain=True)


def answered(number: int, asked: dict[str, Any]) -> Reply:
    """Another text for every request: a server has no memory."""
    if "Question:" in prompt_of(asked):
        return chat(f"Question: What is number {number}?\nAnswer: It is {number}", tokens=9)
    return chat(f"Someone wrote sentence {number}.", tokens=5)


def generated(script: Script) -> int:
    return sum(asked["max_tokens"] > 1 for asked in script.asked)


def test_a_run_that_a_failing_server_ended_asks_for_the_rest_alone(tiny: Path, tmp_path: Path) -> None:
    failing = Script(lambda n, asked: answered(n, asked) if n < 6 else (401, {"error": f"no: {KEY}"}), models=["m"])
    with serving(failing) as api, pytest.raises(UserError, match="refuses the key.*check MY_KEY"):
        run(suite_of(tiny, api), tmp_path)
    (journal,) = (tmp_path / "store" / ".begun").glob("write-*/journal.jsonl")
    kept = journal.read_text().splitlines()
    assert len(kept) == 2, "four texts of rewrite are whole, two of self_qa arrived"

    plan_status(suite_of(tiny, NOWHERE), tmp_path, tmp_path / "records")
    with pytest.raises(UserError, match=r"writer http://127.0.0.1:9/v1: no answer after 1 retries \(no connection\)"):
        run(suite_of(tiny, NOWHERE), tmp_path)

    script = Script(answered, models=["m"])
    with serving(script) as api:  # at another address, which is no part of the key
        outcome = run(suite_of(tiny, api), tmp_path)
    assert generated(script) == 2
    for record in outcome.records.values():
        assert record.written and record.written.api_model == "m" and record.written.model is None
        assert (record.written.texts, record.written.samples, record.written.prompt_tokens) == (4, 4, 28)
        assert record.written.tokens == {"rewrite": 20, "self_qa": 36}[record.method.name]
        assert not record.written.left_out and record.written.writer == "w"

    again = run(suite_of(tiny, NOWHERE), tmp_path)
    assert (again.made, again.stages) == (0, 0), "a finished suite needs no server"
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".json", ".jsonl", ".safetensors"}
    assert not [file for file in files if KEY.encode() in file.read_bytes()]

    (written,) = (path for path in (tmp_path / "store" / "write").iterdir() if "sentence" in _texts(path))
    shutil.rmtree(written)
    for record_file in (tmp_path / "records").rglob("*rewrite*.json"):
        record_file.unlink()
    with serving(script) as api, pytest.raises(UserError, match=r"written first were lost.*\.pins/write-") as error:
        run(suite_of(tiny, api), tmp_path)
    assert written.name in str(error.value) and "\n" not in str(error.value)


def _texts(artifact: Path) -> str:
    return (artifact / "written.jsonl").read_text()


def test_a_key_that_is_not_set_is_found_before_the_first_stage(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(UserError, match="key_from: the variable MY_KEY is not set; set it"):
        run(suite_of(tiny, NOWHERE), tmp_path)
    assert not list((tmp_path / "store").glob("*/*/manifest.json"))


def test_a_model_that_the_server_lacks_is_found_before_the_first_stage(tiny: Path, tmp_path: Path) -> None:
    script = Script(lambda number, asked: (404, {"error": "no such model"}), models=["other"])
    with serving(script) as api, pytest.raises(UserError, match=r"model 'm': not found .*; it lists other"):
        run(suite_of(tiny, api), tmp_path)
    assert not list((tmp_path / "store").glob("*/*/manifest.json"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chat": True}, r"writers\.w: model '.*': writer: chat: true, but the model's tokenizer has no chat template"),
        (
            {"max_tokens": 500},
            r"writers\.w: model '.*': text '.*' in prompt 'questions': \d+ tokens and an answer of 500",
        ),
    ],
)
def test_a_local_writer_that_cannot_be_asked_is_found_before_the_first_stage(
    tiny: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    suite = tiny_suite(
        tiny,
        writers={"w": {"model": str(tiny), **settings}},
        methods=[{"name": "self_qa", "writer": "w"}],
    )
    with pytest.raises(UserError, match=message):
        run(suite, tmp_path)
    with pytest.raises(UserError, match=message):
        plan_status(suite, tmp_path, tmp_path / "records")
    assert not list((tmp_path / "store").glob("*/*/manifest.json"))


def test_the_trained_model_as_writer_is_checked_too(tiny: Path, tmp_path: Path) -> None:
    suite = tiny_suite(tiny, methods=["self_qa"])
    with pytest.raises(UserError, match=r"writers\.trained: .*; list the model under writers with a lower max_tokens"):
        run(suite, tmp_path)
