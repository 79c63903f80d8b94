"""Set-up: the lock files, the compose files and the image."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from benchmark import __version__

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-gpu.lock", "requirements-ray.lock")
SERVICES = ("benchmark", "leaderboard", "tests")


def pins(*locks: str) -> dict[str, Version]:
    """Version of every package that the lock files pin."""
    pinned = {}
    for lock in locks:
        for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
            name, version = line.split("==")
            pinned[str(canonicalize_name(name))] = Version(version)
    return pinned


def project() -> dict[str, Any]:
    """The table [project] of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def compose(name: str) -> dict[str, Any]:
    """A compose file, its merge keys resolved."""
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_holds_exact_versions_and_no_address(lock: str) -> None:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)] == []


def test_no_package_is_pinned_twice() -> None:
    lines = [line for lock in LOCKS for line in (ROOT / lock).read_text(encoding="utf-8").splitlines()]
    assert len(pins(*LOCKS)) == len(lines)


def test_torch_is_pinned_without_naming_a_build() -> None:
    assert str(pins("requirements.lock")["torch"]) == "2.13.0"


@pytest.mark.parametrize(
    ("extra", "lock"), [(None, LOCKS[0]), ("dev", LOCKS[1]), ("gpu", LOCKS[2]), ("pdf", LOCKS[1]), ("ray", LOCKS[3])]
)
def test_every_dependency_is_locked_at_an_allowed_version(extra: str | None, lock: str) -> None:
    declared = project()["optional-dependencies"][extra] if extra else project()["dependencies"]
    # A development tool can also be a dependency of the benchmark itself.
    pinned = pins("requirements.lock", lock)
    for requirement in map(Requirement, declared):
        version = pinned.get(str(canonicalize_name(requirement.name)))
        assert version, f"{requirement.name} is not in {lock}; make lock"
        assert version in requirement.specifier, f"{requirement} does not allow the {version} of {lock}"


def test_the_hosted_workflow_and_ci_call_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    called = re.findall(r"\bmake ([a-z-]+)", "\n".join(commands))
    assert {"test", "check", "image", "page"} <= set(called) <= targets
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert {"test", "check", "image"} <= set(re.findall(r"^ *make ([a-z-]+)", script, re.MULTILINE)) <= targets


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_runs_with_no_privilege_and_a_read_only_root(service: str) -> None:
    settings = compose("compose.yaml")["services"][service]
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert settings["read_only"] is True
    assert settings["tmpfs"] == ["/tmp"]
    assert 0 < settings["pids_limit"] <= 4096
    assert not {"privileged", "cap_add", "user", "pid", "ipc"} & settings.keys()
    assert "/var/run/docker.sock" not in str(settings)


def test_the_gpu_overlay_builds_its_own_image() -> None:
    cpu, gpu = (compose(name)["services"]["benchmark"] for name in ("compose.yaml", "compose.gpu.yaml"))
    assert gpu["image"] != cpu["image"]
    assert gpu["build"]["args"] == {"TORCH_VARIANT": "cuda"}
    assert "TORCH_VARIANT" not in cpu["build"]["args"]
    assert compose("compose.gpu.yaml")["services"].keys() == {"benchmark"}


def test_the_image_label_and_the_package_agree_on_the_version() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f'org.opencontainers.image.version="{__version__}"' in dockerfile


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel, which setuptools builds from a copy of the code."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    ignored = shutil.ignore_patterns("__pycache__", "results")
    for folder in ("benchmark", "leaderboard", "suites", "tasks"):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=ignored)
    for file in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / file, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = source.glob("crambench-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_a_wheel_holds_tasks_and_suites_inside_the_package(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"benchmark", "leaderboard"}
    for folder in ("tasks", "suites"):
        files = {path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert files
        for file in files:
            assert (installed / "benchmark" / file.relative_to(ROOT)).read_bytes() == file.read_bytes()


def test_a_wheel_says_that_its_packages_are_typed(installed: Path) -> None:
    assert all((installed / package / "py.typed").is_file() for package in ("benchmark", "leaderboard"))


def test_a_wheel_plans_a_suite_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import benchmark; print(benchmark.__file__)"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(installed)
    command = [sys.executable, "-m", "benchmark", "plan", "smoke", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cells"]


def test_a_new_method_needs_a_checkout(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "benchmark", "new", "method", "word_soup"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "is no checkout of the project" in done.stderr


@pytest.fixture
def install() -> ModuleType:
    """scripts/install.py as a module."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "scripts" / "install.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FakePip:
    """A fake pip that records its calls and fails those with an index."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str) -> int:
        self.calls.append(arguments)
        return int("--index-url" in arguments)


def run_install(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, system: str, *arguments: str
) -> list[tuple[str, ...]]:
    """Run main() for an operating system, check that it succeeds, and return the calls of pip."""
    pip = FakePip()
    monkeypatch.setattr(module, "pip_install", pip)
    monkeypatch.setattr(module.platform, "system", lambda: system)
    monkeypatch.setattr(module.sys, "argv", ["install.py", *arguments, str(ROOT / "requirements.lock")])
    with pytest.raises(SystemExit) as end:
        module.main()
    assert end.value.code == 0
    return pip.calls


def test_without_an_answer_of_the_index_torch_comes_from_the_lock_file_with_a_note(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_INDEX", "https://index.invalid/cpu")
    first, second = run_install(install, monkeypatch, "Linux")
    assert first[-3:] == ("--index-url", "https://index.invalid/cpu", "torch==2.13.0+cpu")
    assert second == ("-r", str(ROOT / "requirements.lock"))
    assert "https://index.invalid/cpu gave no torch==2.13.0+cpu" in capsys.readouterr().out


def test_the_cpu_index_is_used_by_default(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_INDEX", raising=False)
    first, _ = run_install(install, monkeypatch, "Linux")
    assert first[-2].endswith("/cpu")


def test_an_empty_index_name_means_no_index(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_INDEX", "")
    assert run_install(install, monkeypatch, "Linux") == [("-r", str(ROOT / "requirements.lock"))]


def test_only_on_linux_the_cpu_build_is_chosen(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_install(install, monkeypatch, "Darwin") == [("-r", str(ROOT / "requirements.lock"))]


def test_the_cuda_variant_installs_no_cpu_build_and_adds_the_gpu_packages(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (call,) = run_install(install, monkeypatch, "Linux", "--torch", "cuda")
    assert call[0] == "torch===2.13.0"
    assert call[-1].endswith("requirements-gpu.lock")


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """The benchmark image, built from this working tree and untagged at the end."""
    if not shutil.which("docker"):
        pytest.fail("these tests need the docker command; skip them with -m 'not docker'")
    tag = "benchmark:packaging-test"
    subprocess.run(["docker", "build", "--quiet", "--target", "benchmark", "--tag", tag, str(ROOT)], check=True)
    yield tag
    subprocess.run(["docker", "image", "rm", tag], check=False, capture_output=True)


def in_container(image: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the image as an unknown user who can write to its volumes and /tmp alone."""
    limits = ["--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--cap-drop", "ALL"]
    program, *arguments = command
    return subprocess.run(
        ["docker", "run", *limits, "--user", "12345:54321", "--entrypoint", program, image, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.docker
def test_the_command_runs_for_any_user_on_a_read_only_root(image: str) -> None:
    done = in_container(image, "benchmark", "--help")
    assert done.returncode == 0, done.stderr
    assert "leaderboard" in done.stdout


@pytest.mark.docker
def test_the_trimmed_packages_still_import(image: str) -> None:
    done = in_container(
        image,
        "python",
        "-c",
        "import torch, transformers, datasets, peft, accelerate, gguf, pyarrow.parquet, scipy.stats, sklearn.metrics\n"
        "from lm_eval.models.huggingface import HFLM\n"
        "from benchmark.data.people import cities\n"
        "print(len(cities()))",
    )
    assert (done.returncode, done.stdout.strip()) == (0, "200"), done.stderr


@pytest.mark.docker
def test_any_user_can_write_results_and_cache_but_not_code(image: str) -> None:
    done = in_container(image, "sh", "-c", 'touch results/a "$HOME/b" && mkdir -p "$HF_HOME/c" && touch benchmark/d')
    assert done.returncode != 0
    assert "benchmark/d" in done.stderr
    assert "results/a" not in done.stderr
    assert "cache" not in done.stderr


@pytest.mark.docker
def test_the_image_runs_as_an_ordinary_user(image: str) -> None:
    user = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Config.User}}", image],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    assert user.split(":")[0] not in ("", "0", "root")


SENTINEL = "hf_SentinelOfTheImage0123"


@pytest.fixture
def composed(image: str, tmp_path: Path) -> Iterator[list[str]]:
    """The compose command with the image built here, in its own compose project, which is removed at the end."""
    override = tmp_path / "compose.test.yaml"
    override.write_text(yaml.safe_dump({"services": {name: {"image": image} for name in ("benchmark", "leaderboard")}}))
    project = ["--project-name", "benchmark-packaging-test", "--project-directory", str(ROOT)]
    command = ["docker", "compose", *project, "-f", str(ROOT / "compose.yaml"), "-f", str(override)]
    yield command
    subprocess.run([*command, "down", "--volumes"], check=False, capture_output=True)


def output_of(command: list[str], **environment: str) -> str:
    """Standard output of a command, which must succeed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.docker
def test_a_service_has_no_privilege_no_network_and_a_read_only_root(composed: list[str]) -> None:
    output_of([*composed, "create", "--no-build", "benchmark"], NETWORK="none")
    name = output_of([*composed, "ps", "--all", "--quiet", "benchmark"]).strip()
    (container,) = json.loads(output_of(["docker", "inspect", name]))
    settings = container["HostConfig"]
    assert settings["ReadonlyRootfs"] is True
    assert settings["CapDrop"] == ["ALL"] and not settings["CapAdd"]
    assert settings["SecurityOpt"] == ["no-new-privileges:true"]
    assert settings["NetworkMode"] == "none"
    assert settings["PidsLimit"] == 4096
    assert not settings["Privileged"] and not settings["Devices"]
    assert container["Config"]["User"] == "1000:1000"
    assert {mount["Destination"] for mount in container["Mounts"]} == {"/cache", "/app/results"}


@pytest.mark.docker
@pytest.mark.parametrize("user", ["1000:1000", "12345:54321"])
def test_a_service_can_write_to_its_volumes_and_nothing_else(composed: list[str], user: str) -> None:
    script = (
        "grep -E '^(CapEff|CapBnd|NoNewPrivs|Uid)' /proc/self/status; ls /sys/class/net;"
        "for folder in / /app /opt/venv /etc /usr; do touch $folder/x 2>/dev/null && echo wrote $folder; done;"
        "touch /tmp/x /cache/x-$(id -u) results/x-$(id -u) && echo volumes"
    )
    options = ["--rm", "--no-deps", "-T", "--user", user, "--entrypoint", "sh", "benchmark", "-c", script]
    lines = output_of([*composed, "run", *options], NETWORK="none").split("\n")
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    assert status["Uid"].split()[0] == user.split(":")[0]
    assert "lo" in lines and not any(line.startswith(("eth", "wrote")) for line in lines)
    assert "volumes" in lines


@pytest.mark.docker
def test_a_token_reaches_the_container_and_is_stored_in_no_image(composed: list[str], image: str) -> None:
    build = ["docker", "build", "--quiet", "--target", "benchmark", "--tag", image, str(ROOT)]
    output_of(build, HF_TOKEN=SENTINEL, HUGGING_FACE_HUB_TOKEN=SENTINEL)
    stored = output_of(["docker", "history", "--no-trunc", image]) + output_of(["docker", "image", "inspect", image])
    assert "BENCHMARK_COMMIT" in stored  # a variable that the image stores
    assert SENTINEL not in stored and "HF_TOKEN" not in stored
    options = ["run", "--rm", "--no-deps", "-T", "--entrypoint", "sh", "benchmark", "-c", "echo token=$HF_TOKEN"]
    assert f"token={SENTINEL}" in output_of([*composed, *options], HF_TOKEN=SENTINEL)
    assert "token=\n" in output_of([*composed, *options], HF_TOKEN="")


@pytest.mark.parametrize("file", ["compose.yaml", "compose.gpu.yaml", "Dockerfile", "Makefile", ".ci/run"])
def test_no_configuration_file_contains_a_token(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not re.search(r"(TOKEN|PASSWORD|SECRET)\w*\s*[=:]\s*\S|hf_[A-Za-z0-9]{16}", text)
    assert not re.search(r"^\s*(ARG|ENV)\s.*TOKEN", text, re.MULTILINE)
