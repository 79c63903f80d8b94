"""What a teacher expects after each token of a text, and the file format of such targets."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError
from benchmark.core.inputs import reading, regular_file

if TYPE_CHECKING:
    import numpy as np

_REMEDY = "make the file again"
Key = tuple[str, int]  # id of a text, and number of its copy


@dataclass(frozen=True)
class Targets:
    """The likeliest next tokens after each of the n tokens of a text, by a teacher.

    Attributes:
        tokens: Token ids, int32 (n, top), the likeliest first.
        log_probs: Their log-probabilities in nats among all tokens of the vocabulary, float32 (n, top).
    """

    tokens: "np.ndarray[Any, Any]"
    log_probs: "np.ndarray[Any, Any]"

    def shares(self) -> list[float]:
        """For each token of the text, the share of the teacher's probability that its targets hold."""
        import numpy as np

        shares: list[float] = np.exp(self.log_probs, dtype="float64").sum(axis=1).tolist()
        return shares


def write_targets(path: Path, rows: Iterable[tuple[Key, Targets]]) -> None:
    """Write targets as Parquet, a row per text.

    Columns: `id`, `copy`, the number of tokens `n`, and the flat lists `token` (int32) and `log` (float32) of n × top
    entries each.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: list[list[Any]] = [[], [], [], [], []]
    for (key, copy), targets in rows:
        row = (key, copy, len(targets.tokens), targets.tokens.ravel(), targets.log_probs.ravel())
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _schema(), strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=_schema()), path, compression="zstd")


def read_targets(path: Path) -> dict[Key, Targets]:
    """Read the targets that `write_targets` wrote, by id and copy.

    Raises:
        UserError: The file is not a table of targets.
    """
    import pyarrow.parquet as pq

    file = regular_file(path, "give a file of targets")
    with reading("targets", file):
        stored = pq.ParquetFile(file)
        if not stored.schema_arrow.equals(_schema()):
            raise UserError(f"{path}: does not have the columns of targets; {_REMEDY}")
        table = stored.read().combine_chunks()
    found: dict[Key, Targets] = {}
    for row in zip(*(table[name] for name in table.column_names), strict=True):
        complete = all(value.is_valid for value in row) and not any(lists.values.null_count for lists in row[3:])
        if not complete or not row[2].as_py() or not len(row[3]) or len(row[3]) != len(row[4]):
            raise UserError(f"{path}: row {len(found) + 1}: a value is missing; {_REMEDY}")
        key, copy, count = (value.as_py() for value in row[:3])
        if len(row[3]) % count:
            raise UserError(f"{path}: row {len(found) + 1}: not as many values for each token; {_REMEDY}")
        tokens, log_probs = (lists.values.to_numpy().reshape(count, -1) for lists in row[3:])
        found[key, copy] = Targets(tokens, log_probs)
    return found


def _schema() -> Any:
    import pyarrow as pa

    lists = [("token", pa.list_(pa.int32())), ("log", pa.list_(pa.float32()))]
    return pa.schema([("id", pa.string()), ("copy", pa.int32()), ("n", pa.int32()), *lists])
