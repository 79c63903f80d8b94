"""What is fetched from the hub before containers start: each model once, without what is not read."""

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


def test_every_model_of_the_hub_is_fetched_once_and_none_of_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, revision, allow_patterns, ignore_patterns: asked.append((name, revision, allow_patterns)),
    )
    assert fetch_models(calls()) == 2
    assert [(name, revision) for name, revision, _ in asked] == [("a/large", "f" * 40), ("c/adapter", None)]
    assert not any(pattern.endswith((".bin", ".pt", ".py")) for _, _, patterns in asked for pattern in patterns)


def test_a_hub_that_does_not_give_it_is_one_line_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, **options: Any) -> None:
        raise OSError("401 for\nhf_abcdefghijklmnopqrstuvwxyzABCDEFGH")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(UserError, match=r"^model 'a/large': the hub did not give it \(OSError: 401 for ") as caught:
        fetch_models(calls())
    assert "hf_abc" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_local_folder_is_not_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *given, **more: pytest.fail("asked"))
    assert fetch_models([StageCall("score", 1, {}, {}, {"model": {"model": str(tmp_path)}})]) == 0
