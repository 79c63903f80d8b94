"""SEAL's ladder beside our records: what matches, what is shown, and the suite that runs it."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmark import ROOT
from benchmark.cli.app import app
from benchmark.records.record import _body_hash
from benchmark.suite.schema import find_suite, load_suite
from leaderboard.board.assemble import load_records
from leaderboard.paper.reproduction import board_rows
from leaderboard.paper.seal import Step, read_ladder, steps

SQUAD = ROOT / "leaderboard" / "results" / "every_task"


def as_seals(folder: Path, method: str, **changes: str) -> Path:
    """Copy a shipped record of SQuAD with its answers, as if it were of SEAL's model and paragraphs."""
    ladder = read_ladder()
    (source, *_) = sorted(SQUAD.glob(f"wikipedia_squad-tiny_large-{method}*seed1-*.json"))
    folder.mkdir(exist_ok=True)
    shutil.copy(source.with_suffix(".answers.parquet"), folder)
    content = json.loads(source.read_text(encoding="utf-8"))
    content["model"]["spec"]["model"] = changes.get("model", ladder.model.hub)
    content["task"]["corpus_hash"] = changes.get("corpus", next(iter(ladder.corpora)))
    content["sha256"] = _body_hash(content)
    (folder / source.name).write_text(json.dumps(content), encoding="utf-8")
    return folder / source.name


def of(folder: Path) -> dict[str, Step]:
    return {step.rung.method: step for step in steps(read_ladder(), board_rows(load_records(folder)))}


def test_the_ladder_has_the_published_numbers_and_the_suites_methods() -> None:
    ladder = read_ladder()
    alone = {rung.method: rung.alone for rung in ladder.rungs if rung.alone}
    assert alone == {"untouched": 0.327, "plain": 0.335, "self_qa": 0.373, "implications": 0.397, "rewrite": 0.494}
    suite = load_suite(find_suite(ladder.suite))
    assert {entry.name for entry in suite.methods} >= {rung.method for rung in ladder.rungs} - {"untouched"}
    assert [suite.models[name].model for name in suite.train] == [ladder.model.hub]
    assert {writer.model for writer in suite.writers.values()} == {ladder.model.hub}
    assert [task.name for task in suite.tasks] == [ladder.task]
    assert suite.references and suite.device == "cuda"


def test_seals_paragraphs_are_known_by_their_hash(shared: Path) -> None:
    from benchmark.corpora.wikipedia import WikipediaSquad

    squad = shared / "data" / "squad_v11_dev" / "squad_v11_dev.json"
    if not squad.is_file():
        pytest.skip(f"{squad} is not there")
    (task,) = load_suite(find_suite("seal_squad")).tasks
    assert isinstance(task, WikipediaSquad)
    assert task.model_copy(update={"path": squad}).load().data_hash in read_ladder().corpora


def test_without_records_every_rung_is_not_run_and_names_its_command() -> None:
    found = steps(read_ladder(), [])
    assert {step.state for step in found} == {"not run"} and len(found) == len(read_ladder().rungs)
    assert {step.command for step in found} == {"benchmark run seal_squad --records leaderboard/results"}


def test_a_record_of_seals_model_and_paragraphs_is_shown_with_its_own_mean(tmp_path: Path) -> None:
    path = as_seals(tmp_path, "contrastive_dropout")
    found = of(tmp_path)
    ours = found["contrastive_dropout"].ours
    assert ours and found["contrastive_dropout"].state == "run" and found["plain_matched"].state == "not run"
    assert (ours.data, ours.files) == ("SEAL's 200 paragraphs", (path,))
    answers = pq.read_table(path.with_suffix(".answers.parquet")).to_pylist()
    shown = [row for row in answers if row["task"] == "wikipedia_squad" and row["half"] == "test"]
    for metric in ("exact_match", "f1"):
        mean = sum(row[metric] for row in shown) / len(shown)
        assert ours.scores[metric].mean == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("changes", [{"model": "Qwen/Qwen2.5-7B-Instruct"}, {"corpus": "f" * 64}])
def test_records_of_another_model_or_other_paragraphs_are_no_rung(tmp_path: Path, changes: dict[str, str]) -> None:
    as_seals(tmp_path, "contrastive_dropout", **changes)
    assert {step.state for step in of(tmp_path).values()} == {"not run"}


def test_the_command_prints_the_ladder_and_other_models_beside_it(tmp_path: Path) -> None:
    as_seals(tmp_path, "contrastive_dropout")
    as_seals(tmp_path / "other", "plain_matched", model="some/model")
    out = tmp_path / "page.md"
    run = CliRunner().invoke
    assert run(app, ["reproduce", "seal", "--records", str(tmp_path), "--out", str(out)]).exit_code == 0
    page = out.read_text(encoding="utf-8")
    assert "## SEAL" in page and "## Table" not in page and "Verdicts" not in page
    ladder, others = page.split("### These methods with other models")
    states = {cells[2].strip(): cells[8].strip() for line in ladder.splitlines() if len(cells := line.split("|")) > 9}
    assert states["contrastive_dropout"] == "run" and states["rewrite"] == states["plain_matched"] == "not run"
    assert ".494" in next(line for line in ladder.splitlines() if "| rewrite " in line)
    assert "plain_matched" in others and "contrastive_dropout" not in others
    assert "benchmark run seal_squad" in page
    done = run(app, ["reproduce", "seal", "--records", str(tmp_path), "--json"])
    rows = json.loads(done.stdout)["tables"]["seal"]["rows"]
    assert [row["rung"]["method"] for row in rows if row["state"] == "run"] == ["contrastive_dropout"]
