"""The records of a finished suite, or what it still lacks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.records.record import Record, read_record
from benchmark.runs.recording import files_by_name, split_by_record
from benchmark.suite.choice import in_rounds
from benchmark.suite.plan import Cell, Plan

_NAMED = 3  # missing cells that the message names


def finished(plan: Plan, records: Path, command: str) -> tuple[Plan, dict[str, Record]]:
    """The plan with the cells that a run makes, and the record of each by the cell's key.

    Args:
        plan: The suite's plan.
        records: Folder of the records.
        command: The command that makes what is missing, for the message.

    Raises:
        UserError: A record is missing, or the documents have changed since it was made.
    """
    cells, found = in_rounds(plan, lambda wanted: _records(plan, wanted, records, command))
    return replace(plan, cells=cells), found


def _records(plan: Plan, cells: list[Cell], records: Path, command: str) -> dict[str, Record]:
    good, todo = split_by_record(plan, records, cells)
    if todo:
        _check_corpus(plan, todo, records, command)
        names = ", ".join(cell.name for cell in todo[:_NAMED])
        more = f" and {len(todo) - _NAMED} more" if len(todo) > _NAMED else ""
        raise UserError(
            f"suite {plan.suite.name}: not finished: {len(todo)} of {len(cells)} records are missing in "
            f"{records / plan.suite.name} ({names}{more}); finish it with `{command}`"
        )
    return good


def _check_corpus(plan: Plan, todo: Sequence[Cell], records: Path, command: str) -> None:
    """Raise UserError if a missing cell has a record of other documents or questions."""
    files = files_by_name(records / plan.suite.name)
    for cell in todo:
        for path in files.get(cell.name[:-8], []):
            try:
                then = read_record(path).task.corpus_hash
            except (UserError, OSError):
                continue
            if then != (now := cell.corpus.data_hash):
                raise UserError(
                    f"task {cell.task.name}: its documents or questions changed since the suite ran (hash "
                    f"{then[:12]} in {path.name}, now {now[:12]}); put the old ones back, or run `{command}` again"
                )
