"""Run stages in containers of a Docker Engine, each stage in a container of its own, started from the host.

The labels of a container name its run and its store. A run holds a lock in the store while it lives, by which the next
run tells the containers of a killed run from those of a run that is still active.
"""

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.core import signals as stop
from benchmark.core.errors import StageFailed, UserError, one_line
from benchmark.executors.attempts import End, run_with_retries
from benchmark.executors.containers import KEY, RUN, STAGE, STORE, ContainerSettings, arguments, default_user, end_of
from benchmark.executors.hub import fetch_models
from benchmark.executors.protocol import Job
from benchmark.executors.schedule import run_in_order
from benchmark.executors.worker import memory_remedy
from benchmark.progress.events import Events, Listener, Relay
from benchmark.progress.presence import has_ended, run_lock
from benchmark.store.artifacts import StageCall, Store
from benchmark.store.calls import write_call

LOOK = 0.3  # seconds between two looks at a container
_LINES = 60  # last lines of a log that an error quotes


@dataclass(frozen=True)
class DockerExecutor:
    """Runs each stage in a container of its own.

    Attributes:
        settings: How containers are set up, and how many run at once.
    """

    settings: ContainerSettings

    def run(self, job: Job, events: Events) -> None:
        """Make every artifact of a job: see `Executor`. Needs a Docker Engine with the image."""
        if self.settings.unused_gpus(job.calls):
            events.note("gpus: not used, since the stages compute on the CPU; set `device: cuda` in the suite")
        slots = self.settings.slots(job.threads)
        store = job.store
        with _engine() as client, run_lock(store) as run:
            if left := _remove(client, store, lambda name: name != run and has_ended(store, name)):
                events.note(f"containers of a killed run that were removed: {left}")
            image = _image_id(client, self.settings.image)
            fetch_models(job.calls)
            _hand_over(store, self.settings.user or default_user())
            relay = Relay(events)
            batch = _Batch(client, job, self.settings, image, run, relay)
            free: queue.Queue[tuple[str, ...]] = queue.Queue()
            for slot in slots:
                free.put(slot)

            def run_in_slot(call: StageCall) -> bool:
                slot = free.get()
                try:
                    return _Stage(batch, call, slot).run()
                finally:
                    free.put(slot)

            def deliver(running: Collection[StageCall], any_finished: bool) -> None:
                relay.deliver()

            pool = ThreadPoolExecutor(len(slots), thread_name_prefix="container")
            try:
                run_in_order(
                    job.calls, len(slots), lambda call: pool.submit(run_in_slot, call), events.stage_finished, deliver
                )
            finally:
                batch.over.set()
                with stop.finishing():
                    _remove(client, store, lambda name: name == run)
                    pool.shutdown()


@contextmanager
def _engine() -> Iterator[Any]:
    """A client of the Docker Engine that the environment names. Raises UserError if none answers."""
    import docker

    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        reason = one_line(error)
        raise UserError(
            f"--executor docker: no Docker Engine answers ({reason}); start it, or leave the option out"
        ) from None
    with closing(client):
        yield client


def _image_id(client: Any, name: str) -> str:
    """The digest of an image, so that all containers of a run use the same one. Raises UserError if it is missing."""
    import docker

    try:
        return str(client.images.get(name).id)
    except docker.errors.ImageNotFound:
        raise UserError(
            f"image {name!r}: not on this machine; build it with `docker compose build`, or pull it"
        ) from None


def _hand_over(store: Store, user: str) -> None:
    """If root runs this command, give the store to the user that containers run as, which is never root."""
    if os.getuid() == 0:
        owner, group = (int(number) for number in user.split(":"))
        for path in (store.root, *store.root.rglob("*")):
            with suppress(FileNotFoundError):  # another run's unfinished files
                os.chown(path, owner, group, follow_symlinks=False)


def _remove(client: Any, store: Store, is_chosen: Callable[[str], bool]) -> int:
    """Remove the containers, with their volumes, of the store's runs that `is_chosen` accepts; returns their number."""
    import docker

    containers = client.containers.list(all=True, filters={"label": f"{STORE}={store.root.absolute()}"})
    runs = {container.labels.get(RUN, "") for container in containers}
    chosen = {run for run in runs if is_chosen(run)}
    removed = 0
    for container in containers:
        if container.labels.get(RUN, "") in chosen:
            with suppress(docker.errors.APIError):  # it is already gone, or being removed
                container.remove(force=True, v=True)
                removed += 1
    return removed


@dataclass(frozen=True)
class _Batch:
    """What all containers of a run share.

    Attributes:
        client: The engine's client.
        job: The stages, their store, and their threads.
        settings: Of the containers.
        image: Digest of the image.
        run: Id of the run.
        events: Receives what happens, from any thread.
        over: Set when the run ends: containers are then no longer waited for.
    """

    client: Any
    job: Job
    settings: ContainerSettings
    image: str
    run: str
    events: Listener
    over: threading.Event = field(default_factory=threading.Event)


class _Stage:
    """One stage, and the containers that it takes: several if the first is lost through no fault of its own."""

    def __init__(self, batch: _Batch, call: StageCall, gpus: tuple[str, ...]) -> None:
        self._batch, self._call, self._gpus = batch, call, gpus
        self._store = batch.job.store

    def run(self) -> bool:
        """Make the artifact. Returns True; raises UserError or StageFailed."""
        call, batch = self._call, self._batch
        file = self._store.root / ".calls" / f"{call.stage}-{call.key}.json"
        write_call(_with_folder(file), call)
        end, attempts = run_with_retries(
            lambda attempt: self._attempt(file, attempt),
            batch.settings.retries,
            batch.over,
            lambda reason: batch.events.note(f"stage {call.stage} {call.key[:8]}: {reason}"),
        )
        if end.kind == "done" and not self._store.has(call):
            end = End("failure", "it ended without an error and made no artifact; is its image of another version?")
        if end.kind != "done":
            raise self._error(end, attempts)
        file.unlink(missing_ok=True)
        return True

    def _error(self, end: End, attempts: int) -> Exception:
        what = f"stage {self._call.stage}"
        if end.kind == "mistake":
            return UserError(end.reason)
        if end.kind == "memory":
            limit = self._batch.settings.memory
            return UserError(
                f"{what}: out of memory: its container may use {limit or 'all memory of this machine'}; raise memory "
                f"in the file of --containers, {memory_remedy(self._call.stage)}"
            )
        log = self._log(attempts)
        again = f", {attempts} times" if attempts > 1 else ""
        return StageFailed(f"{what} ({self._call.key}): {end.reason}{again}; its log: {log}")

    def _log(self, attempt: int) -> Path:
        return self._store.root / ".logs" / f"{self._call.stage}-{self._call.key}.{attempt}.log"

    def _attempt(self, file: Path, attempt: int) -> End:
        """Run one container from its start to its removal."""
        import docker
        import requests

        batch, call, container = self._batch, self._call, None
        try:
            container = batch.client.containers.create(
                batch.image,
                name=f"benchmark-{batch.run}-{call.stage}-{call.key[:8]}-{attempt}",
                labels={RUN: batch.run, STORE: str(self._store.root.absolute()), STAGE: call.stage, KEY: call.key},
                **arguments(batch.job, call, file, batch.settings, self._gpus),
            )
            container.start()
            gpus = f", GPU {', '.join(self._gpus)}" if self._gpus else ""
            batch.events.stage_started(call, f"container {container.short_id}{gpus}")
            return self._followed(container, attempt)
        except docker.errors.APIError as error:
            if error.is_client_error() and container is None:
                return End(
                    "mistake",
                    f"stage {call.stage}: the engine refuses to create its container ({error.explanation}); check "
                    "image, gpus, memory and user in the file of --containers",
                )
            return End("infrastructure", f"the engine lost it ({error.explanation or error})")
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            return End("infrastructure", f"the engine did not answer ({one_line(error)})")
        finally:
            if container is not None:
                with suppress(docker.errors.DockerException, requests.RequestException, OSError):
                    container.remove(force=True, v=True)

    def _followed(self, container: Any, attempt: int) -> End:
        """Report the progress of a container until it ends, and keep its log."""
        started, timeout, late = time.monotonic(), self._batch.settings.timeout, None
        while True:
            container.reload()
            if container.status not in ("created", "running", "restarting"):
                break
            if self._batch.over.is_set():
                return End("failure", "the run was stopped")
            if time.monotonic() - started > timeout:
                late = timeout
                container.kill()
                container.wait(timeout=30)
                container.reload()
                break
            self._report_progress(container)
            self._batch.over.wait(LOOK)
        log = container.logs(stdout=False, stderr=True).decode("utf-8", "replace")
        with suppress(OSError):  # a full disk is no fault of the engine; an error quotes the log's last lines anyway
            _with_folder(self._log(attempt)).write_text(log, encoding="utf-8")
        return end_of(container.attrs["State"], "\n".join(log.splitlines()[-_LINES:]), late)

    def _report_progress(self, container: Any) -> None:
        """Report the steps in the last line that the stage printed, if it has printed any."""
        with suppress(ValueError, KeyError, TypeError):
            last = json.loads(container.logs(stdout=True, stderr=False, tail=1))
            tokens = int(last["tokens"]) if "tokens" in last else None
            self._batch.events.stage_progressed(self._call, int(last["done"]), int(last["total"]), tokens)


def _with_folder(file: Path) -> Path:
    """The file, after its folder was created."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
