"""Run stages in containers of one Docker Engine, from the host, one container for each stage.

Every container carries labels that name its run and its store. A run holds a lock in the store as long as it lives, so
that the next one can tell containers that a killed run left behind from those of a run that goes on beside it.
"""

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmark.core import signals as stop
from benchmark.core.errors import StageFailed, UserError, one_line
from benchmark.executors.containers import KEY, RUN, STAGE, STORE, Containers, arguments, default_user, end_of
from benchmark.executors.ends import End
from benchmark.executors.hub import fetch_models
from benchmark.executors.schedule import drive
from benchmark.progress.presence import is_over, running
from benchmark.store.artifacts import StageCall, Store
from benchmark.store.calls import write_call

LOOK = 0.3  # seconds between looks at a container
_PAUSE = 1.0  # seconds before a stage is tried again, doubled each time
_LINES = 60  # last lines of a log that are told


def run_in_containers(
    store: Store,
    calls: list[StageCall],
    settings: Containers,
    threads: int,
    on_progress: Callable[..., None],
    on_done: Callable[[StageCall], None],
    say: Callable[[str], None],
    on_start: Callable[[StageCall, str], None] = lambda call, where: None,
) -> None:
    """Make every artifact of `calls` (each listed once, sources first), each in a container of its own.

    Args:
        store: Its folder is what containers may write to, at the same place as here.
        calls: The stages.
        settings: How containers are set up, and how many run at once.
        threads: Threads of torch in each.
        on_progress: Told of the steps done of a stage, of how many, and where it is known of the tokens read.
        on_done: Called in this thread as each artifact becomes available.
        say: Told of what is worth a line: containers of a killed run that were removed, stages that are tried again.
        on_start: Told of every container that a stage is begun in, with its GPU.

    Raises UserError if there is no engine or image, for a user's mistake found by a stage, and if a stage needs more
    memory than its container may have; StageFailed for anything else. Containers under way are then removed.
    """
    slots = settings.slots(threads)
    with _engine() as client, running(store) as run:
        if left := _remove(client, store, lambda name: name != run and is_over(store, name)):
            say(f"removed {left} containers that a run which was killed had left behind")
        image = _image(client, settings.image)
        fetch_models(calls)
        _hand_over(store, settings.user or default_user())
        free: queue.Queue[tuple[str, ...]] = queue.Queue()
        for slot in slots:
            free.put(slot)
        told: queue.Queue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.Queue()
        over = threading.Event()

        def attempt_all(call: StageCall) -> bool:
            slot = free.get()
            try:
                one = _Stage(client, store, call, settings, image, run, slot, threads, over)
                return one.make(
                    lambda *steps: told.put((on_progress, (call, *steps))),
                    lambda line: told.put((say, (line,))),
                    lambda where: told.put((on_start, (call, where))),
                )
            finally:
                free.put(slot)

        def tell(running: Collection[StageCall], any_finished: bool) -> None:
            while not told.empty():
                what, words = told.get()
                what(*words)

        pool = ThreadPoolExecutor(len(slots), thread_name_prefix="container")
        try:
            drive(calls, len(slots), lambda call: pool.submit(attempt_all, call), on_done, tell)
        finally:
            over.set()
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


def _image(client: Any, name: str) -> str:
    """The image's id, a digest, which all containers of a run are made from. Raises UserError if it is not here."""
    import docker

    try:
        return str(client.images.get(name).id)
    except docker.errors.ImageNotFound:
        raise UserError(
            f"image {name!r}: not on this machine; make it with `docker compose build`, or pull it"
        ) from None


def _hand_over(store: Store, user: str) -> None:
    """Where root runs this, give the store to whom the containers run as, which is never root."""
    if os.getuid() == 0:
        owner, group = (int(number) for number in user.split(":"))
        for path in (store.root, *store.root.rglob("*")):
            with suppress(FileNotFoundError):  # another run's work in progress
                os.chown(path, owner, group, follow_symlinks=False)


def _remove(client: Any, store: Store, which: Callable[[str], bool]) -> int:
    """Remove the containers of the store's runs that `which` picks by name, with their volumes; returns how many."""
    import docker

    found = client.containers.list(all=True, filters={"label": f"{STORE}={store.root.absolute()}"})
    picked = {run: which(run) for run in {container.labels.get(RUN, "") for container in found}}
    removed = 0
    for container in found:
        if picked[container.labels.get(RUN, "")]:
            with suppress(docker.errors.APIError):  # it goes by itself, or is going
                container.remove(force=True, v=True)
                removed += 1
    return removed


class _Stage:
    """One stage, and the containers it takes: more than one if the first was lost through no fault of its own."""

    def __init__(
        self,
        client: Any,
        store: Store,
        call: StageCall,
        settings: Containers,
        image: str,
        run: str,
        gpus: tuple[str, ...],
        threads: int,
        over: threading.Event,
    ) -> None:
        self._client, self._store, self._call, self._settings = client, store, call, settings
        self._image, self._run, self._gpus, self._threads, self._over = image, run, gpus, threads, over

    def make(self, progress: Callable[..., None], say: Callable[[str], None], begun: Callable[[str], None]) -> bool:
        """Make the artifact. Returns True; raises UserError or StageFailed."""
        call, most = self._call, self._settings.retries + 1
        file = self._store.root / ".calls" / f"{call.stage}-{call.key}.json"
        write_call(_made(file), call)
        pause = _PAUSE
        for attempt in range(1, most + 1):
            end = self._attempt(file, attempt, progress, begun)
            if end.kind == "done" and not self._store.has(call):
                end = End("failure", "it ended well and left no artifact: is its image of another version?")
            if end.kind == "done":
                file.unlink(missing_ok=True)
                return True
            if end.kind != "infrastructure" or attempt == most:
                break
            say(f"stage {call.stage} {call.key[:8]}: {end.reason}; tried again ({attempt} of {most - 1})")
            self._over.wait(pause)
            pause *= 2
        raise self._error(end, attempt)

    def _error(self, end: End, attempts: int) -> Exception:
        what = f"stage {self._call.stage}"
        if end.kind == "mistake":
            return UserError(end.reason)
        if end.kind == "memory":
            return UserError(
                f"{what}: its container may have {self._settings.memory or 'no more memory than there is'}, which was "
                "too little; give it more (memory), or lower recipe.micro_batch, evaluation.batch_size or "
                "scoring.tokens_per_batch"
            )
        log = self._log(attempts)
        again = f", {attempts} times" if attempts > 1 else ""
        return StageFailed(f"{what} ({self._call.key}): {end.reason}{again}; its log: {log}")

    def _log(self, attempt: int) -> Path:
        return self._store.root / ".logs" / f"{self._call.stage}-{self._call.key}.{attempt}.log"

    def _attempt(self, file: Path, attempt: int, progress: Callable[..., None], begun: Callable[[str], None]) -> End:
        """One container from its start to its removal."""
        import docker
        import requests

        container = None
        given = arguments(
            self._call, file, self._store.root.absolute(), self._settings, self._gpus, self._threads, _hub_cache()
        )
        try:
            container = self._client.containers.create(
                self._image,
                name=f"benchmark-{self._run}-{self._call.stage}-{self._call.key[:8]}-{attempt}",
                labels={
                    RUN: self._run,
                    STORE: str(self._store.root.absolute()),
                    STAGE: self._call.stage,
                    KEY: self._call.key,
                },
                **given,
            )
            container.start()
            begun(f"container {container.short_id}" + (f", GPU {', '.join(self._gpus)}" if self._gpus else ""))
            return self._followed(container, attempt, progress)
        except docker.errors.APIError as error:
            if error.is_client_error() and container is None:
                return End("mistake", f"the engine does not make such a container: {error.explanation}")
            return End("infrastructure", f"the engine lost it ({error.explanation or error})")
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            return End("infrastructure", f"the engine did not answer ({one_line(error)})")
        finally:
            if container is not None:
                with suppress(docker.errors.DockerException, requests.RequestException, OSError):
                    container.remove(force=True, v=True)

    def _followed(self, container: Any, attempt: int, progress: Callable[..., None]) -> End:
        """Wait for a container's end, telling its progress on the way; keep its log."""
        began, late = time.monotonic(), None
        while True:
            container.reload()
            if container.status not in ("created", "running", "restarting"):
                break
            if self._over.is_set():
                return End("failure", "the run was stopped")
            if time.monotonic() - began > self._settings.timeout:
                late = self._settings.timeout
                container.kill()
                container.wait(timeout=30)
                container.reload()
                break
            with suppress(ValueError, KeyError, TypeError):
                last = json.loads(container.logs(stdout=True, stderr=False, tail=1))
                progress(int(last["done"]), int(last["total"]), *([int(last["tokens"])] if "tokens" in last else []))
            self._over.wait(LOOK)
        log = container.logs(stdout=False, stderr=True).decode("utf-8", "replace")
        _made(self._log(attempt)).write_text(log, encoding="utf-8")
        return end_of(container.attrs["State"], "\n".join(log.splitlines()[-_LINES:]), late)


def _made(file: Path) -> Path:
    """The file, whose folder is there now."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _hub_cache() -> Path:
    """Where Hugging Face keeps what was fetched, here."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME).absolute()
