"""Stages on a Ray cluster: settings, how ends are classified, and undisturbed and disturbed runs on three nodes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from benchmark import ROOT
from benchmark.core.errors import StageFailed, UserError
from benchmark.executors import ray as executor
from benchmark.executors.cluster import ClusterSettings, end_of, room
from benchmark.executors.protocol import Job
from benchmark.executors.ray import RayExecutor
from benchmark.executors.ray_progress import ProgressBoard, ProgressReader
from benchmark.executors.settings import read_settings
from benchmark.progress.events import Events
from benchmark.store.artifacts import StageCall, Store
from benchmark.store.remote import Remote
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import find_suite, load_suite
from scripts.runs import finish, held_locks, records, start, write_small_suite
from tests.tiny import Heard

CPU, CUDA = StageCall("train", 1, {"device": "cpu"}), StageCall("train", 1, {"device": "cuda"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("workers: 0", r"c\.yaml: workers: .*greater than or equal to 1"),
        ("worker: 2", r"c\.yaml: worker: .*fields: address, workers, num_cpus"),
        ("address: http://head", r"c\.yaml: address: "),
        ("address: me:sentinel@head:6379", r"c\.yaml: address: "),
        ("num_gpus: 1.5", r"c\.yaml: num_gpus: .*a share of one GPU, as 0\.5, or a whole number"),
        ("num_gpus: 0", r"c\.yaml: num_gpus: "),
        ("num_cpus: yes", r"c\.yaml: num_cpus: .*expected a number"),
        ("memory: 8 GB", r"c\.yaml: memory: "),
        ("timeout: .inf", r"c\.yaml: timeout: "),
        ("cache: ''", r"c\.yaml: cache: "),
        ("a: [", r"c\.yaml: not a readable YAML file"),
    ],
)
def test_wrong_settings_are_one_line_that_names_the_field(tmp_path: Path, content: str, message: str) -> None:
    (file := tmp_path / "c.yaml").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_settings(ClusterSettings, file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["auto", "local", "head:6379", "ray://10.0.0.1:10001", "[::1]:6379"])
def test_a_cluster_is_found_automatically_or_by_address_or_started_here(tmp_path: Path, address: str) -> None:
    (file := tmp_path / "c.yaml").write_text(f"address: '{address}'")
    assert read_settings(ClusterSettings, file).address == address


def test_a_stage_needs_the_suites_threads_and_a_gpu_if_it_computes_on_one() -> None:
    assert ClusterSettings().needs(CPU, threads=3) == {"CPU": 3.0}
    assert ClusterSettings().needs(CUDA, threads=3) == {"CPU": 3.0, "GPU": 1.0}
    given = ClusterSettings(num_cpus=0.5, num_gpus=0.25, memory="3g")
    assert given.needs(CUDA, threads=3) == {"CPU": 0.5, "GPU": 0.25, "memory": float(3 << 30)}
    assert ClusterSettings(memory="100").needs(CPU, threads=1)["memory"] == 100


def nodes(*resources: dict[str, float]) -> list[dict[str, Any]]:
    return [{"Alive": True, "Resources": resource} for resource in resources]


def test_room_is_counted_for_each_living_node() -> None:
    big = nodes({"CPU": 7, "GPU": 2}, {"CPU": 1, "GPU": 8}, {"CPU": 64})
    assert room({"CPU": 2}, big) == 3 + 0 + 32
    assert room({"CPU": 2, "GPU": 0.5}, big) == 3
    assert room({"CPU": 0.1}, nodes({"CPU": 1})) == 10
    assert room({"CPU": 1}, [{**big[0], "Alive": False}]) == 0


def test_as_many_stages_run_at_once_as_fit_unless_workers_is_set() -> None:
    there = nodes({"CPU": 4, "GPU": 1}, {"CPU": 4, "GPU": 1})
    assert ClusterSettings().slots([CPU], 1, there) == 8
    assert ClusterSettings().slots([CPU, CUDA], 1, there) == 2
    assert ClusterSettings(workers=100).slots([CPU, CUDA], 1, there) == 100, "the cluster may grow"
    with pytest.raises(UserError, match=r"no node of the cluster has room for a stage \(CPU 8\); lower num_cpus.*wor"):
        ClusterSettings(num_cpus=8).slots([CPU], 1, there)


def ends() -> list[tuple[Exception, float | None, str, str]]:
    """Exceptions of Ray's, the time-out if there was one, and the kind and reason of the end."""
    from ray import exceptions

    def in_task(cause: Exception) -> Exception:
        error: Exception = exceptions.RayTaskError("do_stage", f"Traceback\n{type(cause).__name__}: {cause}", cause)
        return error

    return [
        (exceptions.OutOfMemoryError("killed"), None, "memory", "running out of memory"),
        (exceptions.OutOfMemoryError("killed"), 5.0, "memory", "running out of memory"),
        (exceptions.WorkerCrashedError(), None, "infrastructure", "its worker process died, or the node"),
        (exceptions.WorkerCrashedError(), 5.0, "infrastructure", "still running after 5 seconds"),
        (exceptions.NodeDiedError("gone"), None, "infrastructure", "Ray lost it (NodeDiedError: gone"),
        (exceptions.LocalRayletDiedError(), None, "infrastructure", "LocalRayletDiedError"),
        (exceptions.ObjectLostError("ab", None, ""), None, "infrastructure", "ObjectLostError"),
        (exceptions.TaskCancelledError(), None, "infrastructure", "TaskCancelledError"),
        (ConnectionError("client\nlost"), None, "infrastructure", "Ray lost it (ConnectionError: client lost)"),
        (exceptions.RuntimeEnvSetupError("no"), None, "mistake", "Ray cannot start a stage"),
        (in_task(ModuleNotFoundError("No module named 'benchmark'")), None, "mistake", "No module named 'benchmark'"),
        (in_task(RuntimeError("a defect")), None, "failure", "RuntimeError: a defect"),
    ]


def test_how_each_of_rays_errors_is_classified() -> None:
    for error, late, kind, reason in ends():
        end = end_of(error, late)
        assert end.kind == kind and reason in end.reason, (error, end)


def test_the_board_returns_the_latest_progress_of_a_stage_once() -> None:
    board = ProgressBoard()
    board.put("a", "10.0.0.1")
    board.put("a", "10.0.0.1", 2, 9)
    assert json.loads(board.take()) == {"a": ["10.0.0.1", [2, 9]]} and json.loads(board.take()) == {}


def benchmark(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command after some lines of Python; prints whether it imported Ray."""
    before = f"import sys\n{code}\nsys.argv = ['benchmark', *sys.argv[1:]]\nfrom benchmark.cli.app import main\n"
    after = "try:\n    main()\nfinally:\n    print('ray' in sys.modules)"
    command = [sys.executable, "-c", before + after, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_if_ray_is_missing_one_line_says_what_to_install(tmp_path: Path) -> None:
    hidden = "sys.modules['ray'] = None\nimport importlib.util\nfind = importlib.util.find_spec\n"
    hidden += "importlib.util.find_spec = lambda name, *more: None if name == 'ray' else find(name, *more)"
    done = benchmark("run", "smoke", "--executor", "ray", "--results", str(tmp_path), code=hidden)
    assert done.returncode == 2
    assert done.stderr == "error: --executor ray: Ray is not installed; run pip install -r requirements-ray.lock\n"


@pytest.mark.parametrize(("option", "value"), [("--cluster", "c.yaml"), ("--remote", "file:///x")])
def test_options_of_ray_are_refused_for_other_executors(option: str, value: str) -> None:
    done = benchmark("run", "smoke", option, value)
    assert done.returncode == 2 and done.stdout == "False\n"
    assert done.stderr == f"error: {option}: only --executor ray reads it; add that, or leave {option} out\n"


def test_if_no_cluster_answers_one_line_says_what_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(address: str, **given: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise ConnectionError(f"Could not find\nany running Ray instance at {address}")

    before = signal.signal(signal.SIGTERM, handler := lambda number, frame: None)
    try:
        monkeypatch.setattr(ray, "init", refuse)
        with pytest.raises(UserError, match=r"^--executor ray: no cluster answers at address 'auto' \(Could not"):
            RayExecutor(ClusterSettings()).run(Job(Store(tmp_path), [CPU]), Events())
        assert signal.getsignal(signal.SIGTERM) is handler, "its signal handlers are restored"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@dataclass
class Nodes:
    """A cluster of several nodes on this machine; each has its own folder as NODE in its environment."""

    cluster: Any
    folder: Path
    by_name: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, cpus: int) -> None:
        os.environ["NODE"] = str(self.folder / name)
        try:
            self.by_name[name] = self.cluster.add_node(num_cpus=cpus, include_dashboard=False)
        finally:
            del os.environ["NODE"]

    def kill(self, name: str) -> None:
        self.cluster.remove_node(self.by_name.pop(name), allow_graceful=False)

    def settings(self, **more: Any) -> ClusterSettings:
        return ClusterSettings.model_validate({"address": self.cluster.address, "cache": "$NODE/store", **more})

    def file(self, **more: Any) -> str:
        (file := self.folder / f"{uuid.uuid4().hex}.yaml").write_text(self.settings(**more).model_dump_json())
        return str(file)

    def node_of(self, worker: int) -> str:
        """The node of a worker process."""
        parent = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        (name,) = (name for name, node in self.by_name.items() if node.all_processes["raylet"][0].process.pid == parent)
        return name


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A head without cores, and two nodes with one each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        from ray.cluster_utils import Cluster as Several

        cluster = Nodes(Several(), tmp_path_factory.mktemp("nodes"))
        try:
            for name, cpus in (("head", 0), ("a", 1), ("b", 1)):
                cluster.add(name, cpus)
            yield cluster
        finally:
            cluster.cluster.shutdown()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """A small suite with every kind of stage, and its records from a local run."""
    folder = tmp_path_factory.mktemp("small")
    suite = write_small_suite(folder)
    finish(suite, folder / "results", "--workers", "2")
    return suite, records(folder / "results")


def workers(stage: str) -> list[int]:
    """Ids of the worker processes that run a kind of stage, by the names that Ray gives them."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(f"ray::{stage}-".encode()):
                pids.append(int(folder.name))
        except OSError:
            continue
    return pids


def when_at(stage: str, act: Callable[[int], None], after: float = 3) -> threading.Thread:
    """Do something to the first worker that runs a kind of stage, some seconds after it started."""

    def watch() -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if pids := workers(stage):
                time.sleep(after)  # by default long enough for its first progress
                act(pids[0])
                return
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def run_on_ray(suite: str, results: Path, *options: str) -> tuple[int, list[str]]:
    """Run a suite to its end; returns its exit code and the lines on stderr."""
    process = start(suite, results, uuid.uuid4().hex, "--plain", "--executor", "ray", *options)
    _, said = process.communicate(timeout=900)
    return process.returncode, said.decode().splitlines()


@pytest.mark.slow
def test_the_smoke_suite_has_the_records_of_a_local_run(three: Nodes, tmp_path: Path) -> None:
    code, said = run_on_ray("smoke", tmp_path / "ray", "--cluster", three.file())
    assert code == 0, said
    assert all(line.startswith("[") for line in said), "only progress"
    finish("smoke", tmp_path / "here", "--workers", "2")
    on_ray, local = records(tmp_path / "ray"), records(tmp_path / "here")
    assert on_ray == local and len(on_ray) == len(make_plan(load_suite(find_suite("smoke"))).cells)
    assert all(record["answers"]["sha256"] for record in on_ray.values())
    assert held_locks(tmp_path / "ray") == [] and not list((tmp_path / "ray" / "store" / ".locks").glob("ray-*"))


@pytest.mark.slow
def test_a_lost_node_is_reported_and_its_stage_runs_on_another(
    three: Nodes, small: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    lost: list[str] = []

    def kill(worker: int) -> None:
        lost.append(three.node_of(worker))
        three.kill(lost[0])

    watching = when_at("train", kill, after=0)  # an idle machine finishes the stage within three seconds
    try:
        code, said = run_on_ray(small[0], tmp_path, "--cluster", three.file())
    finally:
        watching.join()
        for name in lost:
            three.add(name, 1)
    assert code == 0, said
    notes = [line for line in said if "tried again" in line]
    assert len(notes) == 1 and "stage train " in notes[0] and notes[0].endswith("; tried again (1 of 2)"), said
    assert records(tmp_path) == small[1]


@pytest.mark.slow
def test_a_killed_worker_is_an_error_when_no_retry_is_left(three: Nodes, tmp_path: Path) -> None:
    store, heard = Store(tmp_path / "store"), Heard()
    store.root.mkdir()
    (train,) = slow_calls(1)
    watching = when_at("train", lambda worker: os.kill(worker, signal.SIGKILL))
    with pytest.raises(StageFailed, match=r"its worker process died, or the node that it was on; Ray's logs"):
        RayExecutor(three.settings(retries=0)).run(Job(store, [train]), Events(heard))
    watching.join()
    assert heard.notes == [] and list((store.root / ".tmp").glob("*")) == []


def slow_calls(count: int) -> list[StageCall]:
    """Train stages of the shipped small model that take minutes."""
    suite = load_suite(find_suite("smoke")).model_copy(update={"seeds": list(range(1, count + 1))})
    suite = suite.model_copy(update={"budgets": [suite.budgets[0].model_copy(update={"steps": 100_000})]})
    return [call for call in make_plan(suite).calls() if call.stage == "train"][:count]


@pytest.mark.slow
def test_a_stage_that_hangs_ends_itself_and_is_tried_again(three: Nodes, tmp_path: Path) -> None:
    store, heard = Store(tmp_path / "store"), Heard()
    store.root.mkdir()
    with pytest.raises(StageFailed, match=r"it was still running after 20 seconds, and was ended, 2 times; Ray's logs"):
        RayExecutor(three.settings(timeout=20, retries=1)).run(Job(store, slow_calls(1)), Events(heard))
    (note,) = heard.notes
    assert "still running after 20 seconds, and was ended; tried again (1 of 1)" in note and " on " in note


@pytest.mark.slow
def test_losing_the_progress_actor_loses_progress_only(
    three: Nodes, small: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    store.root.mkdir()
    calls = [call for call in make_plan(load_suite(Path(small[0]))).calls() if call.stage in ("corpus", "score")]

    class KillsBoard(Heard):
        """Kills the actor when the first stage has finished."""

        def stage_finished(self, call: StageCall) -> None:
            import ray

            super().stage_finished(call)
            if len(self.finished) == 1:
                for board in boards:
                    ray.kill(board, no_restart=True)

    boards: list[Any] = []
    start = ProgressReader._start

    def remember(self: Any) -> None:
        start(self)
        boards.append(self.board)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProgressReader, "_start", remember)
        RayExecutor(three.settings(workers=1)).run(Job(store, calls), Events(heard := KillsBoard()))
    assert len(heard.finished) == len(calls) and all(store.verified(call) for call in calls)
    assert len(boards) == 2 and "score" in {call.stage for call, _, _ in heard.steps}, "a new actor replaced it"
    assert heard.notes == []
    assert heard.started and all(where.startswith("node ") for _, where in heard.started)


@pytest.mark.slow
def test_a_user_error_in_a_stage_is_raised_in_its_own_words(three: Nodes, tmp_path: Path) -> None:
    call = StageCall("corpus", 1, {"people": 5000}, {}, {"entry": {"name": "biography", "people": 5000}})
    store, heard = Store(tmp_path / "store"), Heard()
    store.root.mkdir()
    with pytest.raises(UserError, match=r"^task biography: people: 5000 asked for, but the data has 100"):
        RayExecutor(three.settings()).run(Job(store, [call]), Events(heard))
    assert heard.notes == []


@pytest.mark.slow
def test_nodes_with_stores_of_their_own_exchange_artifacts_and_give_the_same_records(
    three: Nodes, small: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/place"
    code, said = run_on_ray(small[0], tmp_path / "here", "--cluster", three.file(), "--remote", url)
    assert code == 0, said
    assert records(tmp_path / "here") == small[1]
    stores = [three.folder / name / "store" for name in ("a", "b")]
    assert all(list(store.glob("*/*/manifest.json")) for store in stores), "both nodes ran stages"
    assert not list((tmp_path / "here" / "store").rglob("*.safetensors")), "records need no weights"
    for file in (tmp_path / "here" / "records").rglob("*"):
        if file.is_file():
            file.unlink()
    code, said = run_on_ray(small[0], tmp_path / "elsewhere", "--cluster", three.file(), "--remote", url)
    assert code == 0 and records(tmp_path / "elsewhere") == small[1], said


@pytest.mark.slow
def test_a_store_that_nodes_do_not_share_is_an_error_before_any_stage(
    three: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, heard = Store(tmp_path / "store"), Heard()
    store.root.mkdir()
    call = StageCall("corpus", 1, {"people": 3}, {}, {"entry": {"name": "biography", "people": 3}})
    initialise = executor._Tasks.__init__

    def elsewhere(self: Any, *given: Any) -> None:
        initialise(self, *given)
        self._task = replace(self._task, store=str(tmp_path / "of another machine"))

    monkeypatch.setattr(executor._Tasks, "__init__", elsewhere)
    with pytest.raises(
        UserError, match=r"does not see this run's store there; give --results a folder .* exchange artifacts$"
    ):
        RayExecutor(three.settings()).run(Job(store, [call]), Events(heard))
    assert heard.notes == []
    assert not (tmp_path / "of another machine").exists()


@pytest.mark.slow
def test_a_cache_that_is_no_absolute_path_on_a_node_is_an_error(three: Nodes, tmp_path: Path) -> None:
    call = StageCall("corpus", 1, {"people": 3}, {}, {"entry": {"name": "biography", "people": 3}})
    remote = Remote(f"file://{tmp_path}/place")
    with pytest.raises(UserError, match=r"^cache: \$UNSET_HERE/store is not an absolute path on node "):
        RayExecutor(three.settings(cache="$UNSET_HERE/store"), remote).run(Job(Store(tmp_path), [call]), Events())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_or_killed_run_leaves_no_running_stage(
    three: Nodes, small: tuple[str, dict[str, Any]], tmp_path: Path, number: signal.Signals
) -> None:
    options = ("--plain", "--executor", "ray", "--cluster", three.file())
    process = start(small[0], tmp_path, uuid.uuid4().hex, *options)
    when_at("train", lambda worker: os.kill(process.pid, number)).join()
    _, said = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert said.decode().splitlines()[-1].startswith("stopped; finished stages are kept")
    deadline = time.monotonic() + 30
    while workers("train") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert workers("train") == []
    code, said_again = run_on_ray(small[0], tmp_path, "--cluster", three.file())
    assert code == 0 and records(tmp_path) == small[1], said_again
