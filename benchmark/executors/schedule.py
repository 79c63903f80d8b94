"""In what order stages are done: each as soon as what it reads is there, those of the first cells first.

Where they run is an executor's matter: it gives a future for each stage that it starts.
"""

import heapq
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait

from benchmark import stop
from benchmark.store import StageCall

TURN = 0.2  # seconds between looks at progress and signals


class StageFailed(Exception):
    """A stage failed for a reason that is not the user's; the message says how, with a traceback where there is one."""


def drive(
    calls: Iterable[StageCall],
    slots: int,
    submit: Callable[[StageCall], "Future[bool]"],
    on_done: Callable[[StageCall], None],
    on_turn: Callable[[Collection[StageCall], bool], None] = lambda running, any_finished: None,
    turn: float = TURN,
) -> None:
    """Have every stage done, at most `slots` of them at a time.

    Args:
        calls: Stages, each listed once and after those it reads. They are begun in this order where it is free: cell
            by cell, so that a cell is finished before the next is begun.
        slots: How many stages may be under way.
        submit: Starts a stage. Nothing is submitted ahead of a free slot.
        on_done: Called in this thread as each stage is done.
        on_turn: Called at least every `turn` seconds with the stages under way, and whether one has just ended.
        turn: Seconds.

    Raises what a stage or `on_turn` raises, and Stopped if a signal asked for it; what is under way is for the executor
    to end.
    """
    order = list(calls)
    place = {call.key: number for number, call in enumerate(order)}
    reads = {call.key: {source.key for source in call.inputs.values()} & place.keys() for call in order}
    read_by: dict[str, list[str]] = {}
    for key, sources in reads.items():
        for source in sources:
            read_by.setdefault(source, []).append(key)
    ready = [number for number, call in enumerate(order) if not reads[call.key]]  # sorted, and so a heap
    running: dict[Future[bool], StageCall] = {}
    while ready or running:
        while ready and len(running) < slots:
            call = order[heapq.heappop(ready)]
            running[submit(call)] = call
        finished, _ = wait(running, timeout=turn, return_when=FIRST_COMPLETED)
        stop.raise_if_asked()
        on_turn(running.values(), bool(finished))
        for future in sorted(finished, key=lambda future: place[running[future].key]):
            call = running.pop(future)
            future.result()
            for key in read_by.get(call.key, ()):
                reads[key].discard(call.key)
                if not reads[key]:
                    heapq.heappush(ready, place[key])
            on_done(call)
