"""Questions that are not direct: metrics of their own, which neither rank nor choose."""

from pathlib import Path

import numpy as np

from benchmark.records.record import read_record
from benchmark.records.scores import OTHER_QUESTIONS, Scores, best_shots, mean_exact_match, shots_of
from leaderboard.board.answers import BOARD_METRICS, OTHER_METRICS, read_answers
from leaderboard.board.record_comparison import compare_records
from leaderboard.views.columns import OTHER_HEADINGS
from tests.leaderboard.factory import only_table, right, write_record, wrong

OTHERS = {"_paraphrased": right, "_reverse": wrong, "_two_hop": right}


def test_other_questions_have_a_metric_of_their_own_and_do_not_rank(tmp_path: Path) -> None:
    write_record(tmp_path, "plain_matched", grade=right, others={"_reverse": wrong}, shots={0: right, 5: right})
    write_record(tmp_path, "rewrite", grade=wrong, others={"_reverse": right}, shots={0: wrong, 5: wrong})
    table = only_table(tmp_path)
    assert [(row.method, row.headline.mean, row.scores["reverse"].mean) for row in table.rows] == [
        ("plain_matched", 1.0, 0.0),
        ("rewrite", 0.0, 1.0),
    ]
    assert table.fields == ("birth_date", "birth_city", "university", "major", "company")
    assert (table.questions, table.subjects) == (8 * 5, 8)
    assert table.rows[1].also["reverse"].interval.mean == 1.0
    assert table.rows[1].also["exact_match, 5 shots"].interval.mean == -1.0
    assert table.rows[1].scores["f1"].mean == 0.0
    assert not {"paraphrased", "two_hop", "first_born", "one_hop"} & set(table.rows[0].scores)


def test_of_other_questions_only_those_with_the_number_of_examples_are_kept(tmp_path: Path) -> None:
    path = write_record(tmp_path, shots={0: wrong, 5: right}, others=OTHERS)
    answers = read_answers(path, read_record(path))
    at_five = answers.with_shots(5)
    assert set(at_five.shots[~at_five.measured("acc")].tolist()) == {5}
    assert len(answers.task) == 8 * 5 * (2 * 4 + 1) and len(at_five.task) == 8 * 5 * (4 + 1)
    of_reverse = at_five.values[:, at_five.measured("reverse")]
    assert [metric for metric, row in zip(BOARD_METRICS, of_reverse, strict=True) if not np.isnan(row).any()] == [
        "reverse"
    ]


def test_who_was_born_first_is_apart_from_the_other_questions_in_two_steps(tmp_path: Path) -> None:
    write_record(tmp_path, others={"_two_hop": wrong, "_first_born_two_hop": right, "_one_hop": right})
    scores = only_table(tmp_path).rows[0].scores
    assert (scores["two_hop"].mean, scores["first_born"].mean, scores["one_hop"].mean) == (0.0, 1.0, 1.0)


def test_every_metric_of_other_questions_is_on_the_board() -> None:
    assert set(OTHER_METRICS) == set(OTHER_QUESTIONS.values()) == set(OTHER_HEADINGS)


def test_the_headline_counts_direct_questions_alone(tmp_path: Path) -> None:
    path = write_record(tmp_path, shots={0: wrong, 1: right}, others={"_paraphrased": wrong, "_one_hop": wrong})
    scores = read_record(path).scores
    assert mean_exact_match(scores, "development", 1) == 1.0
    assert best_shots([scores], "development") == (1, 1.0)
    asked_at_two = {**scores, "biography_company_reverse": {"2": scores["biography_company"]["1"]}}
    assert shots_of(asked_at_two) == [0, 1]


def test_two_records_are_compared_in_other_questions(tmp_path: Path) -> None:
    paths = [write_record(tmp_path, seed=seed, others={"_reverse": right}) for seed in (1, 2)]
    assert any(line.startswith("reverse, 0 shots: 1.000 against 1.000") for line in compare_records(*paths))


def test_equal_shares_that_add_up_in_another_order_are_a_tie() -> None:
    shares = {0: (0.3, 0.2, 0.1), 1: (0.1, 0.2, 0.3)}
    assert sum(shares[1]) > sum(shares[0]), "by rounding alone"
    scores: Scores = {
        f"biography_{field}": {
            str(number): {"development": {"exact_match": values[place]}} for number, values in shares.items()
        }
        for place, field in enumerate(("major", "company", "university"))
    }
    assert best_shots([scores], "development") == (0, 0.2)
