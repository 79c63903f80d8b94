"""Stages in real containers: their limits, and every way they or the run may end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import StageFailed, UserError
from benchmark.executors.containers import RUN, STORE, Containers
from benchmark.executors.docker import run_in_containers
from benchmark.store.artifacts import StageCall, Store
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import find_suite, load_suite
from tests.test_packaging import image  # noqa: F401  (a fixture: the image of this code)

pytestmark = pytest.mark.docker
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    import docker

    found = docker.from_env()
    yield found
    found.close()


def calls_of(stage: str) -> list[StageCall]:
    """The smoke suite's first stage of a kind, and what it reads."""
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


class Told:
    """What a run tells, and a run."""

    def __init__(self, store: Path, settings: Containers) -> None:
        self.store, self.settings = Store(store), settings
        self.notes: list[str] = []
        self.done: list[str] = []
        self.steps: list[tuple[str, int, int]] = []
        self.begun: list[tuple[str, str]] = []

    def run(self, calls: list[StageCall]) -> None:
        run_in_containers(
            self.store,
            calls,
            self.settings,
            1,
            lambda call, done, total, *_: self.steps.append((call.stage, done, total)),
            lambda call: self.done.append(call.stage),
            self.notes.append,
            lambda call, where: self.begun.append((call.stage, where)),
        )


@pytest.fixture
def told(image: str, client: Any, tmp_path: Path) -> Iterator[Callable[..., Told]]:  # noqa: F811
    """Makes a run in an empty store; at the end nothing of it may be left in the engine."""
    volumes = {volume.name for volume in client.volumes.list()}
    yield lambda **settings: Told(tmp_path / "store", Containers(image=image, **settings))
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


def test_artifacts_are_whole_and_the_limits_are_those_asked_for(told: Callable[..., Told], client: Any) -> None:
    run, seen = told(workers=2, memory="3g", cpus=1.5, shm_size="100m"), list[dict[str, Any]]()
    watching = when_running(client, run.store.root, "train", lambda container: seen.append(container.attrs))
    calls = calls_of("train")
    run.run(calls)
    watching.join()
    assert all(run.store.verified(call) for call in calls) and len(run.done) == len(calls)
    assert any(stage == "train" and 0 < done <= total for stage, done, total in run.steps)
    (attributes,) = seen
    host = attributes["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (3 << 30, 3 << 30, 1_500_000_000)
    assert (host["ShmSize"], host["NetworkMode"], host["ReadonlyRootfs"]) == (100 << 20, "none", True)
    assert host["CapDrop"] == ["ALL"] and host["SecurityOpt"] == ["no-new-privileges:true"]
    assert not attributes["Config"]["User"].startswith("0")
    assert attributes["Image"].startswith("sha256:")


def test_a_container_that_was_killed_is_tried_again(told: Callable[..., Told], client: Any) -> None:
    run = told(workers=1)
    watching = when_running(client, run.store.root, "corpus", lambda container: container.kill())
    (corpus,) = calls_of("corpus")
    run.run([corpus])
    watching.join()
    assert run.store.verified(corpus)
    assert len(set(run.begun)) == 2 and all(stage == "corpus" and "container " in where for stage, where in run.begun)
    (note,) = run.notes
    assert note.startswith("stage corpus ") and "killed from outside (exit code 137); tried again (1 of 2)" in note


def test_one_that_hangs_is_killed_and_in_the_end_reported(told: Callable[..., Told]) -> None:
    run = told(workers=1, timeout=0.5, retries=1)
    with pytest.raises(StageFailed, match=r"still running after 0\.5 seconds, and was killed, 2 times; its log: "):
        run.run(calls_of("corpus"))
    assert len(run.notes) == 1 and run.done == []


def test_one_that_needs_more_memory_is_not_tried_again(told: Callable[..., Told]) -> None:
    run = told(workers=1, memory="200m")
    with pytest.raises(UserError, match=r"^stage score: its container may have 200m, which was too little; give"):
        run.run(calls_of("score"))
    assert run.notes == []


def test_a_mistake_of_the_user_is_told_as_the_stage_told_it_and_once(told: Callable[..., Told]) -> None:
    run = told(workers=1)
    call = StageCall("corpus", 1, {"people": 5000}, {}, {"entry": {"name": "biography", "people": 5000}})
    with pytest.raises(UserError, match=r"^task biography: people: 5000 asked for, but the data has 100"):
        run.run([call])
    assert run.notes == []


def test_an_image_that_is_not_there_is_one_line(told: Callable[..., Told], tmp_path: Path) -> None:
    run = Told(tmp_path / "store", Containers(image="benchmark:nowhere"))
    with pytest.raises(UserError, match=r"^image 'benchmark:nowhere': not on this machine; make it with `docker"):
        run.run(calls_of("corpus"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_was_stopped_or_killed(
    told: Callable[..., Told],
    client: Any,
    image: str,  # noqa: F811
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    run = told(workers=2)
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
    run.run(calls_of("train"))
    assert run.store.verified(calls_of("train")[-1])
    if number == signal.SIGKILL:
        assert run.notes[0] == f"removed {len(orphans)} containers that a run which was killed had left behind"


def test_containers_of_a_run_that_goes_on_beside_it_are_left_alone(told: Callable[..., Told], client: Any) -> None:
    run, beside = told(workers=1), told(workers=1)
    alive: list[str] = []

    def start_another(container: Any) -> None:
        beside.run(calls_of("corpus"))
        container.reload()
        alive.append(container.status)

    watching = when_running(client, run.store.root, "train", start_another)
    run.run(calls_of("train"))
    watching.join()
    assert alive == ["running"] and run.notes == beside.notes == []
