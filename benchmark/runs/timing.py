"""Seconds of a training step, of a question and of a text, measured on little work."""

import time
from collections.abc import Callable, Sequence

from benchmark.data.texts import Text

CHARACTERS = 8_000  # of the texts that are timed
ENOUGH = 3.0  # seconds of questions, after which no more are asked

clock = time.perf_counter


def seconds_a_step(ends: Sequence[float]) -> float:
    """Mean seconds of the steps that end at some moments, without the first step."""
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def seconds_a_question(ask: Callable[[int], int], enough: int) -> float:
    """Mean seconds of a question; more and more are asked until they fill a batch or take `ENOUGH` seconds.

    Args:
        ask: Asks the first questions of each task, up to that number, and returns how many these are together.
        enough: Questions of a batch.
    """
    limit, asked = 1, 0
    while True:
        began = clock()
        before, asked = asked, ask(limit)
        seconds = clock() - began
        if (asked >= enough and limit > 1) or seconds >= ENOUGH or asked == before:
            return seconds / asked if asked else 0.0
        limit *= 4


def seconds_a_text(work: Callable[[Sequence[Text]], None], texts: Sequence[Text]) -> float:
    """Mean seconds of work for a text: for `few` of the texts, after the first was done once."""
    timed = few(texts)
    work(timed[:1])
    began = clock()
    work(timed)
    return (clock() - began) / len(timed)


def few(texts: Sequence[Text]) -> Sequence[Text]:
    """The first texts, up to `CHARACTERS`; at least one."""
    total, number = 0, 0
    while number < len(texts) and (not number or total + len(texts[number].text) <= CHARACTERS):
        total += len(texts[number].text)
        number += 1
    return texts[:number]
