"""Run stages as tasks of a Ray cluster, each as soon as what it reads is there.

Ray carries a stage to a node as JSON and brings back how it ended as JSON; artifacts go through a store on a file
system that all nodes share, or through a remote place beside a store on each node. Ray tries nothing again by itself:
what is lost is tried again here, where it can be said.
"""

import faulthandler
import json
import logging
import os
import queue
import signal
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmark.core import signals as stop
from benchmark.core.environment import usable_cores
from benchmark.core.errors import StageFailed, UserError, one_line
from benchmark.core.progress import Progress
from benchmark.executors.cluster import Cluster, end_of, room
from benchmark.executors.ends import End
from benchmark.executors.schedule import drive
from benchmark.executors.worker import explained, prepare, work
from benchmark.store.artifacts import StageCall, Store
from benchmark.store.calls import as_dict, call_from
from benchmark.store.remote import WEIGHTS, Remote, Unreachable, make

LOOK = 0.5  # seconds between looks at whether the run is over, while a stage is waited for
NEWS = 1.0  # seconds between questions for progress
SEEN = 60.0  # seconds that a network file system may take to show here what was written on another node
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds before a stage is tried again, doubled each time
_OBJECTS = 80 << 20  # bytes of Ray's own object store in a local cluster: its least, and none is needed


def run_on_cluster(
    store: Store,
    calls: list[StageCall],
    settings: Cluster,
    remote: Remote | None,
    threads: int,
    on_progress: Callable[..., None],
    on_done: Callable[[StageCall], None],
    say: Callable[[str], None],
    on_start: Callable[[StageCall, str], None] = lambda call, where: None,
) -> None:
    """Make every artifact of `calls` (each listed once, sources first), each as a task of a Ray cluster.

    Args:
        store: Its folder is what all nodes share, at the same place; with `remote` it is this machine's own, and gets
            what records need.
        calls: The stages.
        settings: Where the cluster is, and what a stage takes of it.
        remote: Where artifacts go from node to node, if they share no folder.
        threads: Threads of torch in each.
        on_progress: Told of the steps done of a stage, of how many, and where it is known of the tokens read.
        on_done: Called in this thread as each artifact becomes available.
        say: Told of what is worth a line: stages that are tried again, a cluster that has yet to grow.
        on_start: Told of the node that a stage is begun on.

    Raises UserError if no cluster answers, for a user's mistake found by a stage, and if a node ran out of memory;
    StageFailed for anything else. Stages under way are then cancelled.
    """
    by_key = {call.key: call for call in calls}
    with _swept(store), _joined(settings) as ray, _mark(store) as mark:
        nodes = ray.nodes()
        slots = min(settings.slots(calls, threads, nodes), len(calls))
        if not all(room(settings.needs(call, threads), nodes) for call in calls):
            say("no node of the cluster has room for every stage yet; waiting for it to grow")
        told: queue.Queue[str] = queue.Queue()
        run = _Run(ray, store, settings, remote, threads, mark, told.put)

        def tell(running: Collection[StageCall], any_finished: bool) -> None:
            while not told.empty():
                say(told.get())
            for key, node, steps in run.progress.news():
                if node:
                    on_start(by_key[key], f"node {node}")
                if steps:
                    on_progress(by_key[key], *steps)

        pool = ThreadPoolExecutor(slots, thread_name_prefix="stage")
        try:
            drive(calls, slots, lambda call: pool.submit(run.make, call), on_done, tell)
        finally:
            run.over.set()
            with stop.finishing():
                pool.shutdown(cancel_futures=True)


@contextmanager
def _joined(settings: Cluster) -> Iterator[Any]:
    """The module `ray`, connected to the cluster. Raises UserError if none answers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before it is loaded; nothing is sent unless the user asks
    import ray

    local = settings.address == "local"
    own = {"num_cpus": usable_cores(), "include_dashboard": False, "object_store_memory": _OBJECTS} if local else {}
    handlers = {number: signal.getsignal(number) for number in stop.SIGNALS}
    try:
        try:
            ray.init(settings.address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except Exception as error:  # each way of not being there has its own kind
            reason = one_line(error)
            raise UserError(
                f"--executor ray: no cluster can be joined at address {settings.address!r} ({reason}); start one with "
                "`ray start --head`, or give address: local in the file of --cluster"
            ) from None
        finally:
            for number, handler in handlers.items():  # Ray has put one of its own in place of SIGTERM's
                signal.signal(number, handler)
        _keep_quiet()
        yield ray
    finally:
        with stop.finishing():
            ray.shutdown()


def _keep_quiet() -> None:
    """Have Ray not print on stdout that a worker died, which is said here and would spoil what machines read."""
    with suppress(ImportError):
        from ray._private import worker

        worker._worker_logs_enabled = False


@contextmanager
def _swept(store: Store) -> Iterator[None]:
    """Leave nothing half done in the store when stages were cancelled."""
    try:
        yield
    finally:
        with stop.finishing():
            store.sweep()


@contextmanager
def _mark(store: Store) -> Iterator[str]:
    """The name of a file in the store, there as long as the run, by which a node knows that the folder is shared."""
    name = f"ray-{uuid.uuid4().hex[:12]}"
    with store.locked(name):
        try:
            yield name
        finally:
            with suppress(OSError):
                _marked(store, name).unlink()


def _marked(store: Store, name: str) -> Path:
    return store.root / ".locks" / name


class _Run:
    """The stages of a run, each followed by a thread here through the attempts that it takes."""

    def __init__(
        self,
        ray: Any,
        store: Store,
        settings: Cluster,
        remote: Remote | None,
        threads: int,
        mark: str,
        say: Callable[[str], None],
    ) -> None:
        self._ray, self._store, self._settings, self._remote = ray, store, settings, remote
        self._threads, self._say = threads, say
        self._given = {
            "store": settings.cache if remote else str(store.root.absolute()),
            "mark": None if remote else mark,
            "remote": remote.url if remote else None,
            "threads": threads,
            "timeout": settings.timeout,
            "folder": str(Path.cwd()),
        }
        self.over = threading.Event()
        self.progress = _Progress(ray)

    def make(self, call: StageCall) -> bool:
        """Make the artifact. Returns True; raises UserError or StageFailed."""
        most, pause = self._settings.retries + 1, _PAUSE
        for attempt in range(1, most + 1):
            end = self._attempt(call)
            if end.kind == "done":
                return True
            if end.kind != "infrastructure" or attempt == most or self.over.is_set():
                break
            on = f" on {node}" if (node := self.progress.node(call)) else ""
            self._say(f"stage {call.stage} {call.key[:8]}{on}: {end.reason}; tried again ({attempt} of {most - 1})")
            self.over.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise _error(call, end, attempt)

    def _attempt(self, call: StageCall) -> End:
        """One task, from its start to its artifact's being here."""
        from ray.exceptions import RayError

        self.progress.forget(call)
        needs = self._settings.needs(call, self._threads)
        options = {"num_cpus": needs["CPU"], "num_gpus": needs.get("GPU", 0), "memory": needs.get("memory")}
        task = self._ray.remote(do_stage).options(
            **options, max_retries=0, retry_exceptions=False, name=f"{call.stage}-{call.key[:8]}"
        )
        try:
            end = task.remote(json.dumps({**self._given, "call": as_dict(call)}), self.progress.board)
            while not self._ray.wait([end], timeout=LOOK)[0]:
                if self.over.is_set():
                    self._ray.cancel(end, force=True)
                    return End("failure", "the run was stopped")
            told = json.loads(self._ray.get(end))
        except (RayError, ConnectionError) as error:
            seconds = self.progress.seconds(call)
            hung = seconds is not None and seconds + 2 * NEWS >= self._settings.timeout
            return end_of(error, self._settings.timeout if hung else None)
        return self._arrived(call) if told["kind"] == "done" else End(told["kind"], told["reason"])

    def _arrived(self, call: StageCall) -> End:
        """Whether the artifact that a node made can be read here; with a remote place, what records need is brought."""
        try:
            if self._remote:
                if self._remote.pull(self._store, call, leave=WEIGHTS):
                    return End("done")
                return End("infrastructure", f"its artifact is not whole at {self._remote.url}")
            until = time.monotonic() + SEEN
            while not self._store.has(call):
                if time.monotonic() > until or self.over.wait(LOOK):
                    return End("failure", "it ended well, and its artifact cannot be seen here")
                with suppress(OSError):  # which makes a network file system look again
                    os.listdir(self._store.path(call).parent)
        except UserError as error:
            return End("mistake", str(error))
        except Unreachable as error:
            return End("infrastructure", str(error))
        return End("done")


def _error(call: StageCall, end: End, attempts: int) -> Exception:
    what = f"stage {call.stage}"
    if end.kind == "mistake":
        return UserError(end.reason)
    if end.kind == "memory":
        return UserError(
            f"{what}: {end.reason}; have fewer stages on a node (memory, num_cpus), or lower recipe.micro_batch, "
            "evaluation.batch_size or scoring.tokens_per_batch"
        )
    if end.reason.startswith(what):  # a defect that the stage told itself, with its traceback
        return StageFailed(end.reason)
    again = f", {attempts} times" if attempts > 1 else ""
    return StageFailed(f"{what} ({call.key}): {end.reason}{again}; Ray's logs on that node are in /tmp/ray")


class Board:
    """An actor that holds what stages told of their progress since the driver last asked."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, tuple[int, ...]]] = {}

    def tell(self, key: str, node: str, *steps: int) -> None:
        """A stage on this node has come so far: steps done, how many, tokens read; none of them when it begins."""
        self._told[key] = (node, steps)

    def take(self) -> str:
        """What was told, as JSON, by key; it is forgotten here."""
        told, self._told = self._told, {}
        return json.dumps(told)


class _Progress:
    """What stages tell of themselves by way of the actor. Where that is lost, no more than their progress is."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._heard: dict[str, tuple[float, str]] = {}  # when a stage was first heard of in this attempt, and where
        self._start()

    def _start(self) -> None:
        self._asked, self._last = None, 0.0
        self.board = self._ray.remote(num_cpus=0, max_restarts=-1)(Board).remote()

    def news(self) -> list[tuple[str, str, list[int]]]:
        """Of stages that told of themselves: key, node if it is the first time in this attempt, steps; never waits."""
        from ray.exceptions import ActorDiedError

        told: dict[str, tuple[str, list[int]]] = {}
        try:
            if self._asked is None and time.monotonic() - self._last >= NEWS:
                self._asked, self._last = self.board.take.remote(), time.monotonic()
            if self._asked is not None and self._ray.wait([self._asked], timeout=0)[0]:
                asked, self._asked = self._asked, None
                told = json.loads(self._ray.get(asked))
        except ActorDiedError:
            self._start()  # for the stages that start from now on
        except Exception:  # the actor is on its way to another node
            self._asked = None
        found = []
        for key, (node, steps) in told.items():
            found.append((key, "" if key in self._heard else node, steps))
            self._heard.setdefault(key, (time.monotonic(), node))
        return found

    def forget(self, call: StageCall) -> None:
        """A stage is about to be begun (again)."""
        self._heard.pop(call.key, None)

    def seconds(self, call: StageCall) -> float | None:
        """How long ago the stage was first heard of in this attempt; None if it was not."""
        heard = self._heard.get(call.key)
        return time.monotonic() - heard[0] if heard else None

    def node(self, call: StageCall) -> str:
        """The address of the node that the stage was heard of on; empty if it was not."""
        return self._heard.get(call.key, (0.0, ""))[1]


def do_stage(task: str, board: Any) -> str:
    """In a worker: make a stage's artifact. Returns how that ended, as JSON: exceptions may not survive the way."""
    given = json.loads(task)
    faulthandler.dump_traceback_later(given["timeout"], exit=True, file=2)  # whatever it hangs in
    try:
        end = _done(given, board)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return json.dumps({"kind": end.kind, "reason": end.reason})


def _done(given: dict[str, Any], board: Any) -> End:
    from ray.util import get_node_ip_address

    node = get_node_ip_address()
    try:
        call = call_from(json.dumps(given["call"]), f"--executor ray: node {node}")
    except UserError as error:
        return End("mistake", str(error))

    def tell(*steps: int) -> None:
        with suppress(Exception):  # progress that nobody hears is no reason to stop
            board.tell.remote(call.key, node, *steps)

    try:
        tell()
        with suppress(OSError):  # which a path of the suite that is relative to it will name
            os.chdir(given["folder"])
        prepare(given["threads"])
        _make(given, call, node, tell)
    except Exception as error:
        told = error if isinstance(error, (UserError, StageFailed)) else explained(error, call)
        if isinstance(told, UserError):
            return End("mistake", str(told))
        return End("infrastructure" if isinstance(told, Unreachable) else "failure", str(told))
    return End("done")


def _make(given: dict[str, Any], call: StageCall, node: str, tell: Progress) -> None:
    """Make the artifact in the folder that all share, or in the node's own and then at the remote place."""
    folder = os.path.expanduser(os.path.expandvars(given["store"]))
    store = Store(Path(folder))
    if given["remote"]:
        if "$" in folder or not store.root.is_absolute():
            raise UserError(f"cache: {given['store']} names no folder on node {node}; give an absolute one, or set it")
        store.root.mkdir(parents=True, exist_ok=True)
        store.sweep()  # what was left half done on this node, when a worker of another run was killed
        make(Remote(given["remote"]), store, call, lambda part: work(store.root, part, tell))
        return
    if not _marked(store, given["mark"]).exists():
        raise UserError(
            f"{folder}: node {node} does not see this run's store there; give a folder on a file system that all nodes "
            "share with --results, or a place for artifacts with --remote"
        )
    work(store.root, call, tell)
