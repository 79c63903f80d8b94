"""Which row and which seed of a board are adopted."""

from pathlib import Path

import pytest

from benchmark.core.errors import UserError
from benchmark.records.evidence import Evidence
from leaderboard.board.assemble import build_board, load_records
from leaderboard.board.winner import evidence_of, find_row, find_table
from tests.leaderboard.factory import even_chance, right, write_record, wrong

PEOPLE = 8  # of each half; the development half comes first


def right_on_development(field: str, person: int, seed: int) -> float:
    """Right about the development half, wrong about the test half."""
    return float(person < PEOPLE)


def right_on_test(field: str, person: int, seed: int) -> float:
    """Wrong about the development half, right about the test half."""
    return float(person >= PEOPLE)


def right_under_seed_2(field: str, person: int, seed: int) -> float:
    """Seed 2 is right about everything, the others about nothing."""
    return float(seed == 2)


def choose(folder: Path, method: str | None = None, **wanted: str) -> Evidence:
    records = load_records(folder)
    table = find_table(build_board(records), **{"model": None, "task": None, "budget": None, **wanted})
    by_path = dict(records)
    return evidence_of(table, find_row(table, by_path, method), by_path, asked=method is not None)


def test_the_development_half_decides_and_the_test_half_is_reported(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=right_on_test)
    chosen = write_record(tmp_path, "eda", grade=right_on_development)
    evidence = choose(tmp_path)
    assert (evidence.label, evidence.record) == ("eda", chosen)
    assert evidence.development == {"eda": (1.0, None), "plain_matched": (0.0, None)}
    assert (evidence.scores[0].label, evidence.scores[0].of_seed, evidence.scores[0].mean) == (
        "exact match, 0 shots",
        0.0,
        0.0,
    )
    assert evidence.choice == "of 2 methods the best on the development half (exact match 1.000)"


def test_of_several_seeds_the_best_on_the_development_half_is_taken(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_record(tmp_path, "eda", seed=seed, grade=right_under_seed_2)
    evidence = choose(tmp_path)
    assert evidence.seed == 2
    assert evidence.seeds == {1: 0.0, 2: 1.0, 3: 0.0}
    assert evidence.scores[0].of_seed == 1.0
    assert evidence.scores[0].mean == pytest.approx(1 / 3)
    assert evidence.choice.endswith("; of its 3 seeds the best there (1.000)")


def test_cloze_breaks_ties(tmp_path: Path) -> None:
    write_record(tmp_path, "a", grade=wrong, shots={0: wrong}, with_cloze=True)
    write_record(tmp_path, "b", grade=even_chance, shots={0: wrong}, with_cloze=True)
    evidence = choose(tmp_path)
    assert evidence.label == "b"
    assert not evidence.recalled
    assert "as others; cloze" in evidence.choice


def test_a_method_can_be_asked_for_by_its_name(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=wrong)
    write_record(tmp_path, "eda", grade=right)
    assert choose(tmp_path, "plain_matched").label == "plain_matched"
    with pytest.raises(UserError, match="--method edda: not in this suite; did you mean 'eda'"):
        choose(tmp_path, "edda")


def test_of_several_budgets_one_has_to_be_named(tmp_path: Path) -> None:
    write_record(tmp_path, "eda", grade=right)
    more = write_record(tmp_path, "eda", grade=right, training__budget="800 steps")
    with pytest.raises(UserError, match="several of budget; say which with --budget: 400 steps, 800 steps"):
        choose(tmp_path)
    assert choose(tmp_path, budget="800 steps").record == more
    with pytest.raises(UserError, match="--budget 900 steps: unknown; did you mean '800 steps'"):
        choose(tmp_path, budget="900 steps")
