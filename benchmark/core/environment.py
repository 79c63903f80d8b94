"""What a stage ran on: code, packages and device. torch is imported only to name a GPU."""

import hashlib
import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmark import NAME, ROOT, __version__
from benchmark.core.files import file_hash

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "lm_eval",
    "peft",
    "accelerate",
    "safetensors",
    "nltk",
    "sentencex",
    "wn",
    "numpy",
    "pyarrow",
    "gguf",
    "bitsandbytes",
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Environment(_Strict):
    """Code, packages and device that a stage ran with.

    Attributes:
        code: Name of the program; None in records from before it had a name.
        benchmark_version: Version of this project.
        code_hash: See `code_hash`.
        commit: The git commit; None outside a git checkout.
        dirty: Whether tracked files differ from the commit; None where that is unknown.
        python: Version of Python.
        packages: Version of each package that results can depend on.
        platform: System and processor architecture.
        device: Name of the CPU or GPU.
        threads: Threads of torch on the CPU.
    """

    code: str | None = None
    benchmark_version: str
    code_hash: str
    commit: str | None
    dirty: bool | None
    python: str
    packages: dict[str, str]
    platform: str
    device: str
    threads: int


class Cost(_Strict):
    """Time and memory that a stage took: peak memory of the process on a CPU, of torch's CUDA memory on a GPU."""

    seconds: float
    peak_memory_bytes: int


def environment(device: str, threads: int) -> Environment:
    """The environment of this process, on the device "cpu" or "cuda"."""
    commit, dirty = _commit()
    return Environment(
        code=NAME,
        benchmark_version=__version__,
        code_hash=code_hash(),
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        packages=_packages(),
        platform=f"{platform.system()} {platform.machine()}",
        device=_device_name(device),
        threads=threads,
    )


@cache
def code_hash() -> str:
    """SHA-256 over the Python files of benchmark/ and tasks/."""
    digest = hashlib.sha256()
    package = ROOT / "benchmark"
    # In a checkout benchmark/tasks is a link, which rglob does not follow; in a wheel it is a folder, which it does.
    for file in sorted({*package.rglob("*.py"), *(package / "tasks").rglob("*.py")}):
        digest.update(f"{file.relative_to(ROOT)}:{file_hash(file)};".encode())
    return digest.hexdigest()


@cache
def _packages() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@cache
def _commit() -> tuple[str | None, bool | None]:
    """The git commit, and whether tracked files differ from it; in an image, the commit that it was built from."""
    if commit := os.environ.get("BENCHMARK_COMMIT"):
        return commit, None
    try:
        _git("ls-files", "--error-unmatch", __file__)  # fails if installed inside another project's checkout
        return _git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@cache
def _device_name(device: str) -> str:
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
