"""In what order stages are done: each as soon as what it reads is there, those of the first cells first.

Towards the end, those go first that most has to follow, so that the last slots to be busy are not busy for long.

Where they run is an executor's matter: it gives a future for each stage that it starts.
"""

import heapq
import queue
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from graphlib import TopologicalSorter

from benchmark.core import signals as stop
from benchmark.store.artifacts import StageCall

TURN = 0.2  # seconds between looks at progress and signals
TAIL = 16  # the end is near when so many stages per slot, or fewer, are not begun (perf/fleet.py says what it gains)


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
            by cell, so that what is wrong with late stages is known early, and records are there early. When no more
            than `TAIL` for each of several slots are left, those go first that the longest chain has to follow.
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
    follow: dict[str, int] = {}  # stages in the longest chain that each one begins
    for key in TopologicalSorter({call.key: read_by.get(call.key, ()) for call in order}).static_order():
        follow[key] = 1 + max((follow[reader] for reader in read_by.get(key, ())), default=0)
    late = False
    waiting = len(order)

    def rank(number: int) -> tuple[int, int]:
        return (-follow[order[number].key] if late else 0, number)

    ready = [rank(number) for number, call in enumerate(order) if not reads[call.key]]  # sorted, and so a heap
    running: dict[Future[bool], StageCall] = {}
    # Futures come here as they end: to ask all that run would take longer the more of them there are.
    ended: queue.SimpleQueue[Future[bool]] = queue.SimpleQueue()
    while ready or running:
        if not late and slots > 1 and waiting <= TAIL * slots:
            late = True
            ready = sorted(rank(number) for _, number in ready)
        while ready and len(running) < slots:
            call = order[heapq.heappop(ready)[1]]
            waiting -= 1
            future = submit(call)
            running[future] = call
            future.add_done_callback(ended.put)
        finished = _taken(ended, turn)
        stop.raise_if_signalled()
        on_turn(running.values(), bool(finished))
        for future in sorted(finished, key=lambda future: place[running[future].key]):
            call = running.pop(future)
            future.result()
            for key in read_by.get(call.key, ()):
                reads[key].discard(call.key)
                if not reads[key]:
                    heapq.heappush(ready, rank(place[key]))
            on_done(call)


def _taken(ended: "queue.SimpleQueue[Future[bool]]", turn: float) -> "list[Future[bool]]":
    """All that have ended; waits up to `turn` seconds for the first."""
    taken = []
    try:
        taken.append(ended.get(timeout=turn))
        while True:
            taken.append(ended.get_nowait())
    except queue.Empty:
        return taken
