"""The part of the Ray executor that runs on a node: make the artifact of one stage, and return how it ended."""

import faulthandler
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.core.errors import StageFailed, UserError
from benchmark.core.progress import Progress
from benchmark.executors.attempts import End
from benchmark.executors.worker import explained, prepare, run_in_worker
from benchmark.store.artifacts import StageCall, Store
from benchmark.store.calls import call_from
from benchmark.store.remote import Remote, Unreachable, make_or_download


@dataclass(frozen=True)
class Task:
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


def mark_file(store: Store, name: str) -> Path:
    """The file of a run's mark in its store, by which a node checks that it sees the same store."""
    return store.root / ".locks" / name


def do_stage(content: str, board: Any) -> str:
    """Make a stage's artifact on a node, in a worker of Ray's.

    Args:
        content: The task and the stage, as JSON.
        board: Handle of the `ProgressBoard` actor.

    Returns how the stage ended, as JSON: exceptions of libraries may not survive being sent.
    """
    given = json.loads(content)
    task = Task(**given["task"])
    faulthandler.dump_traceback_later(task.timeout, exit=True, file=2)  # ends the process whatever it hangs in
    try:
        end = _run_task(task, given["call"], board)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return json.dumps(asdict(end))


def _run_task(task: Task, content: dict[str, Any], board: Any) -> End:
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


def _make(task: Task, call: StageCall, node: str, report: Progress) -> None:
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
        make_or_download(Remote(task.remote), store, call, lambda part: run_in_worker(store.root, part, report))
        return
    if task.mark is None or not mark_file(store, task.mark).exists():
        raise UserError(
            f"{folder}: node {node} does not see this run's store there; give --results a folder that all nodes "
            "share, or --remote a URL through which they exchange artifacts"
        )
    run_in_worker(store.root, call, report)
