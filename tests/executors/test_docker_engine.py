"""The Docker executor against an engine that is made up: containers are processes of this machine."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import StageFailed, UserError
from benchmark.executors import attempts
from benchmark.executors import docker as executor
from benchmark.executors.containers import KEY, RUN, STAGE, STORE, ContainerSettings
from benchmark.executors.docker import DockerExecutor
from benchmark.executors.protocol import Job
from benchmark.progress.events import Events
from benchmark.store.artifacts import StageCall, Store
from tests.tiny import Heard


class Container:
    """A process of `benchmark stage` with the part of the SDK's interface that the executor uses."""

    def __init__(self, command: list[str], options: dict[str, Any], lost: bool) -> None:
        self.labels, self.name, self.short_id = options["labels"], options["name"], options["name"][-9:]
        self._command, self._lost, self.removed = command, lost, False
        self.attrs: dict[str, Any] = {"State": {}}

    def start(self) -> None:
        command = [sys.executable, "-m", "benchmark", *self._command]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self._lost:
            self._process.kill()
        self._out, self._errors = self._process.communicate()

    def reload(self) -> None:
        code = self._process.returncode
        self.status = "exited"
        self.attrs = {"State": {"ExitCode": 128 - code if code < 0 else code}}

    def logs(self, stdout: bool, stderr: bool, tail: int | None = None) -> bytes:
        return self._out if stdout else self._errors

    def remove(self, force: bool, v: bool) -> None:
        self.removed = True


class Engine:
    """A made-up engine; the first `lost` containers are killed as they start."""

    def __init__(self, lost: int = 0) -> None:
        self.made: list[Container] = []
        self.lost, self.containers, self.images = lost, self, self

    def get(self, name: str) -> Any:
        self.id = f"sha256:{name}"
        return self

    def create(self, image: str, command: list[str], **options: Any) -> Container:
        self.made.append(Container(command, options, len(self.made) < self.lost))
        return self.made[-1]

    def list(self, all: bool, filters: dict[str, str]) -> list[Container]:  # noqa: A002
        return [container for container in self.made if not container.removed]


@pytest.fixture
def corpus() -> StageCall:
    return StageCall("corpus", 1, {"people": 3}, {}, {"entry": {"name": "biography", "people": 3}})


def run(store: Store, call: StageCall, engine: Engine, **settings: Any) -> Heard:
    """Make an artifact by the engine; returns the events."""

    @contextmanager
    def made_up() -> Iterator[Engine]:
        yield engine

    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "_engine", made_up)
        patch.setattr(executor, "_hand_over", lambda store, user: None)
        patch.setattr(attempts, "FIRST_PAUSE", 0.0)
        DockerExecutor(ContainerSettings(workers=1, **settings)).run(Job(store, [call]), Events(heard))
    return heard


def test_a_stage_runs_in_a_container_that_names_its_run_and_is_removed(tmp_path: Path, corpus: StageCall) -> None:
    store, engine = Store(tmp_path / "store"), Engine()
    heard = run(store, corpus, engine)
    assert store.verified(corpus) and heard.finished == [corpus] and heard.notes == []
    (container,) = engine.made
    assert container.removed and heard.started == [(corpus, f"container {container.short_id}")]
    assert (container.labels[STORE], container.labels[STAGE]) == (str(store.root), "corpus")
    assert container.labels[KEY] == corpus.key and f"benchmark-{container.labels[RUN]}-corpus" in container.name
    assert not list((store.root / ".calls").iterdir()) and not list((store.root / ".locks").glob("run-*"))


def test_a_lost_container_is_noted_and_its_stage_tried_again(tmp_path: Path, corpus: StageCall) -> None:
    store, engine = Store(tmp_path / "store"), Engine(lost=1)
    heard = run(store, corpus, engine)
    assert store.verified(corpus) and len(engine.made) == len(heard.started) == 2
    reason = "it was killed from outside (exit code 137)"
    assert heard.notes == [f"stage corpus {corpus.key[:8]}: {reason}; tried again (1 of 2)"]


def test_a_stage_that_is_lost_too_often_fails_and_names_its_log(tmp_path: Path, corpus: StageCall) -> None:
    store, engine = Store(tmp_path / "store"), Engine(lost=9)
    with pytest.raises(StageFailed, match=r"killed from outside \(exit code 137\), 2 times; its log: .*\.2\.log$"):
        run(store, corpus, engine, retries=1)
    assert all(container.removed for container in engine.made) and len(engine.made) == 2


def test_a_user_error_in_a_container_is_raised_in_its_own_words(tmp_path: Path) -> None:
    call = StageCall("corpus", 1, {"people": 5000}, {}, {"entry": {"name": "biography", "people": 5000}})
    with pytest.raises(UserError, match=r"^task biography: people: 5000 asked for, but the data has 100"):
        run(Store(tmp_path / "store"), call, Engine())


def test_containers_of_a_killed_run_are_removed_and_reported(tmp_path: Path, corpus: StageCall) -> None:
    store, engine = Store(tmp_path / "store"), Engine()
    left = engine.create("image", [], name="benchmark-0123456789ab-corpus", labels={RUN: "0123456789ab"})
    heard = run(store, corpus, engine)
    assert left.removed and heard.notes == ["containers of a killed run that were removed: 1"]
