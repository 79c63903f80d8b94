"""How many prompts of an evaluation are read at once."""

import pytest

from benchmark.evaluation.batch_limits import CPU_LOGIT_BYTES, CPU_TOKENS, rows_of_choices, rows_that_fit

GIB = 1 << 30


@pytest.mark.parametrize(
    ("tokens", "logit_bytes", "rows"),
    [(1000, 1, 32), (3000, 1, 10), (40_000, 1, 1), (100, GIB, 4), (100, 5 * GIB, 1)],
)
def test_tokens_and_logits_limit_a_batch_on_a_cpu_alone(tokens: int, logit_bytes: int, rows: int) -> None:
    assert (CPU_TOKENS, CPU_LOGIT_BYTES) == (32_768, 4 * GIB)  # the numbers in docs/suite_file.md
    assert rows_that_fit("cpu", tokens, logit_bytes) == rows
    assert rows_that_fit("cuda", tokens, logit_bytes) > 10**9


def test_rows_of_choices_have_the_tokens_of_a_batch_of_requests() -> None:
    rows = [(50, 20)] * 100
    # 8 requests of 26 tokens, the last of which is not read, are 200 tokens: 4 rows of 50.
    assert rows_of_choices("cpu", 8, 26, rows, 1) == rows_of_choices("cuda", 8, 26, rows, 1) == 4
    assert rows_of_choices("cpu", 8, 26, rows[:3], 1) == 3
    assert rows_of_choices("cpu", 1, 26, rows, 1) == 1


def test_logits_are_counted_from_the_shortest_context_on() -> None:
    # Each row reads 1,000 tokens. After a context of 990 there are logits of 11, after one of 490 of 511.
    rows = [(1000, 990), (1000, 990), (1000, 490), (1000, 990)]
    logit_bytes = CPU_LOGIT_BYTES // 1200  # of a token: 1,200 tokens fit
    assert rows_of_choices("cuda", 4, 1001, rows, logit_bytes) == 4
    assert rows_of_choices("cpu", 4, 1001, rows, logit_bytes) == 2, "three rows would have logits of 3 × 511 tokens"
    assert rows_of_choices("cpu", 4, 1001, rows[2:], logit_bytes) == 2
    assert rows_of_choices("cpu", 4, 1001, [(1000, 10)], CPU_LOGIT_BYTES) == 1, "a single row is read whatever it takes"


def test_rows_of_thousands_of_tokens_are_read_ten_at_once() -> None:
    rows = [(3000, 2995)] * 32
    assert rows_of_choices("cuda", 32, 3001, rows, 1) == 32
    assert rows_of_choices("cpu", 32, 3001, rows, 1) == 10
