"""A suite by containers and on a Ray cluster, with harm done to both, and its records beside those of processes here.

    python -m scripts.disturb_executors tiny --steps 20 --seeds 1 --executors docker ray

Of the containers one is killed while it trains, then the run itself with SIGKILL; the same command goes on. The cluster
has a head without cores and several nodes of one, all on this machine; one that trains is killed with all its workers.
Exit code 1: a record differs, a limit was not kept, a harm left no word, or a container, volume or process is left.
Needs Linux, a Docker Engine with the image (`docker compose build benchmark`), and Ray (requirements-ray.lock).
"""

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.executors.containers import STAGE, STORE, ContainerSettings
from benchmark.suite.schema import find_suite, load_suite
from scripts.runs import artifacts, compare, finish, living, records, smaller, start

MEMORY, CORES = 3, 1.0  # GiB and cores of a container
SOME = 5  # trainings that are done before the worst is done


def main(given: list[str] | None = None) -> int:
    """Run the suite every way and compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("suite", help="name or file")
    parser.add_argument("--executors", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, help="of every budget, in place of the suite's")
    parser.add_argument("--seeds", type=int, help="how many of the suite's seeds")
    parser.add_argument("--train", nargs="+", help="trained models, in place of the suite's")
    parser.add_argument("--workers", type=int, default=4, help="containers at once, and nodes of the cluster")
    parser.add_argument("--image", default=ContainerSettings().image)
    options = parser.parse_args(given)
    with tempfile.TemporaryDirectory(prefix="executors-") as scratch:
        folder = Path(scratch)
        file = folder / "suite.yaml"
        suite = load_suite(find_suite(options.suite))
        file.write_text(json.dumps(smaller(suite, options.steps, options.seeds, options.train)))
        seconds = finish(str(file), folder / "here", "--plain")
        expected = records(folder / "here")
        _say(f"processes here: {len(expected)} records in {seconds:.0f} s")
        problems: list[str] = []
        for name in options.executors:
            began = time.monotonic()
            problems += [f"{name}: {problem}" for problem in WAYS[name](str(file), folder / name, options)]
            found = records(folder / name)
            differ = compare(expected, found)
            _say(f"{name}: {len(found)} records in {time.monotonic() - began:.0f} s, {len(differ)} differ")
            problems += [f"{name}: {record} differs" for record in sorted(differ)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def by_containers(suite: str, results: Path, options: argparse.Namespace) -> Iterator[str]:
    """Run it by containers, kill one, then the run; go on. Gives what was not as it should be."""
    import docker

    client = docker.from_env()
    volumes = {volume.name for volume in client.volumes.list()}
    settings = ContainerSettings(image=options.image, workers=options.workers, cpus=CORES, memory=f"{MEMORY}g")
    (file := results.with_suffix(".yaml")).write_text(settings.model_dump_json())
    store = (results / "store").resolve()
    words = ("--plain", "--executor", "docker", "--containers", str(file))

    def of_run(every: bool = True) -> list[Any]:
        return list(client.containers.list(all=every, filters={"label": f"{STORE}={store}"}))

    def training() -> Any:
        return next((one for one in of_run(every=False) if one.labels[STAGE] == "train"), None)

    with _started(suite, results, *words) as (process, said):
        _until(process, lambda: len(of_run(every=False)) == options.workers)
        limits = [one.attrs["HostConfig"] for one in of_run(every=False)]
        told = {(limit["Memory"] / 2**30, limit["NanoCpus"] / 1e9, limit["NetworkMode"]) for limit in limits}
        _say(f"docker inspect of {len(limits)} containers at once: GiB, cores, network {sorted(told)}")
        if told != {(MEMORY, CORES, "none")}:
            yield f"limits {told}"
        victim = _until(process, training)
        victim.kill()
        again = _until(process, lambda: [line for line in said if "tried again" in line])
        _say(f"killed {victim.name}: {again[0]}")
        _until(process, lambda: len(artifacts(results, "train")) >= SOME)
        process.send_signal(signal.SIGKILL)
    left = len(of_run())
    _say(f"SIGKILL to the run with {len(artifacts(results))} artifacts there and {left} containers")
    with _started(suite, results, *words) as (process, said):
        pass
    if process.returncode:
        yield f"exit code {process.returncode}: {said[-1]}"
    removed = [line for line in said if line.endswith("that a run which was killed had left behind")]
    _say("; ".join(removed) or "nothing was said of what was left")
    if left and not removed:
        yield f"{left} containers were left, and the next run said nothing of them"
    if orphans := [one.name for one in of_run()]:
        yield f"containers are left: {orphans}"
    if more := {volume.name for volume in client.volumes.list()} - volumes:
        yield f"volumes are left: {more}"
    client.close()


def on_ray(suite: str, results: Path, options: argparse.Namespace) -> Iterator[str]:
    """Run it on a cluster of several nodes and kill one. Gives what was not as it should be."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=0, include_dashboard=False)
        nodes = [cluster.add_node(num_cpus=1, include_dashboard=False) for _ in range(options.workers)]
        (file := results.with_suffix(".yaml")).write_text(json.dumps({"address": cluster.address}))
        with _started(suite, results, "--plain", "--executor", "ray", "--cluster", str(file)) as (process, said):
            _until(process, lambda: len(artifacts(results, "train")) >= SOME)
            victim = _until(process, lambda: next((node for node in nodes if _trains(node)), None))
            cluster.remove_node(victim, allow_graceful=False)
            again = _until(process, lambda: [line for line in said if "tried again" in line])
            _say(f"killed one of {len(nodes)} nodes: {again[0]}")
    finally:
        cluster.shutdown()
    if process.returncode:
        yield f"exit code {process.returncode}: {said[-1]}"


def _trains(node: Any) -> bool:
    """Whether a worker of a node is at a training; Ray names its processes after the task."""
    raylet = node.all_processes["raylet"][0].process.pid
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == raylet and (folder / "cmdline").read_bytes().startswith(b"ray::train-"):
                return True
        except OSError:
            continue
    return False


@contextmanager
def _started(suite: str, results: Path, *words: str) -> Iterator[tuple[Any, list[str]]]:
    """A run, and the lines that it says as it says them; at the end it is waited for."""
    mark, said = uuid.uuid4().hex, list[str]()
    process = start(suite, results, mark, *words)
    errors = process.stderr
    assert errors is not None
    thread = threading.Thread(target=lambda: said.extend(line.decode().rstrip() for line in errors))
    thread.start()
    try:
        yield process, said
        process.wait()
    finally:
        process.kill()
        thread.join()
    if alive := living(mark):
        raise SystemExit(f"processes are left: {alive}")


def _until(process: Any, look: Callable[[], Any]) -> Any:
    """What `look` gives as soon as that is something. Exits if the run ends before."""
    while process.poll() is None:
        if found := look():
            return found
        time.sleep(0.1)
    raise SystemExit(f"the run ended too early for that harm, with exit code {process.returncode}")


def _say(line: str) -> None:
    print(line, flush=True)


WAYS: dict[str, Callable[[str, Path, argparse.Namespace], Iterator[str]]] = {"docker": by_containers, "ray": on_ray}

if __name__ == "__main__":
    raise SystemExit(main())
