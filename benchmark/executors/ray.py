"""Run stages as tasks of a Ray cluster.

Ray carries a stage to a node as JSON and returns how it ended as JSON. Artifacts travel through a store on a file
system that all nodes share, or through a remote folder and a store on each node. Ray's own retries are off: this
executor retries lost stages itself, so that it can report each retry.
"""

import faulthandler
import json
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.core import signals as stop
from benchmark.core.environment import usable_cores
from benchmark.core.errors import StageFailed, UserError, one_line
from benchmark.core.progress import Progress
from benchmark.executors.cluster import ClusterSettings, end_of, room
from benchmark.executors.ends import End
from benchmark.executors.protocol import Job
from benchmark.executors.schedule import drive
from benchmark.executors.worker import explained, prepare, work
from benchmark.progress.events import Events, Listener, Relay
from benchmark.store.artifacts import StageCall, Store
from benchmark.store.calls import as_dict, call_from
from benchmark.store.remote import WEIGHTS, Remote, Unreachable, make

LOOK = 0.5  # seconds between two checks whether the run is over, while a stage is waited for
NEWS = 1.0  # seconds between two requests for the progress of stages
VISIBLE = 60.0  # seconds that a network file system may take to show here what another node wrote
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds before the first retry of a stage, doubled for each further one
_OBJECTS = 80 << 20  # bytes of Ray's object store in a local cluster: Ray's minimum; stages use none of it


@dataclass(frozen=True)
class RayExecutor:
    """Runs each stage as a task of a Ray cluster.

    Attributes:
        settings: Where the cluster is, and what a stage takes of it.
        remote: The folder through which nodes exchange artifacts. Without it, all nodes see the job's store at the same
            path; with it, the job's store is this machine's own, and receives what records need.
    """

    settings: ClusterSettings
    remote: Remote | None = None

    def run(self, job: Job, events: Events) -> None:
        """Make every artifact of a job: see `Executor`. Needs a running cluster, unless its address is "local"."""
        by_key = {call.key: call for call in job.calls}
        with _swept(job.store), _connected(self.settings) as ray, _mark(job.store) as mark:
            nodes = ray.nodes()
            slots = min(self.settings.slots(job.calls, job.threads, nodes), len(job.calls))
            if not all(room(self.settings.needs(call, job.threads), nodes) for call in job.calls):
                events.note("no node of the cluster has room for every stage yet; waiting for it to grow")
            relay = Relay(events)
            tasks = _Tasks(ray, self, job, mark, relay)

            def report(running: Collection[StageCall], any_finished: bool) -> None:
                relay.deliver()
                for news in tasks.progress.news():
                    if news.node:
                        events.stage_started(by_key[news.key], f"node {news.node}")
                    if news.steps:
                        events.stage_progressed(by_key[news.key], *news.steps)

            pool = ThreadPoolExecutor(slots, thread_name_prefix="stage")
            try:
                drive(job.calls, slots, lambda call: pool.submit(tasks.make, call), events.stage_finished, report)
            finally:
                tasks.over.set()
                with stop.finishing():
                    pool.shutdown(cancel_futures=True)


@contextmanager
def _connected(settings: ClusterSettings) -> Iterator[Any]:
    """The module `ray`, connected to the cluster. Raises UserError if none answers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before the import; nothing is sent unless the user asks
    import ray

    local = settings.address == "local"
    own = {"num_cpus": usable_cores(), "include_dashboard": False, "object_store_memory": _OBJECTS} if local else {}
    handlers = {number: signal.getsignal(number) for number in stop.SIGNALS}
    try:
        try:
            ray.init(settings.address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except Exception as error:  # Ray raises many kinds when it cannot connect
            reason = one_line(error)
            raise UserError(
                f"--executor ray: no cluster answers at address {settings.address!r} ({reason}); start one with "
                "`ray start --head`, or set address: local in the file of --cluster"
            ) from None
        finally:
            for number, handler in handlers.items():  # Ray replaces the handler of SIGTERM
                signal.signal(number, handler)
        _silence_worker_logs()
        yield ray
    finally:
        with stop.finishing():
            ray.shutdown()


def _silence_worker_logs() -> None:
    """Keep Ray from printing the deaths of workers on stdout, which would spoil `--json`: they are reported here."""
    with suppress(ImportError):
        from ray._private import worker

        worker._worker_logs_enabled = False


@contextmanager
def _swept(store: Store) -> Iterator[None]:
    """Remove unfinished artifacts of cancelled stages from the store when the block ends."""
    try:
        yield
    finally:
        with stop.finishing():
            store.sweep()


@contextmanager
def _mark(store: Store) -> Iterator[str]:
    """The name of a file in the store while the run lives, by which a node checks that it sees the same store."""
    name = f"ray-{uuid.uuid4().hex[:12]}"
    with store.locked(name):
        try:
            yield name
        finally:
            with suppress(OSError):
                _mark_file(store, name).unlink()


def _mark_file(store: Store, name: str) -> Path:
    return store.root / ".locks" / name


@dataclass(frozen=True)
class _Task:
    """What a node needs to run a stage, beside the stage itself.

    Attributes:
        store: Folder of the store on the node; `~` and variables are expanded there.
        mark: Name of the run's mark in a shared store; None with a remote folder.
        remote: URL of the remote folder, if nodes share no store.
        threads: Threads that the stage computes with.
        timeout: Seconds after which the stage ends itself as hung.
        folder: The working folder, which relative paths in the suite start from.
    """

    store: str
    mark: str | None
    remote: str | None
    threads: int
    timeout: float
    folder: str


class _Tasks:
    """The stages of a run. A thread for each of them follows it through its attempts."""

    def __init__(self, ray: Any, executor: RayExecutor, job: Job, mark: str, events: Listener) -> None:
        self._ray, self._job, self._events = ray, job, events
        self._settings, self._remote = executor.settings, executor.remote
        self._task = _Task(
            store=self._settings.cache if self._remote else str(job.store.root.absolute()),
            mark=None if self._remote else mark,
            remote=self._remote.url if self._remote else None,
            threads=job.threads,
            timeout=self._settings.timeout,
            folder=str(Path.cwd()),
        )
        self.over = threading.Event()
        self.progress = _ProgressReader(ray)

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
            self._events.note(
                f"stage {call.stage} {call.key[:8]}{on}: {end.reason}; tried again ({attempt} of {most - 1})"
            )
            self.over.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise _error(call, end, attempt)

    def _attempt(self, call: StageCall) -> End:
        """Run one task, and wait until its artifact can be read here."""
        from ray.exceptions import RayError

        self.progress.forget(call)
        needs = self._settings.needs(call, self._job.threads)
        options = {"num_cpus": needs["CPU"], "num_gpus": needs.get("GPU", 0), "memory": needs.get("memory")}
        remote_function = self._ray.remote(do_stage).options(
            **options, max_retries=0, retry_exceptions=False, name=f"{call.stage}-{call.key[:8]}"
        )
        try:
            content = json.dumps({"task": asdict(self._task), "call": as_dict(call)})
            reference = remote_function.remote(content, self.progress.board)
            while not self._ray.wait([reference], timeout=LOOK)[0]:
                if self.over.is_set():
                    self._ray.cancel(reference, force=True)
                    return End("failure", "the run was stopped")
            end = End(**json.loads(self._ray.get(reference)))
        except (RayError, ConnectionError) as error:
            seconds = self.progress.seconds(call)
            hung = seconds is not None and seconds + 2 * NEWS >= self._settings.timeout
            return end_of(error, self._settings.timeout if hung else None)
        return self._received(call) if end.kind == "done" else end

    def _received(self, call: StageCall) -> End:
        """Check that the artifact can be read here; from a remote folder, fetch what records need of it."""
        store = self._job.store
        try:
            if self._remote:
                if self._remote.pull(store, call, leave=WEIGHTS):
                    return End("done")
                return End("infrastructure", f"its artifact at {self._remote.url} is incomplete")
            deadline = time.monotonic() + VISIBLE
            while not store.has(call):
                if time.monotonic() > deadline or self.over.wait(LOOK):
                    return End("failure", "it ended without an error, and its artifact cannot be seen here")
                with suppress(OSError):  # makes a network file system look again
                    os.listdir(store.path(call).parent)
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
            f"{what}: {end.reason}; run fewer stages on a node (raise memory or num_cpus in the cluster's settings) "
            "or lower recipe.micro_batch, evaluation.batch_size or scoring.tokens_per_batch"
        )
    if end.reason.startswith(what):  # a defect that the stage reported itself, with its traceback
        return StageFailed(end.reason)
    again = f", {attempts} times" if attempts > 1 else ""
    return StageFailed(f"{what} ({call.key}): {end.reason}{again}; Ray's logs on that node are in /tmp/ray")


class ProgressBoard:
    """An actor that keeps the latest progress of each stage until the run asks for it."""

    def __init__(self) -> None:
        self._latest: dict[str, tuple[str, tuple[int, ...]]] = {}

    def put(self, key: str, node: str, *steps: int) -> None:
        """Keep a stage's progress: its node, then steps done, steps in all and tokens read; no steps as it starts."""
        self._latest[key] = (node, steps)

    def take(self) -> str:
        """The progress since the last call, as JSON: key → [node, steps]."""
        latest, self._latest = self._latest, {}
        return json.dumps(latest)


class _News(NamedTuple):
    """The progress of a stage. `node` is empty except in the first news of an attempt; `steps` as for a `Progress`."""

    key: str
    node: str
    steps: list[int]


class _ProgressReader:
    """Reads the progress of stages from the actor. If the actor is lost, only progress is lost with it."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._heard: dict[str, tuple[float, str]] = {}  # stage → when and where its attempt was first heard of
        self._start()

    def _start(self) -> None:
        self._request, self._requested = None, 0.0
        self.board = self._ray.remote(num_cpus=0, max_restarts=-1)(ProgressBoard).remote()

    def news(self) -> list[_News]:
        """The progress that has arrived since the last call; never waits."""
        from ray.exceptions import ActorDiedError

        latest: dict[str, tuple[str, list[int]]] = {}
        try:
            if self._request is None and time.monotonic() - self._requested >= NEWS:
                self._request, self._requested = self.board.take.remote(), time.monotonic()
            if self._request is not None and self._ray.wait([self._request], timeout=0)[0]:
                request, self._request = self._request, None
                latest = json.loads(self._ray.get(request))
        except ActorDiedError:
            self._start()  # a new actor, for the stages that start from now on
        except Exception:  # the actor is moving to another node
            self._request = None
        news = []
        for key, (node, steps) in latest.items():
            news.append(_News(key, "" if key in self._heard else node, steps))
            self._heard.setdefault(key, (time.monotonic(), node))
        return news

    def forget(self, call: StageCall) -> None:
        """Forget the previous attempt at a stage."""
        self._heard.pop(call.key, None)

    def seconds(self, call: StageCall) -> float | None:
        """Seconds since the current attempt at a stage was first heard of; None if it was not."""
        heard = self._heard.get(call.key)
        return time.monotonic() - heard[0] if heard else None

    def node(self, call: StageCall) -> str:
        """Address of the node that the current attempt was heard of on; empty if it was not."""
        return self._heard.get(call.key, (0.0, ""))[1]


def do_stage(content: str, board: Any) -> str:
    """Make a stage's artifact on a node, in a worker of Ray's.

    Args:
        content: The task and the stage, as JSON.
        board: Handle of the `ProgressBoard` actor.

    Returns how the stage ended, as JSON: exceptions of libraries may not survive being sent.
    """
    given = json.loads(content)
    task = _Task(**given["task"])
    faulthandler.dump_traceback_later(task.timeout, exit=True, file=2)  # ends the process whatever it hangs in
    try:
        end = _run_task(task, given["call"], board)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return json.dumps(asdict(end))


def _run_task(task: _Task, content: dict[str, Any], board: Any) -> End:
    from ray.util import get_node_ip_address

    node = get_node_ip_address()
    try:
        call = call_from(json.dumps(content), f"--executor ray: node {node}")
    except UserError as error:
        return End("mistake", str(error))

    def report(*steps: int) -> None:
        with suppress(Exception):  # a stage does not stop because its progress is lost
            board.put.remote(call.key, node, *steps)

    try:
        report()
        with suppress(OSError):  # a stage that needs a relative path will name it
            os.chdir(task.folder)
        prepare(task.threads)
        _make(task, call, node, report)
    except Exception as error:
        known = error if isinstance(error, (UserError, StageFailed)) else explained(error, call)
        if isinstance(known, UserError):
            return End("mistake", str(known))
        return End("infrastructure" if isinstance(known, Unreachable) else "failure", str(known))
    return End("done")


def _make(task: _Task, call: StageCall, node: str, report: Progress) -> None:
    """Make the artifact in the shared store, or in the node's own store and then in the remote folder."""
    folder = os.path.expanduser(os.path.expandvars(task.store))
    store = Store(Path(folder))
    if task.remote:
        if "$" in folder or not store.root.is_absolute():
            raise UserError(
                f"cache: {task.store} is not an absolute path on node {node}; give one, or set its variable there"
            )
        store.root.mkdir(parents=True, exist_ok=True)
        store.sweep()  # unfinished artifacts that killed workers of other runs left on this node
        make(Remote(task.remote), store, call, lambda part: work(store.root, part, report))
        return
    if task.mark is None or not _mark_file(store, task.mark).exists():
        raise UserError(
            f"{folder}: node {node} does not see this run's store there; give --results a folder that all nodes "
            "share, or --remote a URL through which they exchange artifacts"
        )
    work(store.root, call, report)
