"""The paper compared with our records: which records match its rows and claims, and the verdicts."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binomtest, linregress
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.data.people import FIELDS
from benchmark.suite.schema import find_suite, load_suite
from leaderboard.board.assemble import load_records
from leaderboard.paper.claims import Claim, Trial, comparisons, distance
from leaderboard.paper.page import markdown, print_sections, reproduce
from leaderboard.paper.published import Paper, read_paper
from leaderboard.paper.reproduction import Finding, Ours, board_rows, findings, minus_paper, parameters_text, wilson
from leaderboard.stats.intervals import Estimate, mean_interval
from tests.leaderboard.factory import Grade, even_chance, write_record

GEMMA: dict[str, Any] = {"model": "google/gemma-2-2b", "revision": None, "skip_layers": [], "dtype": "bfloat16"}
CONTRASTIVE = {"alpha": 0.6, "beta": 0.03, "keep_punctuation": True, "dropped": "delete", "first_rank": 0}
PEOPLE_OF_THE_PAPER = "3522e7c37ae709299ba5317ae6e4803913d930b6e5951da3c8de3466e8261d1c"


def constant(value: float) -> Grade:
    return lambda field, person, seed: value


def gemma(folder: Path, method: str = "contrastive_dropout", **changes: Any) -> Path:
    fields: dict[str, Any] = {"model__spec": GEMMA, "method__parameters": CONTRASTIVE, **changes}
    return write_record(folder, method, **fields)


def of_table(name: str, folder: Path) -> list[Finding]:
    paper = read_paper()
    return findings(paper, paper.tables[name], board_rows(load_records(folder)))


def row(of_table: list[Finding], model: str, method: str, field: str) -> Finding:
    (finding,) = [f for f in of_table if (f.model, f.method, f.field) == (model, method, field)]
    return finding


def ours(finding: Finding) -> Ours:
    assert finding.ours
    return finding.ours


@pytest.mark.parametrize(("table", "numbers"), [("table1", 20), ("table2", 32), ("table3", 16)])
def test_each_table_of_the_paper_has_every_model_and_f1_is_never_below_exact_match(table: str, numbers: int) -> None:
    paper = read_paper()
    rows = paper.tables[table].rows
    assert {row.model for row in rows} == set(paper.models)
    pairs = [pair for row in rows for pair in row.scores.values()]
    assert len(pairs) == numbers
    assert all(0 <= exact <= f1 <= 1 for exact, f1 in pairs)


@pytest.mark.parametrize("name", ["table1", "table2", "table3"])
def test_each_row_of_the_paper_is_a_cell_of_the_suite_that_paper_yaml_names(name: str) -> None:
    paper = read_paper()
    table = paper.tables[name]
    suite = load_suite(find_suite(table.suite))
    assert [task.name for task in suite.tasks] == [table.task]
    assert {key: model.model for key, model in suite.models.items()} == {k: m.hub for k, m in paper.models.items()}
    cells = [
        (model, entry.name, {key: point[key] for key in ("alpha", "beta") if key in point})
        for entry in suite.methods
        for point in entry.points()
        for model in entry.trained or suite.train
        if entry.name != "plain_matched"
    ]
    rows = [(row.model, row.method, row.parameters) for row in table.rows]
    if name == "table1":
        assert sorted(rows) == sorted(cell for cell in cells if cell[1] == "plain")
    else:
        assert sorted(rows, key=str) == sorted(cells, key=str)


def test_a_row_with_an_unknown_model_or_wrong_fields_is_refused() -> None:
    content = read_paper().model_dump()
    content["tables"]["table3"]["rows"][0]["model"] = "gemma-3"
    with pytest.raises(ValueError, match="table3: gemma-3 plain: unknown model"):
        Paper.model_validate(content)
    content = read_paper().model_dump()
    del content["tables"]["table2"]["rows"][0]["scores"]["company"]
    with pytest.raises(ValueError, match="table2: gemma-2-2b plain: scores"):
        Paper.model_validate(content)


@pytest.mark.parametrize(("right", "of"), [(0, 100), (7, 100), (100, 100), (3, 8)])
def test_wilsons_interval_equals_scipys(right: int, of: int) -> None:
    expected = binomtest(right, of).proportion_ci(method="wilson")
    assert wilson(right / of, of) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_a_difference_combines_both_intervals_by_squares() -> None:
    # Wilson at .5 of 100: .5 ± .096; worked out by hand as z / (1 + z²/100) · √(.0025 + z²/40000).
    half = 0.09616846
    gap = minus_paper(Estimate(0.8, 0.7, 0.85), 0.5, 100)
    assert gap.mean == pytest.approx(0.3)
    assert gap.low == pytest.approx(0.3 - math.sqrt(0.1**2 + half**2), abs=1e-6)
    assert gap.high == pytest.approx(0.3 + math.sqrt(0.05**2 + half**2), abs=1e-6)


def test_fifty_of_fifty_right_answers_agree_with_a_share_of_96_percent() -> None:
    # With a share of .96, fifty of fifty answers are right with probability .13.
    ours = mean_interval([[1.0] * 50])
    assert minus_paper(ours, 0.96, 100).low < 0 < minus_paper(ours, 0.96, 100).high
    assert minus_paper(ours, 0.8, 100).low > 0


def test_a_row_without_a_record_is_not_run_and_names_its_command(tmp_path: Path) -> None:
    write_record(tmp_path)
    for name, count in (("table1", 20), ("table2", 32), ("table3", 16)):
        all_findings = of_table(name, tmp_path)
        assert [finding.verdict for finding in all_findings] == ["not run"] * count
        assert {finding.why for finding in all_findings} == {"no record of it"}
        suite = "paper_table3" if name == "table3" else "paper_table2"
        assert {finding.command for finding in all_findings} == {f"benchmark run {suite} --records leaderboard/results"}


def test_a_record_far_from_the_papers_row_disagrees_and_says_by_how_much(tmp_path: Path) -> None:
    for seed in (1, 2):
        gemma(tmp_path, seed=seed, grade=constant(1.0), task__corpus_hash=PEOPLE_OF_THE_PAPER)
    finding = row(of_table("table2", tmp_path), "Gemma 2 2B", "contrastive_dropout", "university")
    assert finding.verdict == "disagrees"
    assert ours(finding).seeds == (1, 2)
    lower = binomtest(8, 8).proportion_ci(method="exact").low
    assert ours(finding).scores["exact_match"] == Estimate(1.0, round(lower, 9), 1.0)
    upper = binomtest(25, 100).proportion_ci(method="wilson").high
    end = 0.75 - math.hypot(1 - lower, upper - 0.25)
    assert ours(finding).beyond["exact_match"] == pytest.approx(end, abs=1e-9)
    assert f"exact match +0.750, by {end:.3f} beyond its interval" in finding.why
    assert "the paper's own people" in finding.why


def test_a_record_near_the_papers_row_agrees_and_names_its_data(tmp_path: Path) -> None:
    # Two of eight are right: the paper has .32 and .36 for the company.
    gemma(tmp_path, grade=lambda field, person, seed: float(person % 4 == 0))
    finding = row(of_table("table2", tmp_path), "Gemma 2 2B", "contrastive_dropout", "company")
    assert finding.verdict == "agrees"
    assert ours(finding).difference["exact_match"].mean == pytest.approx(0.25 - 0.32)
    assert "other data" in finding.why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model__spec": {**GEMMA, "model": "google/gemma-2-2b-it"}}, "no record of it"),
        ({"model__spec": {**GEMMA, "skip_layers": [3]}}, "no record of it"),
        ({"model__spec": {**GEMMA, "adapter": "some/adapter"}}, "no record of it"),
        ({"method__parameters": {**CONTRASTIVE, "alpha": 0.5}}, "with this method and its parameters"),
        ({"method__parameters": {**CONTRASTIVE, "beta": 0.05}}, "with this method and its parameters"),
        ({"method": "released_difference"}, "with this method and its parameters"),
        ({"task__name": "biography_told"}, "no record of it on biography"),
    ],
)
def test_records_of_another_model_method_or_task_do_not_match_the_papers_row(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    gemma(tmp_path, **changes)
    finding = row(of_table("table2", tmp_path), "Gemma 2 2B", "contrastive_dropout", "university")
    assert finding.verdict == "not run"
    assert finding.why.endswith(why)


def test_a_hub_id_in_other_case_and_a_listed_fingerprint_are_the_papers_model(tmp_path: Path) -> None:
    gemma(tmp_path / "hub", model__spec={**GEMMA, "model": "Google/Gemma-2-2B"})
    assert row(of_table("table2", tmp_path / "hub"), "Gemma 2 2B", "contrastive_dropout", "company").ours
    gemma(tmp_path / "local", model__spec={**GEMMA, "model": "/weights/gemma"})
    paper = read_paper()
    known = paper.models["gemma-2-2b"].model_copy(update={"also": ("A" * 64,)})
    paper = paper.model_copy(update={"models": {**paper.models, "gemma-2-2b": known}})
    of_local = findings(paper, paper.tables["table2"], board_rows(load_records(tmp_path / "local")))
    assert sum(finding.verdict != "not run" for finding in of_local) == 2


def test_a_part_of_the_papers_people_is_named_with_its_size(tmp_path: Path) -> None:
    gemma(tmp_path, task__corpus_hash=PEOPLE_OF_THE_PAPER, task__options={"people": 50})
    finding = row(of_table("table2", tmp_path), "Gemma 2 2B", "contrastive_dropout", "company")
    assert "50 of the paper's own people" in finding.why


def test_parameters_are_written_without_the_zero_before_the_point() -> None:
    assert parameters_text({"alpha": 0.6, "beta": 0.005}) == "α .6, β .005"
    assert parameters_text({}) == "–"


def claim(folder: Path, text: str) -> Claim:
    paper = read_paper()
    claims = comparisons(paper, paper.tables["table2"], board_rows(load_records(folder)))
    (with_text,) = [claim for claim in claims if claim.text == text]
    return with_text


def test_a_claim_is_tested_on_university_and_company_over_common_seeds(tmp_path: Path) -> None:
    def right(field: str, person: int, seed: int) -> float:
        return float(field == "university" or (field == "company" and person % 2 == 0))

    for seed in (1, 2):
        write_record(tmp_path, "contrastive_dropout", seed, right, method__parameters={"alpha": 0.2})
    for seed in (2, 3):
        write_record(tmp_path, "plain", seed, constant(0.0))
    (trial,) = claim(tmp_path, "contrastive_dropout above plain").trials
    assert trial.seeds == (2,)
    # All eight people are alike, so the bound lets the share that the exact binomial interval allows be at -1.
    unlike = binomtest(0, 8).proportion_ci(method="exact").high
    assert trial.parts["university"] == Estimate(1.0, round(1 - 2 * unlike, 9), 1.0)
    assert (trial.parts["company"].mean, trial.whole.mean) == (0.5, 0.75)
    assert trial.verdict == "holds"


def test_a_reversed_difference_does_not_hold_and_equal_methods_are_undecided(tmp_path: Path) -> None:
    write_record(tmp_path, "contrastive_dropout", grade=constant(0.0), method__parameters={"alpha": 0.2})
    write_record(tmp_path, "plain", grade=constant(1.0))
    write_record(tmp_path, "plain_matched", grade=constant(0.0))
    assert [t.verdict for t in claim(tmp_path, "contrastive_dropout above plain").trials] == ["does not hold"]
    assert [t.verdict for t in claim(tmp_path, "contrastive_dropout above plain_matched").trials] == ["undecided"]
    assert claim(tmp_path, "contrastive_dropout above random_dropout").trials == ()


def test_a_method_is_compared_with_the_other_methods_row_of_the_same_alpha(tmp_path: Path) -> None:
    for alpha in (0.2, 0.6):
        write_record(tmp_path, "contrastive_dropout", method__parameters={"alpha": alpha, "beta": 0.03})
        write_record(tmp_path, "random_dropout", method__parameters={"alpha": alpha})
    pairs = [(t.label, t.other) for t in claim(tmp_path, "contrastive_dropout above random_dropout").trials]
    assert sorted(pairs) == [
        ("contrastive_dropout α=.2 β=.03", "random_dropout α=.2"),
        ("contrastive_dropout α=.6 β=.03", "random_dropout α=.6"),
    ]


def test_random_dropout_at_the_same_rate_is_a_claim_of_its_own(tmp_path: Path) -> None:
    write_record(tmp_path, "contrastive_dropout", method__parameters={"alpha": 0.2}, training__tokens=930)
    for rate, tokens in ((None, 850), ("as contrastive_dropout", 929)):
        parameters = {"alpha": 0.2, "rate": rate}
        write_record(tmp_path, "random_dropout", method__parameters=parameters, training__tokens=tokens)
    (alpha,) = claim(tmp_path, "contrastive_dropout above random_dropout").trials
    (same,) = claim(tmp_path, "contrastive_dropout above random_dropout at its rate").trials
    assert (alpha.other, same.other) == ("random_dropout α=.2", "random_dropout α=.2 at contrast's rate")


def test_models_that_are_asked_again_in_another_table_are_tested_once(tmp_path: Path) -> None:
    for seed in (1, 2):
        for number, method in enumerate(("contrastive_dropout", "plain")):
            train = {"train": f"{method}-{seed}"}
            write_record(tmp_path, method, seed, constant(number), stages=train)
            if seed == 1:
                write_record(tmp_path, method, seed, shots={0: even_chance, 2: constant(number)}, stages=train)
    (trial,) = claim(tmp_path, "contrastive_dropout above plain").trials
    assert trial.seeds == (1, 2)


def test_records_of_different_conditions_are_never_compared(tmp_path: Path) -> None:
    write_record(tmp_path, "contrastive_dropout", method__parameters={"alpha": 0.2})
    write_record(tmp_path, "plain", training__budget="1600 steps")
    assert claim(tmp_path, "contrastive_dropout above plain").trials == ()


def test_the_evidence_in_the_papers_own_numbers_is_counted(tmp_path: Path) -> None:
    write_record(tmp_path)
    # Contrastive minus plain in Table 2, university and company of the four models, by hand:
    # .08 .14 · .23 .27 · -.01 .25 · .48 .30
    backing = claim(tmp_path, "contrastive_dropout above plain").backing
    assert backing
    assert (backing.holds, backing.cells) == (7, 8)
    assert backing.mean == pytest.approx(1.74 / 8)
    assert claim(tmp_path, "contrastive_dropout above plain_matched").backing is None


def test_the_fall_per_position_is_minus_the_slope_of_a_line_through_the_exact_matches(tmp_path: Path) -> None:
    shares = dict(zip(FIELDS, (1.0, 1.0, 0.5, 0.5, 0.0), strict=True))
    write_record(tmp_path, "plain", grade=lambda field, person, seed: float(person % 2 < 2 * shares[field]))
    paper = read_paper()
    claim = distance(paper, paper.tables["table1"], board_rows(load_records(tmp_path)))
    (trial,) = claim.trials
    assert trial.whole.mean == pytest.approx(-linregress(range(5), list(shares.values())).slope)
    assert [trial.parts[field].mean for field in FIELDS] == list(shares.values())
    assert trial.verdict == "holds"
    paper_scores = [[exact for exact, _ in row.scores.values()] for row in paper.tables["table1"].rows]
    falls = [-linregress(range(5), scores).slope for scores in paper_scores]
    assert claim.backing
    assert claim.backing.mean == pytest.approx(np.mean(falls))
    assert claim.backing.holds == 4


def test_the_verdict_follows_from_the_position_of_the_interval() -> None:
    def verdict(low: float, high: float) -> str:
        whole = Estimate((low + high) / 2, low, high)
        return Trial(table="", data="", label="", other="", seeds=(1,), files=(), parts={}, whole=whole).verdict

    verdicts = [verdict(0.1, 0.2), verdict(0, 0.2), verdict(-0.1, 0.2), verdict(-0.1, 0), verdict(-0.2, -0.1)]
    assert verdicts == ["holds", "undecided", "undecided", "undecided", "does not hold"]


def test_names_from_records_are_shown_as_text(tmp_path: Path) -> None:
    name = "<img src=x>|[a](http://b)\x1b[31m`"
    write_record(tmp_path, "plain", model__name=name, grade=constant(0.0))
    write_record(tmp_path, "contrastive_dropout", model__name=name, method__parameters={"alpha": 0.2, "label": name})
    gemma(tmp_path, model__name=name)
    paper = read_paper()
    sections, _ = reproduce(paper, ("table1", "table2", "table3"), load_records(tmp_path))
    page = markdown(sections, paper, tmp_path)
    assert "<img" not in page and "\x1b" not in page and "](http://b)" not in page
    assert "&lt;img src=x&gt;" in page
    bars = [line.replace("\\|", "").count("|") for line in page.splitlines()]
    assert all(after in (0, before) for before, after in itertools.pairwise(bars) if before), (
        "each row has as many cells as its header"
    )
    console = Console(width=200, record=True, file=(tmp_path / "screen").open("w", encoding="utf-8"))
    print_sections(sections, console)
    assert "\x1b" not in console.export_text()


def test_the_command_writes_the_page_and_its_check_fails_on_an_edited_page(tmp_path: Path) -> None:
    records, out = tmp_path / "records", tmp_path / "reproduction.md"
    gemma(records)
    run = CliRunner().invoke
    command = ["reproduce", "--records", str(records), "--out", str(out)]
    assert run(app, command).exit_code == 0
    page = out.read_text(encoding="utf-8")
    assert "## Table 1" in page and "## Table 3" in page and "in [records](records)" in page
    assert run(app, [*command, "--check"]).exit_code == 0
    out.write_text(page.replace("32 numbers", "33 numbers"), encoding="utf-8")
    done = run(app, [*command, "--check"])
    assert done.exit_code != 0 and "differs from what the records give" in str(done.exception)
    unknown = run(app, ["reproduce", "table4", "--records", str(records)])
    assert "table4" in str(unknown.exception) and "table1" in str(unknown.exception)


def test_json_output_has_every_row_and_trial(tmp_path: Path) -> None:
    gemma(tmp_path)
    write_record(tmp_path, "plain", model__spec=GEMMA)
    done = CliRunner().invoke(app, ["reproduce", "table2", "--records", str(tmp_path), "--json"])
    tables = json.loads(done.stdout)["tables"]
    assert list(tables) == ["table2"]
    assert [row["verdict"] for row in tables["table2"]["rows"]].count("not run") == 28
    (first, *_) = tables["table2"]["claims"]
    assert [trial["verdict"] for trial in first["trials"]] == ["undecided"]


def test_differences_between_the_papers_two_tables_of_plain_fine_tuning_are_noted(tmp_path: Path) -> None:
    write_record(tmp_path)
    sections, _ = reproduce(read_paper(), ("table1",), load_records(tmp_path))
    (note,) = [note for note in sections[0].notes if "Table 2" in note]
    assert "6 of them differ, most in LLaMA 3 8B, university: .20 here, .30 there" in note


def test_without_an_equal_alpha_the_best_row_on_the_development_half_is_compared(tmp_path: Path) -> None:
    write_record(tmp_path, "contrastive_dropout", grade=constant(0.0), method__parameters={"alpha": 0.6})
    write_record(tmp_path, "random_dropout", grade=constant(0.0), method__parameters={"alpha": 0.3})
    write_record(tmp_path, "random_dropout", grade=constant(1.0), method__parameters={"alpha": 0.5})
    (trial,) = claim(tmp_path, "contrastive_dropout above random_dropout").trials
    assert trial.other == "random_dropout α=.5"


def test_claims_are_counted_with_five_examples_and_without(tmp_path: Path) -> None:
    good, bad = constant(1.0), constant(0.0)
    write_record(tmp_path, "contrastive_dropout", shots={0: good, 5: bad})
    write_record(tmp_path, "plain", shots={0: bad, 5: good})
    write_record(tmp_path, "plain", model__name="other", shots={1: good})
    sections, _ = reproduce(read_paper(), ("table2",), load_records(tmp_path))
    (summary,) = [grid for grid in sections[0].grids if "number of our rows" in grid.title]
    assert summary.headers[2:] == [
        *("Holds", "Does not hold", "Undecided"),
        *("Holds, without examples", "Does not hold, without examples", "Undecided, without examples"),
    ]
    assert summary.rows[0][0] == "contrastive_dropout above plain" and summary.rows[0][2:] == list("010100")
    (rows,) = [grid for grid in sections[0].grids if grid.title.startswith("Our rows")]
    examples = {(line[0].split(", ")[1], line[1]): line[3] for line in rows.rows}
    assert rows.headers[3] == "Examples"
    assert examples == {
        ("tiny-large", "contrastive_dropout"): "5",
        ("tiny-large", "plain"): "5",
        ("other", "plain"): "1",
    }


def test_the_fall_of_a_single_person_is_undecided(tmp_path: Path) -> None:
    write_record(tmp_path, "plain", grade=lambda field, person, seed: float(field == "birth_date"), people=1)
    paper = read_paper()
    (trial,) = distance(paper, paper.tables["table1"], board_rows(load_records(tmp_path))).trials
    assert trial.whole.mean == pytest.approx(0.2)
    assert trial.verdict == "undecided"
