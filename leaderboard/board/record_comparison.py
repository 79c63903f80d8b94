"""Compare two record files: how they were made, and the difference of their scores."""

from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.records.comparable import differing_facts
from benchmark.records.record import WRITTEN, read_record
from leaderboard.board.answers import BOARD_METRICS, OTHER_METRICS, Answers, read_answers, tally
from leaderboard.stats.intervals import paired_difference


def compare_records(first: Path, second: Path) -> list[str]:
    """What differs between two record files, and each metric's difference (first minus second) on the test half.

    Intervals are over subjects alone, since a record has one seed.

    Raises:
        UserError: a file is not a valid record, or the two are not comparable.
    """
    for path in (first, second):
        if not path.is_file():
            raise UserError(f"{path}: no such file; give the path of a record, <name>.json")
    records = [read_record(path) for path in (first, second)]
    lines = differing_facts(*records)
    a, b = (read_answers(path, record) for path, record in zip((first, second), records, strict=True))
    if not a.asks_the_same_as(b):
        raise UserError(f"{second}: answers other questions than {first}; run the suite again to make both anew")
    for metric in BOARD_METRICS:
        numbers = sorted(set(a.shots[a.measured(metric)].tolist()))
        lines += [_score_line(a, b, metric, shots) for shots in numbers]
    return lines


def _score_line(a: Answers, b: Answers, metric: str, shots: int) -> str:
    """The means of a metric with so many examples, and their difference."""
    counted = tally([a, b], metric, among=a.shots == shots)
    assert counted is not None  # callers ask only for measured metrics
    totals, counts = counted
    mean_a, mean_b = totals.sum(axis=1) / counts.sum()
    difference = paired_difference(totals[:1], totals[1:], counts)
    asked = f", {shots} shots" if metric in (*WRITTEN, *OTHER_METRICS) else ""
    return (
        f"{metric}{asked}: {mean_a:.3f} against {mean_b:.3f}, difference {difference.mean:+.3f} "
        f"[{difference.low:+.3f}, {difference.high:+.3f}]"
    )
