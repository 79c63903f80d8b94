"""Containers: their settings, what the container of a stage may see and do, and how its end is classified."""

import os
from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.executors.containers import ContainerSettings, arguments, end_of, local_paths
from benchmark.executors.hub import hub_cache
from benchmark.executors.protocol import Job
from benchmark.executors.settings import read_settings
from benchmark.store.artifacts import StageCall, Store

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": "/tmp/modules"}  # where a model's own code is copied to


@pytest.fixture(autouse=True)
def _no_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.executors.containers.hub_cache", lambda: tmp_path / "no cache")


def arguments_of(call: StageCall, store: Path, settings: ContainerSettings, *gpus: str) -> dict[str, Any]:
    """The arguments for a stage's container, with two threads."""
    return arguments(Job(Store(store), [call], threads=2), call, store / "call.json", settings, gpus)


@pytest.mark.parametrize(
    ("content", "message"),
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
def test_wrong_settings_are_one_line_that_names_the_field(tmp_path: Path, content: str, message: str) -> None:
    (file := tmp_path / "c.yaml").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_settings(ContainerSettings, file)
    assert "\n" not in str(caught.value)


def test_an_empty_file_gives_the_defaults_and_a_missing_one_an_error(tmp_path: Path) -> None:
    (file := tmp_path / "c.yaml").write_text("")
    assert read_settings(ContainerSettings, file) == read_settings(ContainerSettings, None) == ContainerSettings()
    with pytest.raises(UserError, match=r"d\.yaml: No such file"):
        read_settings(ContainerSettings, tmp_path / "d.yaml")


def test_each_gpu_has_per_gpu_containers_at_once() -> None:
    assert ContainerSettings(gpus=["0", "3"], per_gpu=2).slots(threads=1) == [("0",), ("3",), ("0",), ("3",)]
    assert ContainerSettings(workers=3).slots(threads=1) == [()] * 3
    cores = len(os.sched_getaffinity(0))
    assert ContainerSettings().slots(threads=cores) == [()] and len(ContainerSettings().slots(threads=1)) == cores


@pytest.mark.parametrize(
    ("state", "log", "late", "kind", "reason"),
    [
        ({"ExitCode": 0}, "", None, "done", ""),
        ({"ExitCode": 2}, "note: x\nerror: task biography: people: 5\n", None, "mistake", "task biography: people: 5"),
        ({"ExitCode": 137, "OOMKilled": True}, "", None, "memory", "memory limit"),
        ({"ExitCode": 1, "OOMKilled": True}, "", None, "memory", "memory limit"),
        ({"ExitCode": 137, "OOMKilled": False}, "", None, "infrastructure", "killed from outside"),
        ({"ExitCode": 143}, "", None, "infrastructure", "killed from outside"),
        ({"ExitCode": 137}, "", 5.0, "infrastructure", "still running after 5 seconds"),
        ({"ExitCode": 128, "Error": "no such device"}, "", None, "infrastructure", "no such device"),
        ({"ExitCode": 1}, "Traceback\nValueError: x", None, "failure", "ValueError: x"),
        ({"ExitCode": 139}, "", None, "failure", "exit code 139"),
    ],
)
def test_how_the_end_of_a_container_is_classified(
    state: dict[str, Any], log: str, late: float | None, kind: str, reason: str
) -> None:
    end = end_of(state, log, late)
    assert end.kind == kind and reason in end.reason


def test_a_container_can_write_the_store_and_read_the_inputs_of_its_stage_only(tmp_path: Path) -> None:
    for name in ("model.gguf", "data", "beside"):
        (tmp_path / name).mkdir()
    corpus = StageCall("corpus", 1, {}, {}, {"entry": {"name": "biography", "path": str(tmp_path / "data")}})
    call = StageCall(
        "score", 1, {}, {"corpus": corpus}, {"model": {"model": str(tmp_path / "model.gguf"), "adapter": None}}
    )
    assert local_paths(call) == [tmp_path / "data", tmp_path / "model.gguf"]
    (tmp_path / "mine.txt").write_text("Question: Who?")
    for name in ("rehearsal", "practice"):
        assert local_paths(StageCall("train", 1, {}, {}, {name: str(tmp_path / "mine.txt")})) == [tmp_path / "mine.txt"]
    augment = StageCall("augment", 1, {}, {}, {"parameters": {"source": str(tmp_path / "mine.txt"), "share": 0.3}})
    assert local_paths(augment) == [tmp_path / "mine.txt"]
    asked = StageCall("evaluate", 1, {}, {}, {"metadata": {"paragraphs": str(tmp_path / "mine.txt"), "events": 3}})
    assert local_paths(asked) == [tmp_path / "mine.txt"]
    store = tmp_path / "store"
    given = arguments_of(call, store, ContainerSettings(memory="2g"))
    assert given["volumes"] == {
        str(store): {"bind": str(store), "mode": "rw"},
        str(tmp_path / "data"): {"bind": str(tmp_path / "data"), "mode": "ro"},
        str(tmp_path / "model.gguf"): {"bind": str(tmp_path / "model.gguf"), "mode": "ro"},
    }
    assert given["network_mode"] == "none" and given["read_only"] and given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert given["mem_limit"] == given["memswap_limit"] == "2g" and given["nano_cpus"] == 2_000_000_000
    assert not given["user"].startswith("0:") and given["device_requests"] is None


def test_groups_of_gpus_do_not_overlap() -> None:
    settings = ContainerSettings(gpus=["0", "1", "2", "3"], gpus_per_stage=2)
    assert settings.slots(threads=1) == [("0", "1"), ("2", "3")]
    assert settings.model_copy(update={"per_gpu": 2}).slots(threads=1) == [("0", "1"), ("2", "3")] * 2


@pytest.mark.parametrize("gpus", [[], ["0"], ["0", "1", "2"]])
def test_gpus_that_do_not_divide_into_groups_are_refused(gpus: list[str]) -> None:
    with pytest.raises(UserError, match=f"gpus_per_stage: 2 does not divide the number of gpus, {len(gpus)}; list"):
        ContainerSettings(gpus=gpus, gpus_per_stage=2).slots(threads=1)


def test_a_container_sees_all_gpus_of_its_group(tmp_path: Path) -> None:
    settings = ContainerSettings(gpus=["2", "3"], gpus_per_stage=2)
    given = arguments_of(StageCall("score", 1, {}), tmp_path, settings, "2", "3")
    (request,) = given["device_requests"]
    assert request["DeviceIDs"] == ["2", "3"] and given["nano_cpus"] == 3_000_000_000


def test_a_container_on_a_gpu_sees_that_gpu_only_and_has_one_more_core(tmp_path: Path) -> None:
    given = arguments_of(StageCall("score", 1, {}), tmp_path, ContainerSettings(gpus=["3"]), "3")
    (request,) = given["device_requests"]
    assert request["DeviceIDs"] == ["3"] and request["Capabilities"] == [["gpu"]]
    assert given["nano_cpus"] == 3_000_000_000


@pytest.mark.parametrize(
    ("entry", "network"), [({"text": "a.txt"}, "none"), ({"dataset": "a/b"}, "bridge"), ({"lm_eval": "piqa"}, "bridge")]
)
def test_only_held_out_data_from_the_hub_needs_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: dict[str, str], network: str
) -> None:
    call = StageCall("retain", 1, {}, {}, {"model": {"model": "zoo:large"}, "entries": [entry]})
    monkeypatch.setattr("benchmark.executors.containers.hub_cache", lambda: tmp_path)
    given = arguments_of(call, tmp_path, ContainerSettings())
    assert given["network_mode"] == network
    assert given["environment"] == ({} if network == "bridge" else OFFLINE)
    assert ("/cache/huggingface/hub" in {volume["bind"] for volume in given["volumes"].values()}) == (network == "none")


def test_the_saved_token_of_the_hub_is_in_no_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr("benchmark.executors.containers.hub_cache", hub_cache)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    (tmp_path / "home" / "hub").mkdir(parents=True)
    given = arguments_of(StageCall("score", 1, {}), tmp_path / "store", ContainerSettings())
    token = tmp_path / "home" / "token"
    assert not any(token.is_relative_to(mounted) for mounted in given["volumes"])
    assert given["volumes"][str(tmp_path / "home" / "hub")] == {"bind": "/cache/huggingface/hub", "mode": "ro"}


def test_gpus_and_the_device_of_the_suite_have_to_go_together() -> None:
    on_cuda, on_cpu = (StageCall("score", 1, {"device": device}) for device in ("cuda", "cpu"))
    assert ContainerSettings(gpus=["0"]).unused_gpus([on_cpu])
    assert not ContainerSettings(gpus=["0"]).unused_gpus([on_cpu, on_cuda])
    assert not ContainerSettings().unused_gpus([on_cpu])
    with pytest.raises(UserError, match="^gpus: none, but the suite computes on cuda; list GPUs"):
        ContainerSettings().unused_gpus([on_cpu, on_cuda])


def test_names_of_zoo_and_hub_models_are_not_read_as_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for model in ("zoo:large", "owner/name"):
        assert local_paths(StageCall("score", 1, {}, {}, {"model": {"model": model}})) == []


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("http://localhost:8000/v1", "host"),
        ("http://127.0.0.1:8000/v1", "host"),
        ("http://[::1]:8000/v1", "host"),
        ("http://127.0.0.1.example.org/v1", "bridge"),
        ("https://api.example.org/v1", "bridge"),
        ("http://10.0.0.7:8000/v1", "bridge"),
    ],
)
def test_a_stage_that_asks_a_server_has_a_network_and_the_key_in_its_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, network: str
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-1")
    writer = {"api": address, "model": str(tmp_path), "key_from": "MY_KEY"}
    call = StageCall("write", 1, {"api": "m"}, {}, {"writer": writer})
    given = arguments_of(call, tmp_path / "store", ContainerSettings())
    assert given["network_mode"] == network
    environment = given.pop("environment")
    assert environment == {**OFFLINE, "MY_KEY": "sk-1"}
    assert "sk-1" not in str(given)
    assert list(given["volumes"]) == [str(tmp_path / "store")], "the model's name is no path of this machine"
    monkeypatch.delenv("MY_KEY")
    assert arguments_of(call, tmp_path, ContainerSettings())["environment"] == OFFLINE


def test_a_local_writer_has_no_network_and_reads_its_model_and_prompts(tmp_path: Path) -> None:
    for name in ("model.gguf", "own.md", "list.md"):
        (tmp_path / name).write_text("")
    writing = {
        "prompts": ["rewrite_list", str(tmp_path / "own.md")],
        "items": str(tmp_path / "list.md"),
        "pairs": False,
    }
    where = {"writer": {"model": str(tmp_path / "model.gguf"), "max_tokens": 9}, "writing": writing}
    call = StageCall("write", 1, {}, {}, where)
    assert local_paths(call) == [tmp_path / name for name in ("list.md", "model.gguf", "own.md")]
    assert arguments_of(call, tmp_path, ContainerSettings())["network_mode"] == "none"
    assert local_paths(StageCall("write", 1, {}, {}, {**where, "writing": {**writing, "items": None}}))
