import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli.leaderboard import leaderboard_app
from benchmark.core.errors import UserError
from benchmark.records.comparable import differing_facts
from benchmark.records.record import read_record
from leaderboard.board.assemble import build_board, load_records
from leaderboard.board.record_comparison import compare_records
from tests.leaderboard.factory import write_record


def test_the_differences_of_comparable_records_are_listed(tmp_path: Path) -> None:
    a = write_record(tmp_path, seed=1, pair=None)
    b = write_record(
        tmp_path,
        "random_dropout",
        seed=2,
        pair=None,
        method__parameters={"alpha": 0.6},
        environment__packages={"torch": "3"},
    )
    assert differing_facts(read_record(a), read_record(b)) == [
        'method.name: "plain_matched" against "random_dropout"',
        "method.parameters.alpha: null against 0.6",
        "seed: 1 against 2",
        'environment.packages.torch: "2.13.0" against "3"',
    ]


def test_incomparable_records_are_refused_naming_each_field_that_differs(tmp_path: Path) -> None:
    a = write_record(tmp_path)
    b = write_record(tmp_path, training__budget="1600 steps", task__versions={"biography_company": "2.0"})
    with pytest.raises(UserError) as caught:
        differing_facts(read_record(a), read_record(b))
    assert str(caught.value) == (
        'not comparable: task.versions.biography_company: "1.0" against "2.0"; '
        'training.budget: "400 steps" against "1600 steps"; compare records that share all of this'
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"task__corpus_hash": "0" * 64}, "task.corpus_hash"),
        ({"task__pieces_hash": "0" * 64}, "task.pieces_hash"),
        ({"task__options": {"people": 10}}, "task.options.people"),
        ({"task__definition_hash": "0" * 64}, "task.definition_hash"),
        ({"task__versions": {"biography_company": "2.0"}}, "task.versions.biography_company"),
        ({"model__fingerprint": "0" * 40}, "model.fingerprint"),
        ({"model__spec": {"dtype": "bfloat16"}}, "model.dtype"),
        ({"model__spec": {"quantization": "8bit"}}, "model.quantization"),
        ({"training__budget": "20 epochs"}, "training.budget"),
        ({"training__recipe": {"learning_rate": 0.0005, "autocast": "bfloat16"}}, "training.recipe.autocast"),
        ({"evaluation": {"precision": "float32", "num_fewshot": 1}}, "evaluation.num_fewshot"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_different_data_weights_budget_or_precision_are_refused_and_make_different_tables(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    a, b = write_record(tmp_path, seed=1), write_record(tmp_path, seed=2, **changes)
    with pytest.raises(UserError, match=f"not comparable: {re.escape(field)}: [^;]*; compare records"):
        compare_records(a, b)
    tables = build_board(load_records(tmp_path)).tables
    assert [[row.files for row in table.rows] for table in tables] in ([[(a,)], [(b,)]], [[(b,)], [(a,)]])


def test_the_source_of_weights_and_the_suite_do_not_make_records_incomparable(tmp_path: Path) -> None:
    a = write_record(tmp_path, model__spec={"model": "org/name", "revision": "main"})
    b = write_record(tmp_path, seed=2, model__spec={"model": "folder", "quantization": None}, suite="other")
    assert compare_records(a, b)[0] == "seed: 1 against 2"


def test_control_characters_in_values_are_not_printed(tmp_path: Path) -> None:
    a = write_record(tmp_path)
    told = {"\x1b]0;owned\x07": "\x9b31m\u202e"}
    b = write_record(tmp_path, "random_dropout", method__parameters=told)
    result = CliRunner().invoke(leaderboard_app, ["compare", str(a), str(b)])
    assert result.exit_code == 0 and "random_dropout" in result.output
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(result.output)


def test_a_record_compared_with_itself_has_no_difference(tmp_path: Path) -> None:
    path = write_record(tmp_path)
    assert differing_facts(read_record(path), read_record(path)) == []


def test_record_files_are_also_compared_by_their_scores(tmp_path: Path) -> None:
    a = write_record(tmp_path, "random_dropout", grade=lambda field, person, seed: 1.0)
    b = write_record(tmp_path, grade=lambda field, person, seed: 0.0)
    lines = compare_records(a, b)
    assert lines[0] == 'method.name: "random_dropout" against "plain_matched"'
    # All 8 people differ alike: 1 less twice the exact binomial bound of 0 in 8, .369.
    assert "exact_match, 0 shots: 1.000 against 0.000, difference +1.000 [+0.261, +1.000]" in lines


def test_a_missing_record_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        compare_records(tmp_path / "a.json", tmp_path / "b.json")
