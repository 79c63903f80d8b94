"""The order in which stages run: each as soon as its inputs are in the store, those of the first cells first.

Towards the end, the stages with the longest chain of stages after them run first, so that few slots are idle at last.
"""

import heapq
import queue
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from graphlib import TopologicalSorter

from benchmark.core import signals as stop
from benchmark.store.artifacts import StageCall, Store

TURN = 0.2  # seconds between two checks of progress and signals
TAIL = 16  # waiting stages per slot at which the end of a run begins (perf/fleet.py measures the gain)


def run_in_order(
    calls: Iterable[StageCall],
    slots: int,
    submit: Callable[[StageCall], "Future[bool]"],
    on_done: Callable[[StageCall], None],
    on_turn: Callable[[Collection[StageCall], bool], None] = lambda running, any_finished: None,
    turn: float = TURN,
) -> None:
    """Run every stage, at most `slots` at a time.

    Args:
        calls: Stages, each listed once and after those that it reads. Among the stages that are ready, the first listed
            starts first: cell by cell, so that records are written early and errors of late stages appear early. When
            at most `TAIL` stages for each of several slots are left, the stage with the longest chain of stages after
            it starts first.
        slots: Stages at once.
        submit: Starts a stage; called only when a slot is free.
        on_done: Called in this thread after each stage.
        on_turn: Called at least every `turn` seconds with the running stages, and whether one has just ended.
        turn: Seconds.

    Raises what a stage or a callback raises, and Stopped if a signal asked for it. Stages that are running then are the
    caller's to end.
    """
    order = list(calls)
    position = {call.key: number for number, call in enumerate(order)}
    reads = {call.key: {source.key for source in call.inputs.values()} & position.keys() for call in order}
    read_by: dict[str, list[str]] = {}
    for key, sources in reads.items():
        for source in sources:
            read_by.setdefault(source, []).append(key)
    chain: dict[str, int] = {}  # stages in the longest chain that starts with each stage
    for key in TopologicalSorter({call.key: read_by.get(call.key, ()) for call in order}).static_order():
        chain[key] = 1 + max((chain[reader] for reader in read_by.get(key, ())), default=0)
    late = False
    unstarted = len(order)

    def rank(number: int) -> tuple[int, int]:
        return (-chain[order[number].key] if late else 0, number)

    ready = [rank(number) for number, call in enumerate(order) if not reads[call.key]]  # sorted, and so a heap
    running: dict[Future[bool], StageCall] = {}
    # Futures arrive here when they end; asking each running one would take longer the more there are.
    ended: queue.SimpleQueue[Future[bool]] = queue.SimpleQueue()
    while ready or running:
        if not late and slots > 1 and unstarted <= TAIL * slots:
            late = True
            ready = sorted(rank(number) for _, number in ready)
        while ready and len(running) < slots:
            call = order[heapq.heappop(ready)[1]]
            unstarted -= 1
            future = submit(call)
            running[future] = call
            future.add_done_callback(ended.put)
        finished = _taken(ended, turn)
        stop.raise_if_signalled()
        on_turn(running.values(), bool(finished))
        for future in sorted(finished, key=lambda future: position[running[future].key]):
            call = running.pop(future)
            future.result()
            for key in read_by.get(call.key, ()):
                reads[key].discard(call.key)
                if not reads[key]:
                    heapq.heappush(ready, rank(position[key]))
            on_done(call)


@contextmanager
def swept(store: Store) -> Iterator[None]:
    """Remove unfinished artifacts of killed or cancelled stages when the block ends: the disk may be full."""
    try:
        yield
    finally:
        with stop.finishing():
            store.sweep()


def _taken(ended: "queue.SimpleQueue[Future[bool]]", turn: float) -> "list[Future[bool]]":
    """The futures that have ended; waits up to `turn` seconds for the first."""
    taken = []
    try:
        taken.append(ended.get(timeout=turn))
        while True:
            taken.append(ended.get_nowait())
    except queue.Empty:
        return taken
