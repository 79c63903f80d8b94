"""Targets are read as they were written, and damaged files are refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmark.core.errors import UserError
from benchmark.data.targets import Targets, read_targets, write_targets


def _targets(n: int, top: int) -> Targets:
    tokens = np.arange(n * top, dtype=np.int32).reshape(n, top)
    return Targets(tokens, -np.sqrt(tokens.astype(np.float32)))


def test_targets_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = {("ä", 1): _targets(5, 3), ("ä", 2): _targets(1, 3), ("b/0", 1): _targets(4, 3)}
    write_targets(tmp_path / "targets.parquet", rows.items())
    read = read_targets(tmp_path / "targets.parquet")
    assert list(read) == list(rows)
    for key, targets in rows.items():
        assert np.array_equal(read[key].tokens, targets.tokens)
        assert np.array_equal(read[key].log_probs, targets.log_probs)
        assert (read[key].tokens.dtype, read[key].log_probs.dtype) == (np.int32, np.float32)


def test_shares_add_up_the_probabilities_of_each_token() -> None:
    log_probs = np.log(np.array([[0.5, 0.25], [0.125, 0.125]], dtype=np.float32))
    assert Targets(np.zeros((2, 2), dtype=np.int32), log_probs).shares() == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize(
    "row",
    [
        {"id": "a", "copy": 1, "n": 2, "token": [1, 2], "log": [-1.0]},
        {"id": "a", "copy": 1, "n": 0, "token": [], "log": []},
        {"id": "a", "copy": 1, "n": 2, "token": [1, 2, 3], "log": [-1.0, -1.0, -1.0]},
        {"id": "a", "copy": 1, "n": 1, "token": [None], "log": [-1.0]},
        {"id": None, "copy": 1, "n": 1, "token": [1], "log": [-1.0]},
        {"id": "a", "copy": 1, "n": 1, "token": None, "log": None},
    ],
)
def test_a_row_that_is_not_complete_is_refused_with_its_number(tmp_path: Path, row: dict[str, object]) -> None:
    file = tmp_path / "targets.parquet"
    write_targets(file, [(("x", 1), _targets(2, 2))])
    schema = pq.read_schema(file)
    good = pq.read_table(file).to_pylist()
    pq.write_table(pa.Table.from_pylist([*good, row], schema=schema), file)
    with pytest.raises(UserError, match=r"targets.parquet: row 2: "):
        read_targets(file)


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "targets.parquet"
    pq.write_table(pa.table({"id": ["a"]}), file)
    with pytest.raises(UserError, match="does not have the columns of targets"):
        read_targets(file)
