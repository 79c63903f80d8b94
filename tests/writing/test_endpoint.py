"""Endpoints, asked over HTTP: requests, retries, errors in one line, and no secret anywhere."""

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from benchmark.core.errors import UserError
from benchmark.data.prompts import Example, Prompt
from benchmark.data.texts import Text
from benchmark.data.written import Writing
from benchmark.writing.endpoint import Endpoint
from benchmark.writing.requests import Request, Sample
from benchmark.writing.settings import Endpoint as Settings
from benchmark.writing.write import Journal, Session
from tests.writing.server import Script, chat, completion, prompt_of, serving

KEY = 'sk-Sentinel/of"this"test'
PROMPT = Prompt(
    source="this test",
    instruction="Text: {document} Write it anew.",
    examples=(Example(document="Bo lives in Bern.", answer="Bern is home to Bo."),),
)
TEXTS = [Text("a", "Ada Moss was born in Lagos."), Text("b", "Ben Fell lives in Bergen.")]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MY_KEY", KEY)


def requests(count: int = 1) -> list[Request]:
    return [Request(f"{n}:1:1", PROMPT, {"document": f"Ada {n}."}, 2**32 - 1 - n) for n in range(count)]


def endpoint(api: str, **changes: Any) -> Endpoint:
    return Endpoint(Settings.model_validate({"api": api, "model": "m", "retries": 0, "timeout": 20, **changes}))


def failure(api: str, **changes: Any) -> str:
    """The one line with which a request fails."""
    with pytest.raises(UserError) as error:
        list(endpoint(api, **changes).write(requests(), {}))
    message = str(error.value)
    assert "\n" not in message and message.startswith(f"writer {api}"), message
    return message


def test_a_chat_is_asked_as_the_settings_say() -> None:
    script = Script(lambda number, asked: chat(" Lagos is where Ada was born. \n", tokens=6))
    with serving(script) as api:
        settings = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 12, "key_from": "MY_KEY"}
        ((request, sample),) = endpoint(api, **settings).write(requests(), {})
    assert sample == Sample("Lagos is where Ada was born.", 7, 6, "stop")
    assert script.asked == [
        {
            "path": "/v1/chat/completions",
            "model": "m",
            "messages": [{"role": "user", "content": "Text: Ada 0. Write it anew."}],
            "temperature": 0.5,
            "top_p": 0.9,
            "max_tokens": 12,
            "seed": 2**31 - 1,
        }
    ]
    assert request.name == "0:1:1" and script.headers == [f"Bearer {KEY}"]


def test_an_answer_of_which_a_filter_left_a_part_out_counts_as_cut() -> None:
    with serving(Script(lambda number, asked: chat("Lagos", ended="content_filter"))) as api:
        ((_, sample),) = endpoint(api).write(requests(), {})
    assert sample == Sample("Lagos", 7, 3, "length")


def test_a_model_without_a_chat_gets_the_examples_and_stops_at_the_mark() -> None:
    script = Script(lambda number, asked: completion(" Lagos", ended="length"))
    with serving(script) as api:
        ((_, sample),) = endpoint(api, chat=False).write(requests(), {})
    assert sample == Sample("Lagos", 7, 3, "length")
    (asked,) = script.asked
    assert asked["path"] == "/v1/completions" and asked["stop"] == ["###"]
    assert asked["prompt"] == (
        "Text: Bo lives in Bern. Write it anew.\n\nAnswer: Bern is home to Bo.\n\n###\n\n"
        "Text: Ada 0. Write it anew.\n\nAnswer:"
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_retried(status: int) -> None:
    script = Script(lambda number, asked: (status, {"error": "later"}) if number < 2 else chat("fine"))
    with serving(script) as api:
        ((_, sample),) = endpoint(api, retries=2).write(requests(), {})
    assert sample.text == "fine" and len(script.asked) == 3


def test_retries_have_a_limit() -> None:
    script = Script(lambda number, asked: (500, {"error": {"message": f"broken, {KEY}"}}))
    with serving(script) as api:
        message = failure(api, retries=2, key_from="MY_KEY")
    assert len(script.asked) == 3
    assert "InternalServerError" in message and "run again: what is written is kept" in message


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ((401, {"error": {"message": f"no such key: {KEY}"}}), "the server refuses the key (status 401); check MY_KEY"),
        ((403, {"error": "not for you"}), "the server refuses the key (status 403); check MY_KEY"),
        ((404, {"error": {"message": f"no model m for {KEY}"}}), "model 'm': not found ("),
        ((400, {"error": {"message": f"{KEY}: too long"}}), "BadRequestError: Error code: 400"),
        ((200, b'{"choices": [{"mess'), "not an answer of OpenAI's protocol ("),
        ((200, b"<html>"), "not an answer of OpenAI's protocol ("),
        ((200, {"choices": []}), "not an answer of OpenAI's protocol (the answer holds no choices)"),
        ((200, {"choices": None}), "not an answer of OpenAI's protocol (the answer holds no choices)"),
        ((200, ["x"]), "not an answer of OpenAI's protocol (the answer holds no choices)"),
        ((200, {"choices": [{"message": {"content": {"a": 1}}}]}), "(the answer's text is no text)"),
    ],
)
def test_what_no_retry_mends_is_one_line_without_the_key(reply: tuple[int, Any], expected: str) -> None:
    script = Script(lambda number, asked: reply)
    with serving(script) as api:
        message = failure(api, retries=3, key_from="MY_KEY")
    assert expected in message and len(script.asked) == 1
    assert KEY not in message and "Sentinel" not in message


def test_a_server_that_is_not_there_is_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        api = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    assert "no answer after 0 retries (no connection); start the server" in failure(api)


def test_a_server_that_does_not_answer_in_time_is_one_line() -> None:
    answered = threading.Event()

    def reply(number: int, asked: dict[str, Any]) -> Any:
        answered.wait(5)
        return chat("late")

    with serving(Script(reply)) as api:
        try:
            assert "no answer after 0 retries (timeout)" in failure(api, timeout=0.2)
        finally:
            answered.set()


def test_several_requests_run_at_a_time_and_no_more_than_parallel() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def reply(number: int, asked: dict[str, Any]) -> Any:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        return chat(prompt_of(asked))

    with serving(Script(reply)) as api:
        written = endpoint(api, parallel=3).write(requests(9), {})
        drawn = {request.name: sample.text for request, sample in written}
    assert most[0] == 3
    assert drawn == {f"{n}:1:1": f"Text: Ada {n}. Write it anew." for n in range(9)}


def test_known_samples_are_not_asked_for() -> None:
    script = Script(lambda number, asked: chat("new"))
    known = {"0:1:1": Sample("old", 1, 1, "stop"), "2:1:1": Sample("old", 1, 1, "stop")}
    with serving(script) as api:
        drawn = [request.name for request, _ in endpoint(api).write(requests(4), known)]
    assert sorted(drawn) == ["1:1:1", "3:1:1"] and len(script.asked) == 2


def test_a_lone_surrogate_in_an_answer_becomes_a_question_mark(tmp_path: Path) -> None:
    script = Script(lambda number, asked: (200, b'{"choices": [{"message": {"content": "a\\ud800b\\u0000"}}]}'))
    with serving(script) as api:
        ((request, sample),) = endpoint(api).write(requests(), {})
    Journal(tmp_path / "j").add(request.name, sample)
    assert Journal(tmp_path / "j").samples[request.name] == Sample("a?b\0", 0, 0, "stop")


def test_what_arrived_before_a_failure_is_kept_and_the_second_run_asks_for_the_rest_alone(tmp_path: Path) -> None:
    broken = threading.Event()

    def reply(number: int, asked: dict[str, Any]) -> Any:
        if broken.is_set() and number >= 5:
            return 401, {"error": "gone"}
        return chat(f"about {prompt_of(asked)[-60:]}, {number}")

    def session(api: str) -> Session:
        writing = Writing(prompts=("rewrite_list", "rewrite_child"))
        return Session(endpoint(api, parallel=2), writing, 4, 1, 2, Journal(tmp_path / "journal.jsonl"))

    script = Script(reply)
    with serving(script) as api:
        broken.set()
        with pytest.raises(UserError, match="refuses the key"):
            session(api).write(TEXTS)
        kept = (tmp_path / "journal.jsonl").read_text().splitlines()
        assert len(kept) == 5
        asked = len(script.asked)
        broken.clear()
        again = session(api)
        written = again.write(TEXTS)
    assert len(script.asked) == asked + 3, "only the missing ones"
    assert (tmp_path / "journal.jsonl").read_text().splitlines()[:5] == kept
    names = [line.split('"')[3] for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert len(names) == len(set(names)) == 8 == again.report.samples
    assert [(text.id, text.copy) for text in written] == [(i, copy) for i in "ab" for copy in (1, 2, 3, 4)]


def test_an_interrupted_iteration_does_not_wait_for_the_server() -> None:
    answered = threading.Event()

    def reply(number: int, asked: dict[str, Any]) -> Any:
        if number > 0:
            answered.wait(10)
        return chat("fine")

    with serving(Script(reply)) as api:
        try:
            drawing = endpoint(api, parallel=1).write(requests(3), {})
            next(drawing)
            started = time.monotonic()
            drawing.close()  # type: ignore[attr-defined]
            assert time.monotonic() - started < 1
        finally:
            answered.set()


def test_a_check_finds_the_model_in_the_list_or_by_asking_it() -> None:
    listing = Script(lambda number, asked: chat("x"), models=["other", "m"])
    with serving(listing) as api:
        endpoint(api).check()
    assert not listing.asked
    for models in (["an-alias"], None):
        script = Script(lambda number, asked: chat("x"), models=models)
        with serving(script) as api:
            endpoint(api).check()
        assert [asked["max_tokens"] for asked in script.asked] == [1]


def test_a_check_names_the_models_that_the_server_has() -> None:
    script = Script(lambda number, asked: (404, {"error": "no such model"}), models=["small", "large"])
    with serving(script) as api, pytest.raises(UserError) as error:
        endpoint(api).check()
    assert "model 'm': not found" in str(error.value) and str(error.value).endswith("; it lists large, small")


@pytest.mark.parametrize(
    ("value", "message"),
    [("", "is not set; set it"), ("two words", "no key has"), ("líne", "no key has"), ("a\nb", "no key has")],
)
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(UserError, match=f"key_from: the variable MY_KEY .*{message}") as error:
        endpoint("http://127.0.0.1:9/v1", key_from="MY_KEY")
    assert not value or value not in str(error.value)


def test_white_space_around_a_key_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-1\n")
    script = Script(lambda number, asked: chat("x"))
    with serving(script) as api:
        list(endpoint(api, key_from="MY_KEY").write(requests(), {}))
    assert script.headers == ["Bearer sk-1"]


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000/v1", "ftp://host/v1", "http:///v1", "http://h:99999/v1", "http://[::1/v1", "http://h\n/v1",
        "http://h /v1", "http://me:word@host/v1", "http://me@host/v1", "http://h/v1?key=1", "http://h/v1#key",
    ],
)  # fmt: skip
def test_an_address_that_is_none_or_holds_a_secret_is_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        Settings(api=address, model="m")
