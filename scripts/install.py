"""Install the packages that lock files pin, with the build of torch that fits the machine.

    python scripts/install.py requirements.lock requirements-dev.lock
    python scripts/install.py --torch cuda requirements.lock

On Linux the default index has the CUDA build of torch, several GB with its libraries. PyTorch publishes the CPU build
on its own index, so that index is tried first (TORCH_INDEX in the environment names another, or none if empty). If it
does not answer, torch comes from the indexes that pip is configured with.
"""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

TORCH_INDEXES = "https://download.pytorch.org/whl"


def torch_index(value: str) -> str:
    """Address of an index that is given by name ("cpu") or address; "" for none."""
    return value if not value or "://" in value else f"{TORCH_INDEXES}/{value}"


def torch_pin(locks: list[Path]) -> str:
    """Version of torch in the lock files. Raises SystemExit if they have none."""
    for lock in locks:
        for line in lock.read_text(encoding="utf-8").splitlines():
            if line.startswith("torch=="):
                return line.removeprefix("torch==")
    raise SystemExit(f"install: {', '.join(map(str, locks))}: no line torch==VERSION; add it")


def pip_install(*arguments: str) -> int:
    """Run pip install (for the interpreter in PIP_PYTHON, if set) and return its exit code."""
    return subprocess.run([sys.executable, "-m", "pip", "install", *arguments], check=False).returncode


def install_cpu_torch(version: str, index: str) -> None:
    """Install the CPU build from its index. If that fails, print so; the lock files then install torch."""
    wanted = f"torch=={version}+cpu"
    if index and pip_install("--no-deps", "--retries", "2", "--timeout", "10", "--index-url", index, wanted) == 0:
        return
    why = f"{index} gave no {wanted}" if index else "TORCH_INDEX is empty"
    print(f"install: {why}; pip takes torch=={version} from its own indexes, possibly the CUDA build", flush=True)


def main() -> None:
    """Read the command line and install; the exit code is pip's."""
    parser = argparse.ArgumentParser(description="Install the packages that lock files pin.")
    parser.add_argument("locks", nargs="+", type=Path, help="lock files to install together")
    parser.add_argument("--torch", choices=("cpu", "cuda"), default="cpu", help="build of torch (default: cpu)")
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 (this script runs before that is ensured)
        raise SystemExit(
            f"install: Python {platform.python_version()} is too old; use 3.11 or newer, as in make PYTHON=python3.12"
        )
    locks: list[Path] = options.locks
    version = torch_pin(locks)
    wanted = []
    if options.torch == "cuda":
        locks.append(locks[0].with_name("requirements-gpu.lock"))
        # "===" compares texts, so a local wheel of 2.13.0+cpu does not count as the CUDA build.
        wanted = [f"torch==={version}"]
    elif platform.system() == "Linux":
        install_cpu_torch(version, torch_index(os.environ.get("TORCH_INDEX", "cpu")))
    raise SystemExit(pip_install(*wanted, *(part for lock in locks for part in ("-r", str(lock)))))


if __name__ == "__main__":
    main()
