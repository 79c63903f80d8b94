"""Attempts at a stage, in a container or on a cluster: how one ended, and which are repeated."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Literal

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before the first retry, doubled for each further one


@dataclass(frozen=True)
class End:
    """How an attempt at a stage ended.

    Attributes:
        kind: "done"; "mistake": the stage found something that the user can mend; "memory": it reached its memory
            limit; "infrastructure": it was killed, hung, or lost with its machine, and is tried again; "failure": a
            defect.
        reason: In words; empty if it is done.
    """

    kind: Literal["done", "mistake", "memory", "infrastructure", "failure"]
    reason: str = ""


def run_with_retries(
    attempt: Callable[[int], End], retries: int, over: threading.Event, note: Callable[[str], None]
) -> tuple[End, int]:
    """Repeat an attempt while it is lost to the infrastructure, with growing pauses.

    Args:
        attempt: Makes an attempt, given its number from 1 on.
        retries: Most attempts after the first.
        over: Set when the run ends: nothing is repeated then.
        note: Called before each retry, with the reason for it.

    Returns:
        How the last attempt ended, and its number.
    """
    pause = FIRST_PAUSE
    for number in count(1):
        end = attempt(number)
        if end.kind != "infrastructure" or number > retries or over.is_set():
            break
        note(f"{end.reason}; tried again ({number} of {retries})")
        if over.wait(pause):
            break
        pause = min(2 * pause, LONGEST_PAUSE)
    return end, number
