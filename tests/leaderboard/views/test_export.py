"""What the export writes is read back by the programs it is for."""

import csv
import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmark import ROOT
from benchmark.cli.leaderboard import leaderboard_app
from benchmark.core.errors import UserError
from benchmark.records.record import METRICS, read_record
from leaderboard.board.assemble import build_board, load_records
from leaderboard.views.export import export, schemas
from tests.leaderboard.factory import Grade, retention, write_record, wrong

SCHEMA = ROOT / "leaderboard" / "schema"
FORMULA = "=cmd|' /C calc'!A0"
TABLES = ("records", "scores", "costs", "retention", "board", "references")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Records of two methods, one of which a spreadsheet would run, with retention and a curve."""
    folder = tmp_path / "results"
    curve = [{"steps": 100, "scores": {"biography_major": {"0": {"test": {"exact_match": 0.25}}}}}]
    write_record(folder, "untouched", seed=0, grade=wrong, training=None, pair=None)
    for seed in (1, 2):
        write_record(folder, seed=seed, retention={"words": retention(1.5)}, curve=curve)
        told = {"alpha": 0.6, "note": "ä \x1b"}
        write_record(folder, FORMULA, seed=seed, name=f"formula-{seed}", method__parameters=told)
    return folder


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def all_scores(records: Path) -> dict[tuple[str, str, str, str, str], float]:
    return {
        (record.cell, task, shots, half, metric): value
        for _, record in load_records(records)
        for task, by_shots in record.scores.items()
        for shots, halves in by_shots.items()
        for half, metrics in halves.items()
        for metric, value in metrics.items()
    }


def test_csv_holds_every_score_of_every_record(records: Path, tmp_path: Path) -> None:
    paths = export(records, tmp_path / "out", "csv")
    assert [path.name for path in paths] == [f"{name}.csv" for name in TABLES]
    rows = read_csv(tmp_path / "out" / "scores.csv")
    last = {
        (r["cell"], r["task"], r["shots"], r["half"], r["metric"]): float(r["value"]) for r in rows if r["last"] == "1"
    }
    assert last == {(c.replace("=cmd", "'=cmd"), *rest): v for (c, *rest), v in all_scores(records).items()}
    earlier = [row for row in rows if row["last"] == "0"]
    assert [(row["steps"], row["value"]) for row in earlier] == [("100", "0.25")] * 2


def test_no_cell_of_the_csv_files_is_a_formula_or_has_control_characters(records: Path, tmp_path: Path) -> None:
    for path in export(records, tmp_path / "out", "csv"):
        for row in read_csv(path):
            for cell in row.values():
                assert cell[:1] not in "=+@" or cell == ""
                assert not cell.startswith("-") or float(cell) <= 0
                assert "\x1b" not in cell
    assert f"'{FORMULA}" in {row["method"] for row in read_csv(tmp_path / "out" / "records.csv")}


def test_parquet_has_the_columns_of_csv_with_types_and_unchanged_text(records: Path, tmp_path: Path) -> None:
    export(records, tmp_path / "csv", "csv")
    export(records, tmp_path / "parquet", "parquet")
    for name in TABLES:
        table = pq.read_table(tmp_path / "parquet" / f"{name}.parquet")
        rows = read_csv(tmp_path / "csv" / f"{name}.csv")
        assert table.num_rows == len(rows) > 0
        assert table.column_names == list(rows[0])
    table = pq.read_table(tmp_path / "parquet" / "records.parquet")
    by_cell = {record.cell: record for _, record in load_records(records)}
    for row in table.to_pylist():
        record = by_cell[row["cell"]]
        assert (row["method"], row["seed"], row["loss_tokens"]) == (
            record.method.name,
            record.seed,
            record.training.loss_tokens if record.training else None,
        )
        assert json.loads(row["method_parameters"]) == record.method.parameters
        assert read_record(records / row["file"]) == record


def test_the_exported_board_has_the_rows_of_the_board(records: Path, tmp_path: Path) -> None:
    export(records, tmp_path / "out", "parquet")
    rows = pq.read_table(tmp_path / "out" / "board.parquet").to_pylist()
    board = [row for table in build_board(load_records(records)).tables for row in table.rows]
    assert [row["label"] for row in rows] == [row.label for row in board]
    for row, expected in zip(rows, board, strict=True):
        told = (row["exact_match"], row["exact_match_low"], row["exact_match_high"])
        assert told == (expected.headline.mean, expected.headline.low, expected.headline.high)
        assert json.loads(row["seeds"]) == list(expected.seeds)
        assert {records / file for file in json.loads(row["files"])} == set(expected.files)


def test_json_has_the_rows_of_parquet_and_fits_the_published_schema(records: Path, tmp_path: Path) -> None:
    (path,) = export(records, tmp_path / "json", "json")
    content = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(content, json.loads((SCHEMA / "export.schema.json").read_text(encoding="utf-8")))
    export(records, tmp_path / "parquet", "parquet")
    for name in ("scores", "costs"):
        assert content[name] == pq.read_table(tmp_path / "parquet" / f"{name}.parquet").to_pylist()
    assert content["retention"][0]["forgetting"] == 1.5
    content["scores"][0]["value"] = "high"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, json.loads((SCHEMA / "export.schema.json").read_text(encoding="utf-8")))


def test_committed_records_fit_the_published_schema_and_broken_ones_do_not() -> None:
    schema = json.loads((SCHEMA / "record.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for folder in (ROOT / "leaderboard" / "results").iterdir():
        for path in sorted(folder.glob("*.json"))[:5]:
            validator.validate(json.loads(path.read_text(encoding="utf-8")))
    content = json.loads(path.read_text(encoding="utf-8"))
    for broken in ({**content, "extra": 1}, {**content, "seed": "1"}, {**content, "points": 0}):
        assert not validator.is_valid(broken)


def test_the_published_schemas_are_current() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in SCHEMA.iterdir()} == schemas(), (
        "run benchmark leaderboard schema"
    )


def test_an_unknown_format_is_refused_with_a_suggestion(records: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'parquet'"):
        export(records, tmp_path / "out", "parqet")
    assert not (tmp_path / "out").exists()


def test_the_command_reports_the_number_of_files(records: Path, tmp_path: Path) -> None:
    words = ["export", str(tmp_path / "out"), "--format", "json", "--records", str(records)]
    result = CliRunner().invoke(leaderboard_app, words)
    assert (result.exit_code, result.output) == (0, f"{tmp_path / 'out'}: 1 files\n")


def test_the_commands_of_the_export_page_run(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    lines = re.findall(r"^benchmark leaderboard (export .*)$", text, re.M)
    (tmp_path / "leaderboard").mkdir()
    records.rename(tmp_path / "leaderboard" / "results")
    monkeypatch.chdir(tmp_path)
    for line in lines:
        assert CliRunner().invoke(leaderboard_app, line.split()).exit_code == 0
    told = set(re.findall(r"^\| `(\w+)` \|", text, re.M))
    assert told == {path.stem for path in Path("out/csv").iterdir()} == set(TABLES)


# --- lm-eval's layout


def half_right(field: str, person: int, seed: int) -> float:
    return float((person + seed) % 3 == 0)


def lm_eval_files(records: Path, out: Path) -> tuple[Path, dict[str, Any]]:
    export(records, out, "lm-eval")
    results = min(out.rglob("results_*.json"))
    return results, json.loads(results.read_text(encoding="utf-8"))


def test_lm_eval_results_are_the_means_of_the_test_half_with_standard_errors(tmp_path: Path) -> None:
    path = write_record(tmp_path / "results", grade=half_right, name="one")
    file, results = lm_eval_files(tmp_path / "results", tmp_path / "out")
    assert file == tmp_path / "out" / "tiny__one__0-shot" / "results_2025-01-01T00-00-00.000000.json"
    record = read_record(path)
    assert results["results"].keys() == record.scores.keys()
    for task, by_shots in record.scores.items():
        for metric, value in by_shots["0"]["test"].items():
            assert results["results"][task][f"{metric},none"] == pytest.approx(value, abs=1e-6)
    right = [half_right("", person, 1) for person in range(8, 16)]
    error = statistics.stdev(right) / math.sqrt(len(right))
    assert results["results"]["biography_major"]["exact_match_stderr,none"] == pytest.approx(error)


def test_lm_eval_samples_are_the_test_half_s_questions(tmp_path: Path) -> None:
    write_record(tmp_path / "results", grade=half_right, name="one")
    file, results = lm_eval_files(tmp_path / "results", tmp_path / "out")
    for task, told in results["results"].items():
        lines = file.with_name(f"samples_{task}_2025-01-01T00-00-00.000000.jsonl").read_text("utf-8").splitlines()
        samples = [json.loads(line) for line in lines]
        assert len(samples) == told["sample_len"] == results["n-samples"][task]["original"] == 8
        assert {sample["doc"]["half"] for sample in samples} == {"test"}
        for metric in samples[0]["metrics"]:
            assert sum(sample[metric] for sample in samples) / 8 == pytest.approx(told[f"{metric},none"])


def test_a_task_name_that_is_a_path_is_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path / "results")
    content = json.loads(path.read_text(encoding="utf-8"))
    scores = {**content["scores"], "../../x": {"0": {"test": {"acc": 1.0}}}}
    write_record(tmp_path / "evil", scores=scores)
    with pytest.raises(UserError, match="not a valid lm-eval task name"):
        export(tmp_path / "evil", tmp_path / "out", "lm-eval")
    assert not list((tmp_path / "out").rglob("*"))


@pytest.mark.slow
def test_the_layout_is_that_of_a_stock_run(tmp_path: Path) -> None:
    from lm_eval.utils import get_file_datetime, get_results_filenames, get_sample_results_filenames, make_table

    command = [sys.executable, "-m", "lm_eval", "--model", "dummy", "--include_path", "tasks", "--log_samples"]
    command += ["--tasks", "biography_company,biography_company_choice", "--output_path", str(tmp_path / "stock")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    write_record(tmp_path / "results", grade=half_right)
    file, ours = lm_eval_files(tmp_path / "results", tmp_path / "out")
    stock_file = min((tmp_path / "stock").rglob("results_*.json"))
    stock = json.loads(stock_file.read_text(encoding="utf-8"))
    told = set(stock) - {"pretty_env_info"} - {key for key in stock if key.startswith(("tokenizer_", "eot", "max_len"))}
    assert told - {"groups"} <= set(ours)
    for task in stock["results"]:
        assert stock["results"][task].keys() == ours["results"][task].keys()
    assert stock["n-samples"]["biography_company"].keys() == ours["n-samples"]["biography_company"].keys()
    for task in ("biography_company", "biography_company_choice"):
        theirs, mine = (
            json.loads(min(one.parent.glob(f"samples_{task}_2*")).read_text("utf-8").splitlines()[0])
            for one in (stock_file, file)
        )
        assert theirs.keys() == mine.keys()
    # lm-eval's own readers of these files
    names = [str(path) for path in file.parent.iterdir()]
    assert get_results_filenames(names) == [str(file)]
    assert len(get_sample_results_filenames(names)) == 10
    date = get_file_datetime(file.name).removesuffix(".json")
    assert {get_file_datetime(name) for name in get_sample_results_filenames(names)} == {date}
    table = make_table(ours)
    assert all(metric in table for metric in METRICS) and "biography_company" in table


def grade_by_seed(field: str, person: int, seed: int) -> float:
    return float(person % seed == 0)


@pytest.mark.parametrize("grade", [half_right, grade_by_seed])
def test_equal_records_give_equal_bytes(tmp_path: Path, grade: Grade) -> None:
    write_record(tmp_path / "results", grade=grade)
    for as_format in ("csv", "parquet", "json", "lm-eval"):
        first, second = (
            [path.read_bytes() for path in export(tmp_path / "results", tmp_path / name / as_format, as_format)]
            for name in ("a", "b")
        )
        assert first == second
