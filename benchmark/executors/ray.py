"""Run stages as tasks of a Ray cluster.

Ray carries a stage to a node as JSON and returns how it ended as JSON. Artifacts travel through a store on a file
system that all nodes share, or through a remote folder and a store on each node. Ray's own retries are off: this
executor retries lost stages itself, so that it can report each retry.
"""

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
from typing import Any

from benchmark.core import signals as stop
from benchmark.core.environment import usable_cores
from benchmark.core.errors import StageFailed, UserError, one_line
from benchmark.executors.attempts import End, run_with_retries
from benchmark.executors.cluster import ClusterSettings, end_of, room
from benchmark.executors.protocol import Job
from benchmark.executors.ray_node import Task, do_stage, mark_file
from benchmark.executors.ray_progress import NEWS, ProgressReader
from benchmark.executors.schedule import run_in_order, swept
from benchmark.executors.worker import memory_remedy
from benchmark.progress.events import Events, Listener, Relay
from benchmark.store.artifacts import StageCall, Store
from benchmark.store.calls import as_dict
from benchmark.store.remote import WEIGHTS, Remote, Unreachable

LOOK = 0.5  # seconds between two checks whether the run is over, while a stage is waited for
VISIBLE = 60.0  # seconds that a network file system may take to show here what another node wrote
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
        with swept(job.store), _connected(self.settings) as ray, _mark(job.store) as mark:
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
                run_in_order(job.calls, slots, lambda call: pool.submit(tasks.run, call), events.stage_finished, report)
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
def _mark(store: Store) -> Iterator[str]:
    """The name of a file in the store while the run lives, by which a node checks that it sees the same store."""
    name = f"ray-{uuid.uuid4().hex[:12]}"
    with store.locked(name):
        try:
            yield name
        finally:
            with suppress(OSError):
                mark_file(store, name).unlink()


class _Tasks:
    """The stages of a run. A thread for each of them follows it through its attempts."""

    def __init__(self, ray: Any, executor: RayExecutor, job: Job, mark: str, events: Listener) -> None:
        self._ray, self._job, self._events = ray, job, events
        self._settings, self._remote = executor.settings, executor.remote
        self._task = Task(
            store=self._settings.cache if self._remote else str(job.store.root.absolute()),
            mark=None if self._remote else mark,
            remote=self._remote.url if self._remote else None,
            threads=job.threads,
            timeout=self._settings.timeout,
            folder=str(Path.cwd()),
        )
        self.over = threading.Event()
        self.progress = ProgressReader(ray)

    def run(self, call: StageCall) -> bool:
        """Make the artifact. Returns True; raises UserError or StageFailed."""

        def note(reason: str) -> None:
            on = f" on {node}" if (node := self.progress.node(call)) else ""
            self._events.note(f"stage {call.stage} {call.key[:8]}{on}: {reason}")

        end, attempts = run_with_retries(lambda attempt: self._attempt(call), self._settings.retries, self.over, note)
        if end.kind != "done":
            raise _error(call, end, attempts)
        return True

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
            f"{what}: {end.reason}; run fewer stages on a node (raise memory or num_cpus in the file of --cluster), "
            f"{memory_remedy(call.stage)}"
        )
    if end.reason.startswith(what):  # a defect that the stage reported itself, with its traceback
        return StageFailed(end.reason)
    again = f", {attempts} times" if attempts > 1 else ""
    return StageFailed(f"{what} ({call.key}): {end.reason}{again}; Ray's logs on that node are in /tmp/ray")
