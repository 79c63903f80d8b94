"""Containers: their settings, what a stage's container may see and do, and what its end means."""

import os
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.executors.containers import Containers, arguments, end_of, local_paths, read_settings
from benchmark.store.artifacts import StageCall


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("workers: 0", r"c\.yaml: workers: .*greater than or equal to 1"),
        ("worker: 2", r"c\.yaml: worker: .*fields: image, workers, gpus"),
        ("memory: 8 GB", r"c\.yaml: memory: "),
        ("user: root", r"c\.yaml: user: "),
        ("user: 0:0", r"c\.yaml: user: .*root"),
        ("timeout: .inf", r"c\.yaml: timeout: "),
        ("[1]", r"c\.yaml: the file: "),
        ("workers: 1\nworkers: 2", r"c\.yaml: .*duplicate key 'workers'"),
        ("a: [", r"c\.yaml: not a readable YAML file"),
    ],
)
def test_settings_that_are_none_are_told_in_one_line(tmp_path: Path, content: str, told: str) -> None:
    (file := tmp_path / "c.yaml").write_text(content)
    with pytest.raises(UserError, match=told) as caught:
        read_settings(file)
    assert "\n" not in str(caught.value)


def test_a_file_may_be_empty_and_must_be_there(tmp_path: Path) -> None:
    (file := tmp_path / "c.yaml").write_text("")
    assert read_settings(file) == read_settings(None) == Containers()
    with pytest.raises(UserError, match=r"d\.yaml: No such file"):
        read_settings(tmp_path / "d.yaml")


def test_every_gpu_has_as_many_containers_as_are_asked_for_and_none_waits_for_another() -> None:
    assert Containers(gpus=["0", "3"], per_gpu=2).slots(threads=1) == [("0",), ("3",), ("0",), ("3",)]
    assert Containers(workers=3).slots(threads=1) == [()] * 3
    cores = len(os.sched_getaffinity(0))
    assert Containers().slots(threads=cores) == [()] and len(Containers().slots(threads=1)) == cores


@pytest.mark.parametrize(
    ("state", "log", "late", "kind", "reason"),
    [
        ({"ExitCode": 0}, "", None, "done", ""),
        ({"ExitCode": 2}, "note: x\nerror: task biography: people: 5\n", None, "mistake", "task biography: people: 5"),
        ({"ExitCode": 137, "OOMKilled": True}, "", None, "memory", "memory"),
        ({"ExitCode": 1, "OOMKilled": True}, "", None, "memory", "memory"),
        ({"ExitCode": 137, "OOMKilled": False}, "", None, "infrastructure", "killed from outside"),
        ({"ExitCode": 143}, "", None, "infrastructure", "killed from outside"),
        ({"ExitCode": 137}, "", 5.0, "infrastructure", "still running after 5 seconds"),
        ({"ExitCode": 128, "Error": "no such device"}, "", None, "infrastructure", "no such device"),
        ({"ExitCode": 1}, "Traceback\nValueError: x", None, "failure", "ValueError: x"),
        ({"ExitCode": 139}, "", None, "failure", "exit code 139"),
    ],
)
def test_what_the_end_of_a_container_means(
    state: dict[str, Any], log: str, late: float | None, kind: str, reason: str
) -> None:
    end = end_of(state, log, late)
    assert end.kind == kind and reason in end.reason


def test_a_container_sees_the_store_to_write_and_what_the_stage_reads_and_nothing_else(tmp_path: Path) -> None:
    for name in ("model.gguf", "data", "beside"):
        (tmp_path / name).mkdir()
    corpus = StageCall("corpus", 1, {}, {}, {"entry": {"name": "biography", "path": str(tmp_path / "data")}})
    call = StageCall(
        "score", 1, {}, {"corpus": corpus}, {"model": {"model": str(tmp_path / "model.gguf"), "adapter": None}}
    )
    assert local_paths(call) == [tmp_path / "data", tmp_path / "model.gguf"]
    store = tmp_path / "store"
    given = arguments(call, store / "call.json", store, Containers(memory="2g"), (), 2, tmp_path / "no cache")
    assert given["volumes"] == {
        str(store): {"bind": str(store), "mode": "rw"},
        str(tmp_path / "data"): {"bind": str(tmp_path / "data"), "mode": "ro"},
        str(tmp_path / "model.gguf"): {"bind": str(tmp_path / "model.gguf"), "mode": "ro"},
    }
    assert given["network_mode"] == "none" and given["read_only"] and given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert given["mem_limit"] == given["memswap_limit"] == "2g" and given["nano_cpus"] == 2_000_000_000
    assert not given["user"].startswith("0:") and given["device_requests"] is None


def test_a_container_may_have_several_gpus_which_no_other_group_has() -> None:
    settings = Containers(gpus=["0", "1", "2", "3"], gpus_per_stage=2)
    assert settings.slots(threads=1) == [("0", "1"), ("2", "3")]
    assert settings.model_copy(update={"per_gpu": 2}).slots(threads=1) == [("0", "1"), ("2", "3")] * 2


@pytest.mark.parametrize("gpus", [[], ["0"], ["0", "1", "2"]])
def test_gpus_that_make_no_whole_groups_are_refused(gpus: list[str]) -> None:
    with pytest.raises(UserError, match=f"gpus_per_stage: 2 does not divide the {len(gpus)} of gpus; list"):
        Containers(gpus=gpus, gpus_per_stage=2).slots(threads=1)


def test_a_container_with_a_group_of_gpus_is_given_all_of_them(tmp_path: Path) -> None:
    settings = Containers(gpus=["2", "3"], gpus_per_stage=2)
    given = arguments(StageCall("score", 1, {}), tmp_path, tmp_path, settings, ("2", "3"), 2, tmp_path / "none")
    (request,) = given["device_requests"]
    assert request["DeviceIDs"] == ["2", "3"] and given["nano_cpus"] == 3_000_000_000


def test_a_container_on_a_gpu_has_that_one_alone_and_a_core_more(tmp_path: Path) -> None:
    given = arguments(
        StageCall("score", 1, {}), tmp_path, tmp_path, Containers(gpus=["3"]), ("3",), 2, tmp_path / "none"
    )
    (request,) = given["device_requests"]
    assert request["DeviceIDs"] == ["3"] and request["Capabilities"] == [["gpu"]]
    assert given["nano_cpus"] == 3_000_000_000


@pytest.mark.parametrize(
    ("entry", "network"), [({"text": "a.txt"}, "none"), ({"dataset": "a/b"}, "bridge"), ({"lm_eval": "piqa"}, "bridge")]
)
def test_held_out_data_of_the_hub_alone_need_a_network(tmp_path: Path, entry: dict[str, str], network: str) -> None:
    call = StageCall("retain", 1, {}, {}, {"model": {"model": "zoo:large"}, "entries": [entry]})
    given = arguments(call, tmp_path, tmp_path, Containers(), (), 1, tmp_path)
    assert given["network_mode"] == network
    assert given["environment"] == ({} if network == "bridge" else {"HF_HUB_OFFLINE": "1"})
    assert ("/cache/huggingface" in {volume["bind"] for volume in given["volumes"].values()}) == (network == "none")


def test_names_of_the_zoo_and_of_the_hub_are_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for model in ("zoo:large", "owner/name"):
        assert local_paths(StageCall("score", 1, {}, {}, {"model": {"model": model}})) == []
