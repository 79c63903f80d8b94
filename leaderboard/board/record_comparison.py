"""Two record files side by side: what differs between them, and the differences of their scores."""

from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.records.comparable import compare
from benchmark.records.record import METRICS, WRITTEN, read_record
from leaderboard.board.answers import read_answers, tally
from leaderboard.stats.intervals import paired_difference


def compare_files(a: Path, b: Path) -> list[str]:
    """Compare two record files: the lines of `compare`, then each metric's difference (a minus b) on the test half.

    The interval is over subjects alone, since each record has one seed. Raises UserError if a file is no valid record,
    or if the two are not comparable.
    """
    for path in (a, b):
        if not path.is_file():
            raise UserError(f"{path}: no such file; give the path of a record, <name>.json")
    first, second = read_record(a), read_record(b)
    lines = compare(first, second)

    answers = [read_answers(a, first), read_answers(b, second)]
    if not answers[0].asks_the_same_as(answers[1]):
        raise UserError(f"{b}: answers other questions than {a}; run the suite again to make both anew")
    for metric in METRICS:
        asked = answers[0].measured(metric)
        for shots in sorted(set(answers[0].shots[asked].tolist())):
            counted = tally(answers, metric, among=answers[0].shots == shots)
            assert counted is not None  # it is measured with these
            totals, counts = counted
            means = totals.sum(axis=1) / counts.sum()
            gap = paired_difference(totals[:1], totals[1:], counts)
            ways = f", {shots} shots" if metric in WRITTEN else ""
            lines.append(
                f"{metric}{ways}: {means[0]:.3f} against {means[1]:.3f}, difference {gap.mean:+.3f} "
                f"[{gap.low:+.3f}, {gap.high:+.3f}]"
            )
    return lines
