"""The FictionalQA task: options, corpus and keys."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.corpora.fictional import FictionalQa
from benchmark.suite.plan import make_plan
from benchmark.tasks.fictional import fictional
from tests.fictional import write_sample
from tests.tiny import tiny_suite

COMMIT = "c0ffee" * 6 + "c0ff"


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return write_sample(tmp_path / "fictionalqa")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub's files with the data set, and no network; returns the cached folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "datasets--tomg-group-umd--fictionalqa"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    return write_sample(folder / "snapshots" / COMMIT)


def test_a_local_folder_gives_its_documents_and_may_not_be_published(sample: Path) -> None:
    corpus = FictionalQa(path=sample, events=4, styles=["news", "blog"], duplicates="similar").load()
    read = fictional.read_events(sample, 4, ["news", "blog"], "similar").documents
    assert [(text.id, text.text) for text in corpus.texts] == [(d["id"], d["text"]) for d in read]
    assert len(read) == 8 and not corpus.may_redistribute
    assert corpus.metadata == {
        "half": "all",
        "subset_seed": 1,
        "events": 4,
        "styles": ["blog", "news"],
        "duplicates": "similar",
        "fictional_path": str(sample),
    }
    assert set(fictional.load(**corpus.metadata)["questions"]["cluster"]) == {d["event"] for d in read}
    # A writer that reads one document of an event must not ask what is asked about another.
    (news,) = [d for d in read if d["event"] == read[0]["event"] and d["style"] == "news"]
    (blog,) = [d for d in read if d["event"] == read[0]["event"] and d["style"] == "blog"]
    assert corpus.questions[news["id"]] == corpus.questions[blog["id"]]
    assert len(corpus.questions[news["id"]]) == len(news["questions"]) + len(blog["questions"]) == 3
    assert len(corpus.facts[news["id"]].answers) == 2


def test_the_hubs_documents_are_pinned_to_their_commit_and_may_be_published(hub: Path, sample: Path) -> None:
    corpus = FictionalQa().load()
    assert len(corpus.texts) == 18 and corpus.may_redistribute
    assert corpus.metadata["fictional_revision"] == COMMIT
    local = FictionalQa(path=sample).load()
    assert (local.data_hash, local.trained_on) == (corpus.data_hash, corpus.trained_on)


def test_an_unreachable_hub_is_reported_in_one_line_that_suggests_a_path(hub: Path) -> None:
    shutil.rmtree(hub)
    with pytest.raises(UserError, match=r"^task fictional: the hub did not give 'tomg-.*; get .* as path ") as caught:
        FictionalQa().load()
    assert "\n" not in str(caught.value)


def test_styles_are_a_set_and_paths_are_in_no_key(sample: Path) -> None:
    one = FictionalQa(path=sample, revision="x", styles=["news", "blog"])
    assert one.identity() == FictionalQa(styles=["blog", "news"]).identity()
    assert one.identity() == {"events": None, "styles": ["blog", "news"], "duplicates": "exact", "subset_seed": 1}
    with pytest.raises(ValueError, match="styles\n.*a style is listed twice"):
        FictionalQa(styles=["news", "news"])
    wrong: list[dict[str, Any]] = [{"events": 1}, {"styles": []}, {"styles": ["poem"]}, {"duplicates": "none"}]
    for options in wrong:
        with pytest.raises(ValueError):
            FictionalQa.model_validate(options)


def test_a_corrected_question_repeats_no_training(sample: Path) -> None:
    before = FictionalQa(path=sample).load()
    file = sample / "joined_qa" / "train.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("When did", "In which year did"), encoding="utf-8")
    after = FictionalQa(path=sample).load()
    assert after.trained_on == before.trained_on and after.data_hash != before.data_hash


def test_a_suite_with_it_can_be_planned(tiny: Path, sample: Path) -> None:
    plan = make_plan(
        tiny_suite(tiny, tasks=[{"name": "fictional", "path": str(sample), "events": 4}], methods=["plain_matched"])
    )
    (cell,) = plan.cells
    assert {"corpus", "train", "evaluate"} <= set(cell.stages)
    params = cell.stages["evaluate"].params
    assert params["tasks"] == ["fictional", "fictional_cloze"] and str(sample) not in str(params)
