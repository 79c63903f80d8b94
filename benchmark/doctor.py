"""Is this machine ready? Each finding says what there is and, where something is amiss, the remedy."""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError
from benchmark.plan import find_device

SLOW = 3.0  # times as long as float32: a suite in bfloat16 is not meant for this CPU


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `remedy` is only of interest where `ok` is False."""

    what: str
    found: str
    ok: bool = True
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at device, memory, disk, Hugging Face cache, network switch and Docker; nothing is changed or sent."""
    return [_device(), _bfloat16(), _memory(), _disk(Path.cwd()), _cache(), _offline(), _docker()]


def bfloat16_slowdown() -> float:
    """How many times as long a matrix product takes on this CPU in bfloat16 as in float32.

    Below 1 where the CPU has instructions for it; hundreds where it has none.
    """
    import time

    import torch

    def seconds(dtype: torch.dtype) -> float:
        matrix = torch.ones(256, 256, dtype=dtype)
        times = []
        for _ in range(4):
            began = time.process_time()  # what else the machine does is not asked about
            torch.mm(matrix, matrix)
            times.append(time.process_time() - began)
        return min(times)

    return seconds(torch.bfloat16) / seconds(torch.float32)


def _bfloat16() -> Finding:
    try:
        ratio = bfloat16_slowdown()
    except ImportError as error:
        return Finding("bfloat16 on the CPU", str(error), False, "install the packages of requirements.lock")
    remedy = "on this CPU let suites have dtype: float32 and autocast: none"
    return Finding("bfloat16 on the CPU", f"{ratio:.1f} times the time of float32", ratio < SLOW, remedy)


def _device() -> Finding:
    try:
        device = find_device("auto")
    except (UserError, ImportError) as error:
        return Finding("device", str(error), False, "install the packages of requirements.lock")
    if device == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info()
        return Finding(
            "device", f"cuda, {torch.cuda.get_device_name()}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
        )
    driver = Path("/dev/nvidiactl").exists()
    found = f"cpu, {os.cpu_count()} cores" + (", though an NVIDIA driver is there" if driver else "")
    return Finding(
        "device",
        found,
        not driver,
        "use the CUDA build of torch: compose.gpu.yaml, or pip install torch without the CPU index",
    )


def _memory() -> Finding:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) / 2**20
    except (OSError, KeyError, ValueError):
        return Finding("memory", "not known on this system")
    return Finding(
        "memory",
        f"{free:.1f} GiB available",
        free > 2,
        "close other programs; the tiny suites need 2 GiB, others what their models take",
    )


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 2**30
    return Finding(
        "disk", f"{free:.0f} GiB free in {folder}", free > 5, "free some, or give another folder with --results"
    )


def _cache() -> Finding:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    writable = os.access(parent, os.W_OK)
    return Finding("hugging face cache", str(folder), writable, "set HF_HOME to a folder that can be written")


def _offline() -> Finding:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return Finding("hub", "HF_HUB_OFFLINE is set: only cached hub models can be used")
    token = "with a token" if os.environ.get("HF_TOKEN") else "without a token (gated models need HF_TOKEN)"
    return Finding("hub", f"allowed, {token}")


def _docker() -> Finding:
    import docker

    try:
        with contextlib.closing(docker.from_env(timeout=5)) as client:
            return Finding("docker", f"engine {client.version()['Version']}")
    except (docker.errors.DockerException, OSError):  # OSError: what its HTTP client raises when the answer stays out
        return Finding(
            "docker", "no engine answers", False, "only needed for containers: start Docker, or use make instead"
        )
