"""How many prompts of an evaluation are read at once.

On a CPU no error says that memory ran out: the system ends the process. So there a batch has at most `CPU_TOKENS`
tokens and `CPU_LOGIT_BYTES` of logits, or a single prompt. On a GPU an error names the remedy, a lower `batch_size`.
"""

import sys
from collections.abc import Sequence
from itertools import accumulate

CPU_TOKENS = 32_768  # of prompts and answers
CPU_LOGIT_BYTES = 4 << 30


def rows_that_fit(device: str, tokens: int, logit_bytes: int) -> int:
    """How many rows a batch may have.

    Args:
        device: "cpu" or "cuda".
        tokens: Tokens of a row.
        logit_bytes: Bytes of the logits of a row.
    """
    if device != "cpu":
        return sys.maxsize
    return max(1, min(CPU_TOKENS // tokens, CPU_LOGIT_BYTES // logit_bytes))


def rows_of_choices(
    device: str, batch_size: int, longest: int, rows: Sequence[tuple[int, int]], logit_bytes: int
) -> int:
    """How many of some rows of choices are read at once: the first ones, with as many tokens as `batch_size` requests.

    Args:
        device: "cpu" or "cuda".
        batch_size: Requests of a batch.
        longest: Tokens of the longest request: a context with one of its choices.
        rows: Of each row, its tokens and those of its context. The longest row is the first one.
        logit_bytes: Bytes of the logits of a token. They are computed from the shortest context on, for all rows.
    """
    tokens = rows[0][0]
    fit = min(len(rows), max(1, batch_size * (longest - 1) // tokens))
    shortest = list(accumulate((context for _, context in rows[:fit]), min))  # context of the first 1, 2, … rows
    while fit > rows_that_fit(device, tokens, (tokens + 1 - shortest[fit - 1]) * logit_bytes):
        fit -= 1
    return fit
