"""Suites with a writer: which stages they plan, what their records and the board say, and what pruning keeps."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.records.record import Record, read_record
from benchmark.runs.plan_status import plan_status
from benchmark.runs.prune import prune
from benchmark.runs.runner import run_suite
from benchmark.stages import write
from benchmark.store.artifacts import Store
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import Suite
from benchmark.writing.requests import Request, Sample
from leaderboard.submission.content import _check_written
from leaderboard.views.markdown import markdown_page
from tests.leaderboard.factory import board_of
from tests.tiny import InThisProcess, make_tiny_model, tiny_suite


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a scripted writer is asked: 10 tokens in and 4 out for each answer; it refuses the first try on copy 2."""
    names: list[str] = []

    class Scripted:
        def write(self, requests: Sequence[Request], known: Mapping[str, Sample]) -> Iterator[tuple[Request, Sample]]:
            for request in requests:
                if request.name not in known:
                    names.append(request.name)
                    text = f"People call {request.values['document']} number 77."
                    refuses = request.name.endswith(":2:1")
                    yield request, Sample("I cannot do this." if refuses else text, 10, 4, "stop")

    monkeypatch.setattr(write, "_writer", lambda call: Scripted())
    return names


def suite_of(tiny: Path, methods: list[Any], **changes: Any) -> Suite:
    return tiny_suite(
        tiny, methods=methods, writers={"qwen": {"model": "zoo:small", "temperature": 0.5, "max_tokens": 40}}, **changes
    )


def records_of(folder: Path) -> list[Record]:
    return [read_record(path) for path in folder.rglob("*.json")]


def test_the_seconds_of_writing_include_those_of_an_interrupted_run(
    tiny: Path, tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = tmp_path / "short.md"
    prompt.write_text("---\nsource: ours\n---\nSay it in other words: {document}\n", encoding="utf-8")
    suite = suite_of(tiny, [{"name": "rewrite", "writer": "qwen", "prompts": str(prompt)}])
    clock, writer = iter(range(0, 10**6, 1000)), write._writer

    class Stopped:
        def write(self, requests: Sequence[Request], known: Mapping[str, Sample]) -> Iterator[tuple[Request, Sample]]:
            for number, answer in enumerate(writer(None).write(requests, known)):  # type: ignore[arg-type]
                if number == 3:
                    raise KeyboardInterrupt
                yield answer

    monkeypatch.setattr("benchmark.stages.write.time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    monkeypatch.setattr(write, "_writer", lambda call: Stopped())
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, tmp_path, tmp_path / "records", InThisProcess(), plain=True)
    monkeypatch.setattr(write, "_writer", writer)
    run_suite(suite, tmp_path, tmp_path / "records", InThisProcess(), plain=True)
    (record,) = records_of(tmp_path / "records")
    # The clock moves on by 1,000 s whenever it is read: three answers were reported before the interruption.
    assert 1000 <= record.cost["write"].seconds < 10_000


def test_seeds_and_methods_that_ask_for_the_same_texts_share_their_stages(tiny: Path) -> None:
    listed = [{"name": name, "writer": "qwen"} for name in ("rewrite", "self_qa", "mixed")]
    suite = suite_of(tiny, ["plain_matched", *listed], seeds=[1, 2, 3])
    stages = Counter(call.stage for call in make_plan(suite).calls())
    # mixed takes the texts of rewrite and self_qa by default
    assert (stages["write"], stages["train"], stages["corpus"]) == (2, 12, 1)
    with_trained = suite_of(tiny, [*listed, {"name": "rewrite"}], seeds=[1, 2, 3])
    assert Counter(call.stage for call in make_plan(with_trained).calls())["write"] == 3


def test_seeds_share_what_is_made_of_written_texts_alone(tiny: Path) -> None:
    listed = [{"name": name, "writer": "qwen"} for name in ("rewrite", "context_distillation", "mixed")]
    calls = make_plan(suite_of(tiny, listed, seeds=[1, 2, 3])).calls()
    made = Counter((call.stage, call.params.get("method", "")) for call in calls)
    assert made["augment", "rewrite"] == made["augment", "context_distillation"] == 1
    assert made["teach", ""] == 1
    assert made["augment", "mixed"] == 3, "a part is drawn for every copy, with the seed"
    assert sum(count for (stage, _), count in made.items() if stage == "train") == 9


def test_a_suite_with_a_writer_is_planned_run_recorded_shown_and_pruned(
    tiny: Path, tmp_path: Path, asked: list[str]
) -> None:
    prompt = tmp_path / "short.md"  # without examples, so that it fits the tiny model
    prompt.write_text("---\nsource: ours\n---\nSay it in other words: {document}\n", encoding="utf-8")
    methods = [{"name": "rewrite", "writer": "qwen", "prompts": str(prompt)}]
    suite, records = suite_of(tiny, methods), tmp_path / "records"
    assert plan_status(suite, tmp_path, records).stages_left["write"] == 1
    run_suite(suite, tmp_path, records, InThisProcess(), plain=True)
    people, copies = 4, 2
    assert len(asked) == people * copies + people, "each text once, and the refused ones again"
    assert plan_status(suite, tmp_path, records).stages_left.get("write", 0) == 0

    (record,) = records_of(records)
    assert record.written is not None
    assert (record.written.writer, record.written.texts, record.written.samples) == ("qwen", 8, 12)
    assert (record.written.prompt_tokens, record.written.tokens) == (120, 48)
    assert (record.written.left_out, record.written.drawn_again) == ({}, {"refused": 4})
    assert record.written.sampling["temperature"] == 0.5
    (named,) = record.method.parameters["prompts"]
    assert named.startswith("short.md:") and str(tmp_path) not in record.model_dump_json()
    assert "write" in record.cost and "write" in record.stages
    _check_written(record)  # a record of a run may be submitted
    page = markdown_page(board_of(records), tmp_path)
    (line,) = [line for line in page.split("Texts by a writer:")[1].split("\n") if "rewrite by qwen" in line][:1]
    assert [cell.strip() for cell in line.split("|")][2:8] == ["qwen", "zoo:small", "8", "0", "120", "48"]

    plan, store = make_plan(suite), Store(tmp_path / "store")
    assert prune(plan, store, records)[0] == 1
    left = Counter(call.stage for call in plan.calls() if store.verified(call))
    assert left["write"] == 1 and left["augment"] > 0 and "train" not in left
    asked.clear()
    run_suite(suite_of(tiny, methods, seeds=[1, 2]), tmp_path, records, InThisProcess(), plain=True)
    assert asked == [], "a further seed trains on the texts that pruning kept"
    first, second = records_of(records)
    assert first.written == second.written and first.seed != second.seed
