"""Fetching from the hub before containers start: each model once, without the files that are not read."""

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from benchmark.core.errors import UserError
from benchmark.executors.hub import fetch_models
from benchmark.store.artifacts import StageCall


def calls() -> list[StageCall]:
    of_hub = {"model": "a/large", "revision": "f" * 40}
    corpus = StageCall("corpus", 1, {}, {}, {"fit": [of_hub, {"model": "zoo:small"}]})
    score = StageCall("score", 1, {}, {"corpus": corpus}, {"model": of_hub})
    other = StageCall(
        "score", 1, {"n": 2}, {"corpus": corpus}, {"model": {"model": "zoo:large", "adapter": "c/adapter"}}
    )
    return [corpus, score, other]


def test_each_hub_model_is_fetched_once_and_without_files_that_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, revision, allow_patterns, ignore_patterns: fetched.append((name, revision, allow_patterns)),
    )
    assert fetch_models(calls()) == 2
    assert [(name, revision) for name, revision, _ in fetched] == [("a/large", "f" * 40), ("c/adapter", None)]
    assert not any(pattern.endswith((".bin", ".pt", ".py")) for _, _, patterns in fetched for pattern in patterns)


def test_a_refusal_of_the_hub_is_one_line_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, **options: Any) -> None:
        raise OSError("401 for\nhf_abcdefghijklmnopqrstuvwxyzABCDEFGH")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(
        UserError, match=r"^model 'a/large': cannot be fetched from the hub \(OSError: 401 for "
    ) as caught:
        fetch_models(calls())
    assert "hf_abc" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_local_folder_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *given, **more: pytest.fail("fetched"))
    assert fetch_models([StageCall("score", 1, {}, {}, {"model": {"model": str(tmp_path)}})]) == 0


def test_a_local_writer_is_fetched_and_the_model_of_a_server_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: fetched.append(name))
    local = {"model": "a/writer", "revision": "f" * 40, "temperature": 0.5}
    served = {"api": "http://h/v1", "model": "b/served"}
    assert (
        fetch_models([StageCall("write", 1, {"n": n}, {}, {"writer": w}) for n, w in enumerate((local, served))]) == 1
    )
    assert fetched == ["a/writer"]
