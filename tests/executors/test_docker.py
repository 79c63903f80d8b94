"""Stages in real containers: their limits, and the ways in which they or the run may end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import StageFailed, UserError
from benchmark.executors.containers import RUN, STORE, ContainerSettings
from benchmark.executors.docker import DockerExecutor
from benchmark.executors.protocol import Job
from benchmark.progress.events import Events
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import find_suite, load_suite
from scripts.runs import finish, records, start, write_small_suite
from tests.test_packaging import image  # noqa: F401  (a fixture: the image of this code)
from tests.tiny import Heard

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    import docker

    engine = docker.from_env()
    yield engine
    engine.close()


def calls_of(stage: str) -> list[StageCall]:
    """The smoke suite's first stage of a kind, after the stages that it reads."""
    calls = make_plan(load_suite(find_suite("smoke"))).calls()
    last = next(number for number, call in enumerate(calls) if call.stage == stage)
    needed: dict[str, StageCall] = {}

    def collect(call: StageCall) -> None:
        for source in call.inputs.values():
            collect(source)
        needed[call.key] = call

    collect(calls[last])
    return list(needed.values())


def containers_of(client: Any, store: Path, every: bool = True) -> list[Any]:
    return list(client.containers.list(all=every, filters={"label": f"{STORE}={store}"}))


class DockerRun(Heard):
    """A run in containers, and the events that it reported."""

    def __init__(self, store: Path, settings: ContainerSettings) -> None:
        super().__init__()
        self.store, self.settings = Store(store), settings

    def make(self, calls: list[StageCall]) -> None:
        DockerExecutor(self.settings).run(Job(self.store, calls), Events(self))


@pytest.fixture
def docker_run(image: str, client: Any, tmp_path: Path) -> Iterator[Callable[..., DockerRun]]:  # noqa: F811
    """Makes a run in an empty store; afterwards the engine must hold nothing of it."""
    volumes = {volume.name for volume in client.volumes.list()}
    yield lambda **settings: DockerRun(tmp_path / "store", ContainerSettings(image=image, **settings))
    assert containers_of(client, tmp_path / "store") == []
    assert {volume.name for volume in client.volumes.list()} <= volumes


def when_running(client: Any, store: Path, stage: str, act: Callable[[Any], None]) -> threading.Thread:
    """Do something to a stage's first container, once, as soon as it runs."""

    def watch() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for container in containers_of(client, store, every=False):
                if container.labels["benchmark.stage"] == stage:
                    act(container)
                    return
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_artifacts_are_whole_and_containers_have_the_limits_of_the_settings(
    docker_run: Callable[..., DockerRun], client: Any
) -> None:
    run, seen = docker_run(workers=2, memory="3g", cpus=1.5, shm_size="100m"), list[dict[str, Any]]()
    watching = when_running(client, run.store.root, "train", lambda container: seen.append(container.attrs))
    calls = calls_of("train")
    run.make(calls)
    watching.join()
    assert all(run.store.verified(call) for call in calls) and len(run.finished) == len(calls)
    assert any(call.stage == "train" and 0 < done <= total for call, done, total in run.steps)
    (attributes,) = seen
    host = attributes["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (3 << 30, 3 << 30, 1_500_000_000)
    assert (host["ShmSize"], host["NetworkMode"], host["ReadonlyRootfs"]) == (100 << 20, "none", True)
    assert host["CapDrop"] == ["ALL"] and host["SecurityOpt"] == ["no-new-privileges:true"]
    assert not attributes["Config"]["User"].startswith("0")
    assert attributes["Image"].startswith("sha256:")


def test_a_killed_container_is_tried_again(docker_run: Callable[..., DockerRun], client: Any) -> None:
    run = docker_run(workers=1)
    watching = when_running(client, run.store.root, "corpus", lambda container: container.kill())
    (corpus,) = calls_of("corpus")
    run.make([corpus])
    watching.join()
    assert run.store.verified(corpus)
    assert len({where for _, where in run.started}) == 2
    assert all(call == corpus and where.startswith("container ") for call, where in run.started)
    (note,) = run.notes
    assert note.startswith("stage corpus ") and "killed from outside (exit code 137); tried again (1 of 2)" in note


def test_a_container_that_hangs_is_killed_and_reported_after_its_retries(docker_run: Callable[..., DockerRun]) -> None:
    run = docker_run(workers=1, timeout=0.5, retries=1)
    with pytest.raises(StageFailed, match=r"still running after 0\.5 seconds, and was killed, 2 times; its log: "):
        run.make(calls_of("corpus"))
    assert len(run.notes) == 1 and run.finished == []


def test_a_container_that_needs_more_memory_is_not_tried_again(docker_run: Callable[..., DockerRun]) -> None:
    run = docker_run(workers=1, memory="200m")
    with pytest.raises(UserError, match=r"^stage score: out of memory: its container may use 200m; raise memory"):
        run.make(calls_of("score"))
    assert run.notes == []


def test_a_user_error_in_a_stage_is_raised_in_its_own_words_without_retries(
    docker_run: Callable[..., DockerRun],
) -> None:
    run = docker_run(workers=1)
    call = StageCall("corpus", 1, {"people": 5000}, {}, {"entry": {"name": "biography", "people": 5000}})
    with pytest.raises(UserError, match=r"^task biography: people: 5000 asked for, but the data has 100"):
        run.make([call])
    assert run.notes == []


def test_a_missing_image_is_one_line(docker_run: Callable[..., DockerRun], tmp_path: Path) -> None:
    run = DockerRun(tmp_path / "store", ContainerSettings(image="benchmark:nowhere"))
    with pytest.raises(UserError, match=r"^image 'benchmark:nowhere': not on this machine; build it with `docker"):
        run.make(calls_of("corpus"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_container_is_left_of_a_stopped_run_or_after_the_next_run_of_a_killed_one(
    docker_run: Callable[..., DockerRun],
    client: Any,
    image: str,  # noqa: F811
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    run = docker_run(workers=2)
    (file := tmp_path / "c.yaml").write_text(json.dumps({"image": image, "workers": 2}))
    command = [sys.executable, "-m", "benchmark", "run", "smoke", "--plain", "--executor", "docker"]
    process = subprocess.Popen(
        [*command, "--containers", str(file), "--results", str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    when_running(client, run.store.root, "train", lambda container: os.kill(process.pid, number)).join()
    _, said = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130 and said.splitlines()[-1].startswith("stopped; finished stages are kept")
        assert containers_of(client, run.store.root) == []
    else:
        assert (orphans := containers_of(client, run.store.root))
        assert len({container.labels[RUN] for container in orphans}) == 1
    run.make(calls_of("train"))
    assert run.store.verified(calls_of("train")[-1])
    if number == signal.SIGKILL:
        assert run.notes[0] == f"containers of a killed run that were removed: {len(orphans)}"


def test_containers_of_another_active_run_are_left_alone(docker_run: Callable[..., DockerRun], client: Any) -> None:
    run, beside = docker_run(workers=1), docker_run(workers=1)
    alive: list[str] = []

    def start_another(container: Any) -> None:
        beside.make(calls_of("corpus"))
        container.reload()
        alive.append(container.status)

    watching = when_running(client, run.store.root, "train", start_another)
    run.make(calls_of("train"))
    watching.join()
    assert alive == ["running"] and run.notes == beside.notes == []


def test_a_run_that_loses_a_container_and_is_killed_writes_the_records_of_a_local_run(
    docker_run: Callable[..., DockerRun],
    client: Any,
    image: str,  # noqa: F811
    tmp_path: Path,
) -> None:
    suite = write_small_suite(tmp_path)
    finish(suite, tmp_path / "local")
    (file := tmp_path / "c.yaml").write_text(json.dumps({"image": image, "workers": 2}))
    options = ("--plain", "--executor", "docker", "--containers", str(file))
    results, store = tmp_path, docker_run().store.root
    process = start(suite, results, uuid.uuid4().hex, *options)
    when_running(client, store, "train", lambda container: container.kill()).join()
    when_running(client, store, "evaluate", lambda container: os.kill(process.pid, signal.SIGKILL)).join()
    _, said = process.communicate(timeout=60)
    assert "killed from outside (exit code 137); tried again (1 of 2)" in said.decode()
    finish(suite, results, *options)
    assert records(results) == records(tmp_path / "local")
