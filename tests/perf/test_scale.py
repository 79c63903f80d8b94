from pathlib import Path

import pytest

from perf.scale import growth, table
from perf.stub import run_stubbed


def test_growth_is_the_exponent_of_the_size() -> None:
    assert growth({"n": 10, "seconds": 2.0}, {"n": 1000, "seconds": 200.0}, "n") == pytest.approx(1)
    assert growth({"n": 8, "seconds": 1.0}, {"n": 16, "seconds": 4.0}, "n") == pytest.approx(2)
    assert growth({"n": 8, "seconds": 1.0}, {"n": 16, "seconds": 1.0}, "n") == pytest.approx(0)


def test_the_table_lists_the_sizes_of_each_step_in_order() -> None:
    rows = [
        {"cells": 100, "step": "plan", "seconds": 4.0, "bytes": 2**20},
        {"cells": 100, "step": "board", "seconds": 1.0, "bytes": 0},
        {"cells": 10, "step": "plan", "seconds": 0.4, "bytes": 2**21},
        {"cells": 10, "step": "board", "seconds": 1.0, "bytes": 0},
    ]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(rows, "cells").splitlines()[2:]]
    assert lines == [
        ["plan", "10", "0.40", "", "2"],
        ["plan", "100", "4.00", "1.00", "1"],
        ["board", "10", "1.00", "", "–"],
        ["board", "100", "1.00", "0.00", "–"],
    ]


def test_stubbed_cells_give_records_and_a_board(tmp_path: Path) -> None:
    rows = run_stubbed(10, tmp_path)
    assert [row["step"] for row in rows] == [
        "plan",
        "store and records",
        "the same run once more",
        "records read",
        "board",
    ]
    assert len([*(tmp_path / "records/scale").glob("*.json")]) == 10
    assert len([*(tmp_path / "store/evaluate").iterdir()]) == 10
