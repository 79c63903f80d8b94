"""The doctor: every check with good and bad answers of the system. No check hangs, crashes or shows a secret."""

import email.message
import errno
import http.server
import io
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from benchmark.doctor import gpu, machine, outside
from benchmark.doctor.finding import Check, Finding
from benchmark.doctor.outside import Answer

SMI = "NVIDIA A100-SXM4-80GB, 550.54.15, 8.0, 70000, 81920\nNVIDIA A100-SXM4-80GB, 550.54.15, 8.0, 1000, 81920\n"
TOKEN = "hf_" + "secret" * 6


# --- checks in general


def test_a_check_that_hangs_is_given_up() -> None:
    over = threading.Event()
    began = time.monotonic()
    finding = Check("disk", lambda: Finding("disk", "late", over.wait(60)), 0.1).finding()
    over.set()
    assert time.monotonic() - began < 30
    assert (finding.what, finding.ok, finding.found) == ("disk", False, "no answer within 0.1 s")


def test_a_check_that_fails_gives_a_finding_of_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    def crash() -> Finding:
        raise KeyError(f"a\x1b[2J\nb {TOKEN}")

    finding = Check("hub", crash).finding()
    assert not finding.ok and finding.found.startswith("the check failed (KeyError: ")
    assert not set(finding.found) & set("\x1b\n") and TOKEN not in finding.found


# --- the driver


@pytest.fixture
def nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets up a GPU: the driver's device node, nvidia-smi's answer, the driver's CUDA version, torch's build."""
    monkeypatch.setattr(gpu, "_PCI", tmp_path / "pci")
    monkeypatch.setattr(gpu, "_NODES", (tmp_path / "nvidiactl",))

    def set_up(
        node: bool = True,
        smi: str | Exception = SMI,
        driver_cuda: tuple[int, int] | None = (12, 4),
        built: tuple[int, int] | None = (12, 8),
        kinds: tuple[str, ...] = ("sm_75", "sm_80", "sm_90", "compute_120"),
    ) -> None:
        def answer(command: list[str], **options: Any) -> Any:
            assert command[0] == "nvidia-smi" and options["timeout"] <= 30
            if isinstance(smi, Exception):
                raise smi
            return SimpleNamespace(stdout=smi)

        if node:
            (tmp_path / "nvidiactl").touch()
        monkeypatch.setattr(subprocess, "run", answer)
        monkeypatch.setattr(gpu, "_cuda_of_driver", lambda: driver_cuda)
        monkeypatch.setattr(gpu, "_torch_build", lambda: (built, list(kinds)))

    return set_up


def on_bus(tmp_path: Path, maker: str, kind: str) -> None:
    (tmp_path / "pci/0000:01:00.0").mkdir(parents=True)
    (tmp_path / "pci/0000:01:00.0/vendor").write_text(f"{maker}\n")
    (tmp_path / "pci/0000:01:00.0/class").write_text(f"{kind}\n")


def test_a_driver_that_fits_torch_is_shown_with_both_versions(nvidia: Callable[..., None]) -> None:
    nvidia()
    assert gpu.driver_fits_torch() == Finding("driver", "550.54.15, CUDA 12.4; torch is built for CUDA 12.8")


def test_for_a_driver_too_old_for_torch_the_remedy_names_the_first_that_fits(nvidia: Callable[..., None]) -> None:
    nvidia(driver_cuda=(11, 8))
    finding = gpu.driver_fits_torch()
    assert not finding.ok and finding.found == "550.54.15, CUDA 11.8; torch is built for CUDA 12.8"
    assert finding.remedy == "the driver is too old for this torch: install driver 525 or later, or a torch for CUDA 11"
    nvidia(driver_cuda=(12, 4), built=(13, 0))
    assert not gpu.driver_fits_torch().ok and "580 or later" in gpu.driver_fits_torch().remedy
    nvidia(driver_cuda=(13, 0), built=(14, 0))
    assert not gpu.driver_fits_torch().ok and "a driver for CUDA 14" in gpu.driver_fits_torch().remedy


def test_a_newer_driver_and_a_torch_for_the_cpu_are_in_order(nvidia: Callable[..., None]) -> None:
    nvidia(driver_cuda=(13, 0))
    assert gpu.driver_fits_torch().ok
    nvidia(built=None, kinds=())
    assert gpu.driver_fits_torch() == Finding("driver", "550.54.15, CUDA 12.4; torch is built for the CPU")


@pytest.mark.parametrize(
    ("capability", "kinds", "runs"),
    [
        ("8.0", ("sm_80",), True),
        ("8.9", ("sm_80",), True),
        ("6.1", ("sm_75", "sm_80", "compute_90"), False),
        ("12.0", ("sm_90",), False),
        ("12.0", ("sm_90", "compute_90"), True),
        ("9.0", ("sm_90a",), True),
        ("10.3", ("sm_100",), True),
        ("10.0", ("sm_103",), False),
    ],
)
def test_a_gpu_that_torch_was_not_built_for_is_named(
    nvidia: Callable[..., None], capability: str, kinds: tuple[str, ...], runs: bool
) -> None:
    nvidia(smi=SMI.replace("8.0", capability), kinds=kinds)
    finding = gpu.driver_fits_torch()
    assert finding.ok == runs
    if not runs:
        assert f"compute capability {capability} of NVIDIA A100-SXM4-80GB" in finding.found and finding.remedy


@pytest.mark.parametrize(
    "smi",
    [
        FileNotFoundError(errno.ENOENT, "none"),
        subprocess.CalledProcessError(9, "nvidia-smi"),
        subprocess.TimeoutExpired("nvidia-smi", 20),
        "Failed to initialize NVML: Driver/library version mismatch\n",
    ],
)
def test_a_driver_is_not_in_order_if_nvidia_smi_does_not_answer(nvidia: Callable[..., None], smi: Any) -> None:
    nvidia(smi=smi)
    finding = gpu.driver_fits_torch()
    assert not finding.ok and finding.found.startswith("nvidia-smi does not answer (") and "driver" in finding.remedy
    assert not Check("gpu memory", gpu.gpu_memory).finding().ok


def test_a_machine_without_a_gpu_is_in_order_and_a_gpu_without_a_driver_is_not(
    nvidia: Callable[..., None], tmp_path: Path
) -> None:
    nvidia(node=False)
    assert gpu.driver_fits_torch() == Finding("driver", "this machine has no NVIDIA GPU") and gpu.gpu_memory().ok
    on_bus(tmp_path, "0x10de", "0x040300")  # its sound
    assert gpu.driver_fits_torch().ok
    (tmp_path / "pci/0000:01:00.0/class").write_text("0x030200\n")
    assert not gpu.driver_fits_torch().ok and "install the NVIDIA driver" in gpu.driver_fits_torch().remedy


def test_the_free_memory_of_every_gpu_is_shown(nvidia: Callable[..., None]) -> None:
    nvidia()
    finding = gpu.gpu_memory()
    assert finding.found.startswith("68 of 80 GiB free on NVIDIA A100-SXM4-80GB, 1 of 80 GiB free on NVIDIA A100-")
    assert "those of the paper 80 GB" in finding.found and not finding.ok and "nvidia-smi" in finding.remedy
    nvidia(smi=SMI.splitlines()[0])
    assert gpu.gpu_memory().ok


@pytest.mark.parametrize(
    ("engine", "ok", "found"),
    [
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, True, "runtime nvidia"),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}, True, "CDI"),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"ID": "vendor.com/nic=0"}]}, False, "neither"),
        ({"Runtimes": None, "DiscoveredDevices": None}, False, "neither"),
        ({}, False, "neither"),
        (None, True, "no Docker Engine answers"),
    ],
)
def test_containers_need_the_toolkit_for_gpus(
    nvidia: Callable[..., None], monkeypatch: pytest.MonkeyPatch, engine: Any, ok: bool, found: str
) -> None:
    nvidia()
    monkeypatch.setattr("shutil.which", lambda name: None)
    finding = gpu.containers_get_gpus(engine)
    assert finding.ok == ok and found in finding.found
    assert ok or "nvidia-ctk runtime configure" in finding.remedy


def test_the_toolkits_hook_is_enough_and_without_a_gpu_nothing_is_needed(
    nvidia: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvidia()
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert gpu.containers_get_gpus({}).ok
    (tmp_path / "nvidiactl").unlink()
    assert gpu.containers_get_gpus({}) == Finding("container toolkit", "this machine has no NVIDIA GPU")


# --- the machine


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Sets a limit of the control group that the process is in."""
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    own = next((line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")), "/")
    folder = Path(os.path.normpath(tmp_path / "cgroup" / own.lstrip("/")))

    def limit(file: str, value: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(f"{value}\n")

    return limit


def test_a_control_group_with_less_time_than_cores_is_reported(
    group: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert machine.usable_cores_have_time() == Finding("cores", "8 of 16 usable")
    group("cpu.max", "max 100000")
    assert machine.usable_cores_have_time().ok
    group("cpu.max", "250000 100000")
    finding = machine.usable_cores_have_time()
    assert not finding.ok and finding.found == "8 of 16 usable, limited to the time of 2.5 by a control group"
    assert finding.remedy.endswith("give them --workers 2")
    group("cpu.max", "900000 100000")
    assert machine.usable_cores_have_time().ok


def test_memory_is_limited_by_what_is_available_and_by_the_control_group(
    group: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_text

    def available(kilobytes: int) -> None:
        def told(path: Path, *rest: Any, **options: Any) -> str:
            if str(path) == "/proc/meminfo":
                return f"MemTotal: 33554432 kB\nMemAvailable:   {kilobytes} kB\n"
            return read(path, *rest, **options)

        monkeypatch.setattr(Path, "read_text", told)

    available(8 * 2**20)
    assert machine.free_memory().ok and machine.free_memory().found.startswith(
        "8.0 GiB available; a worker needs 1 GiB for the tiny"
    )
    group("memory.max", "max")
    assert machine.free_memory().ok
    group("memory.max", str(2**30))
    assert not machine.free_memory().ok and "limited to 1.0 GiB by a control group" in machine.free_memory().found
    group("memory.max", str(16 * 2**30))
    available(2**20)
    assert not machine.free_memory().ok and machine.free_memory().remedy


def free(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=size))


def test_shared_memory_has_to_be_writable_and_large_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_SHM", tmp_path)
    free(monkeypatch, 64 * 2**20)
    assert machine.shared_memory() == Finding(
        "shared memory",
        f"64 MiB free in {tmp_path}",
        True,
        "give the container more: --shm-size 1g with docker, shm_size: 1g in compose files",
    )
    free(monkeypatch, 2**20)
    assert not machine.shared_memory().ok
    free(monkeypatch, 2**40)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not machine.shared_memory().ok and "cannot be written" in machine.shared_memory().found
    monkeypatch.setattr(machine, "_SHM", tmp_path / "nowhere")
    assert machine.shared_memory().ok


def test_a_disk_has_to_be_writable_and_have_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free(monkeypatch, 40 * 2**30)
    folder = tmp_path / "not" / "there" / "yet"
    assert machine.disk("disk", folder, 5, "free some") == Finding(
        "disk", f"40 GiB free in {folder}", True, "free some"
    )
    free(monkeypatch, 4 * 2**30)
    assert not machine.disk("disk", folder, 5, "free some").ok
    free(monkeypatch, 40 * 2**30)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert not machine.disk("disk", folder, 5, "free some").ok
    assert not folder.parent.exists()


def test_locks_are_tried_and_no_file_is_left(tmp_path: Path) -> None:
    finding = machine.locks_work(tmp_path / "results")
    assert finding.ok and finding.found == f"work, in {tmp_path}" and list(tmp_path.iterdir()) == []


def test_missing_broken_and_untried_locks_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", without)
    finding = machine.locks_work(tmp_path)
    assert not finding.ok and "has no locks (No locks available)" in finding.found and "--results" in finding.remedy
    monkeypatch.setattr("fcntl.flock", lambda descriptor, how: None)
    assert not machine.locks_work(tmp_path).ok and "do not work" in machine.locks_work(tmp_path).found

    def refused(**options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refused)
    assert not machine.locks_work(tmp_path).ok and "Read-only file system" in machine.locks_work(tmp_path).found


# --- the hub and the clock


class Redirecting(http.server.BaseHTTPRequestHandler):
    """A hub that redirects every request, and records the requests."""

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(200 if self.path == "/there" else 302)
        self.send_header("Location", "/there")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


def test_a_token_goes_to_the_hub_and_not_where_it_redirects(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: TOKEN)
    answer = outside.ask_hub()
    finding = outside.hub_answers(answer)
    server.shutdown()
    server.server_close()
    assert answer is not None and answer.clock == pytest.approx(time.time(), abs=60)
    assert finding == Finding("hub", "answers, with a token that could not be checked")
    assert [(path.strip("/"), token) for path, token in Redirecting.asked] == [
        ("", None),
        ("api/whoami-v2", f"Bearer {TOKEN}"),
    ]


class Hub:
    """Stands in for the hub: answers with a status and a date, or not at all, and records the requests."""

    def __init__(self, status: int = 200, date: str | None = None, failure: Exception | None = None) -> None:
        self.status, self.date, self.failure = status, date, failure
        self.asked: list[urllib.request.Request] = []

    def open(self, request: urllib.request.Request, timeout: float) -> Any:
        assert 0 < timeout <= 10
        self.asked.append(request)
        if self.failure:
            raise self.failure
        headers = email.message.Message()
        if self.date:
            headers["Date"] = self.date
        if self.status != 200 and request.get_method() == "GET":
            raise urllib.error.HTTPError(request.full_url, self.status, f"no: {TOKEN}", headers, io.BytesIO())
        return opened(headers)


@contextmanager
def opened(headers: Any) -> Iterator[Any]:
    yield SimpleNamespace(status=200, headers=headers)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hub]:
    """Sets up the hub, with or without a token."""
    from huggingface_hub import constants

    def set_up(token: str | None = None, offline: bool = False, **how: Any) -> Hub:
        made = Hub(**how)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(urllib.request, "build_opener", lambda *handlers: made)
        monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
        return made

    return set_up


def test_the_hub_is_not_asked_in_offline_mode(asked: Callable[..., Hub], tmp_path: Path) -> None:
    hub = asked(offline=True, token=TOKEN)
    answer = outside.ask_hub()
    assert (
        answer is None
        and outside.hub_answers(answer).ok
        and "HF_HUB_OFFLINE is set" in outside.hub_answers(answer).found
    )
    assert outside.clock_is_right(answer, tmp_path).ok and hub.asked == []


@pytest.mark.parametrize(
    ("token", "status", "ok", "found"),
    [
        (None, 200, True, "answers, without a token (gated models need HF_TOKEN)"),
        (TOKEN, 200, True, "answers, with a token that it accepts"),
        (TOKEN, 401, False, "answers, with a token that it rejects (401)"),
        (TOKEN, 403, False, "answers, with a token that it rejects (403)"),
        (TOKEN, 503, True, "answers, with a token that could not be checked"),
        (TOKEN, 302, True, "answers, with a token that could not be checked"),
    ],
)
def test_a_token_is_checked_and_never_shown(
    asked: Callable[..., Hub], token: str | None, status: int, ok: bool, found: str
) -> None:
    hub = asked(token=token, status=status)
    finding = outside.hub_answers(outside.ask_hub())
    assert (finding.ok, finding.found) == (ok, found) and TOKEN not in repr(finding)
    assert ok or "HF_TOKEN" in finding.remedy
    sent = [request.get_header("Authorization") for request in hub.asked]
    assert sent == ([None, f"Bearer {token}"] if token else [None])


def test_a_hub_that_does_not_answer_matters_only_for_hub_models(asked: Callable[..., Hub]) -> None:
    asked(token=TOKEN, failure=urllib.error.URLError(f"no route to https://me:word@host {TOKEN}"))
    finding = outside.hub_answers(outside.ask_hub())
    assert not finding.ok and finding.found.startswith("does not answer (URLError: ")
    assert finding.found.endswith(", with a token")
    assert finding.remedy.startswith("only needed for models and data of the hub")
    assert TOKEN not in repr(finding) and "word@" not in repr(finding)


def test_an_error_that_quotes_the_token_is_not_shown(
    asked: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = asked(token=TOKEN)
    answer = outside.ask_hub()
    hub.failure = ValueError(f"Invalid header value {TOKEN}")
    finding = outside.hub_answers(answer)
    assert finding.found == "answers, with a token that could not be checked"


def test_only_web_addresses_are_opened(asked: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    hub = asked()
    monkeypatch.setattr(constants, "ENDPOINT", "file:///etc/passwd")
    assert not outside.hub_answers(outside.ask_hub()).ok and hub.asked == []


@pytest.mark.parametrize(
    ("ahead", "ok", "words"), [(5, True, "ahead of"), (3600, False, "ahead of"), (-3600, False, "behind")]
)
def test_the_clock_is_compared_with_the_hubs(
    asked: Callable[..., Hub], tmp_path: Path, ahead: float, ok: bool, words: str
) -> None:
    asked(date=formatdate(time.time() - ahead, usegmt=True))
    finding = outside.clock_is_right(outside.ask_hub(), tmp_path)
    assert finding.ok == ok and f" s {words} the hub's" in finding.found and "timedatectl" in finding.remedy


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_without_the_hubs_date_the_clock_is_compared_with_the_file_system(
    asked: Callable[..., Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, date: str | None
) -> None:
    asked(date=date)
    answer = outside.ask_hub()
    assert answer is not None
    finding = outside.clock_is_right(answer, tmp_path / "results")
    assert finding.ok and finding.found.endswith("the file system's (no other clock answers)")
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 1000)
    assert not outside.clock_is_right(answer, tmp_path).ok
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_from_the_future_shows_that_the_clock_is_behind(tmp_path: Path) -> None:
    manifest = tmp_path / "store/train/abc/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    os.utime(manifest, (time.time() + 86400, time.time() + 86400))
    finding = outside.clock_is_right(Answer(failure="x"), tmp_path)
    assert not finding.ok and finding.found.endswith("behind the date of the newest artifact")


def test_a_clock_without_another_to_compare_with_is_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**options: Any) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refused)
    assert outside.clock_is_right(None, tmp_path) == Finding("clock", "no other clock answers")


# --- Docker


def test_an_engine_is_shown_with_the_room_for_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 50 * 2**30)
    told = {"ServerVersion": "28.2", "DockerRootDir": "/var/lib/docker"}
    assert outside.docker_answers(told).ok
    assert outside.docker_answers(told).found == "engine 28.2, 50 GiB free in /var/lib/docker"
    free(monkeypatch, 3 * 2**30)
    assert not outside.docker_answers(told).ok and "docker system prune" in outside.docker_answers(told).remedy


def test_the_disk_of_an_engine_on_another_machine_is_not_checked() -> None:
    told = {"ServerVersion": "28.2", "DockerRootDir": "/no/such/root"}
    assert outside.docker_answers(told) == Finding("docker", "engine 28.2")
    assert not outside.docker_answers(None).ok
