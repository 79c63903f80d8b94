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


def seconds_of_questions(ask: Callable[[int], int], enough: int) -> tuple[float, float]:
    """Seconds that a batch of questions takes whatever its size, and the seconds of a question besides.

    A step of generation reads all weights, for one question as for a hundred, so few questions take nearly as long as a
    full batch. More and more are asked until they fill a batch or take `ENOUGH` seconds, at least twice, and the line
    through the last two times is taken.

    Args:
        ask: Asks the first questions of each task, up to that number, and returns how many these are together.
        enough: Questions of a batch.
    """
    limit = 1
    before = (0, 0.0)  # questions and seconds
    while True:
        began = clock()
        asked = ask(limit)
        seconds = clock() - began
        is_last = asked >= enough or seconds >= ENOUGH or asked == before[0]
        if is_last and limit > 1:
            break
        before = asked, seconds
        limit *= 4
    if asked == before[0]:  # there are no more
        return seconds, 0.0
    each = max(0.0, (seconds - before[1]) / (asked - before[0]))
    return max(0.0, seconds - each * asked), each


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
