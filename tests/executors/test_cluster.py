"""The SLURM script and the Kubernetes manifest of docs/cluster are valid, and each task runs its stage."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark import ROOT
from benchmark.runs.runner import run_suite
from benchmark.store.artifacts import Store
from benchmark.store.calls import write_calls
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import find_suite, load_suite

CLUSTER = ROOT / "docs" / "cluster"


@pytest.fixture
def job() -> Any:
    return yaml.safe_load((CLUSTER / "job.yaml").read_text(encoding="utf-8"))


def array_task(number: int, stages: Path, store: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a task of the array as SLURM does, on this machine."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {
        **os.environ,
        "PATH": programs,
        "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_CPUS_PER_TASK": "1",
        **variables,
    }
    command = ["bash", str(CLUSTER / "stages.sbatch"), str(stages), str(store)]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


def test_a_task_of_the_array_runs_the_stage_of_its_number(tmp_path: Path) -> None:
    calls = make_plan(load_suite(find_suite("smoke"))).calls()
    write_calls(tmp_path / "stages", calls)
    done = array_task(1, tmp_path / "stages", store := tmp_path / "store")
    assert done.returncode == 0, done.stderr
    assert Store(store).verified(calls[0])
    assert array_task(1, tmp_path / "stages", store).stdout.endswith(": already stored\n")
    assert array_task(len(calls) + 1, tmp_path / "stages", store).returncode != 0


@pytest.mark.slow
def test_the_array_in_any_order_makes_the_artifacts_of_a_run(tmp_path: Path) -> None:
    suite = load_suite(find_suite("smoke"))
    calls = make_plan(suite).calls()
    write_calls(tmp_path / "stages", calls)
    with ThreadPoolExecutor(2) as tasks:  # in reverse: each task has to make its inputs, or to wait for them
        numbers = range(len(calls), 0, -1)
        results = tasks.map(lambda n: array_task(n, tmp_path / "stages", tmp_path / "a" / "store"), numbers)
        assert [done.returncode for done in results] == [0] * len(calls)
    after_array = run_suite(suite, tmp_path / "a", tmp_path / "a" / "records")
    expected = run_suite(suite, tmp_path / "b", tmp_path / "b" / "records")
    assert (after_array.stages, expected.stages) == (0, len(calls))
    assert {key: record.scores for key, record in after_array.records.items()} == {
        key: record.scores for key, record in expected.records.items()
    }


def test_the_manifest_is_valid(job: Any) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(job, "1.34", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**job, "spec": {**job["spec"], "complet1ons": 9}}, "1.34", strict=True)


@pytest.mark.parametrize("index", [0, 11])
def test_a_pod_runs_the_stage_of_its_index(job: Any, index: int, tmp_path: Path) -> None:
    calls = make_plan(load_suite(find_suite("smoke"))).calls()
    files = write_calls(tmp_path / "stages", calls)
    assert job["spec"]["completions"] == len(files), "the manifest has the number of stages of the smoke suite"
    container = job["spec"]["template"]["spec"]["containers"][0]
    (script,) = container["args"]
    assert script.count("exec benchmark ") == 1
    printing = script.replace("exec benchmark ", 'printf "%s\\n" ').replace("/shared", str(tmp_path))
    done = subprocess.run(
        [*container["command"], printing],
        env={"PATH": os.environ["PATH"], "JOB_COMPLETION_INDEX": str(index)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["stage", str(files[index]), "--store", f"{tmp_path}/store", "--threads", "4"]
    assert json.loads(files[index].read_text())["stage"] == calls[index].stage
