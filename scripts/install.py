"""Install the packages that lock files pin, with the build of torch that fits the machine.

    python scripts/install.py requirements.lock requirements-dev.lock
    python scripts/install.py --torch cuda requirements.lock

On Linux the torch of the default index is the CUDA build, several GB with its libraries. PyTorch publishes the CPU
build on an index of its own, so that index is asked first (TORCH_INDEX in the environment names another, or none if
empty). Where it cannot be reached, the places that pip is configured with serve.
"""

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

TORCH_INDEXES = "https://download.pytorch.org/whl"


def torch_index(value: str) -> str:
    """Address of the index that `value` means: a name ("cpu"), an address, or "" for none."""
    return value if not value or "://" in value else f"{TORCH_INDEXES}/{value}"


def torch_pin(locks: list[Path]) -> str:
    """Version of torch that the lock files pin. Raises SystemExit if they pin none."""
    for lock in locks:
        for line in lock.read_text(encoding="utf-8").splitlines():
            if line.startswith("torch=="):
                return line.removeprefix("torch==")
    raise SystemExit(f"install: none of {', '.join(map(str, locks))} has a line torch==VERSION; add it")


def pip_install(*arguments: str) -> int:
    """Run pip install (for the interpreter that PIP_PYTHON names, if set) and return its exit code."""
    return subprocess.run([sys.executable, "-m", "pip", "install", *arguments], check=False).returncode


def install_cpu_torch(version: str, index: str) -> None:
    """Install the CPU build from its index; say so where that fails, since the lock files' own line then gets torch."""
    wanted = f"torch=={version}+cpu"
    if index and pip_install("--no-deps", "--retries", "2", "--timeout", "10", "--index-url", index, wanted) == 0:
        return
    why = f"{index} gave no {wanted}" if index else "TORCH_INDEX is empty"
    print(f"install: {why}; torch=={version} will come from where pip looks by itself, maybe as CUDA build", flush=True)


def main() -> None:
    """Read the command line and install; the exit code is pip's."""
    parser = argparse.ArgumentParser(description="Install the packages that lock files pin.")
    parser.add_argument("locks", nargs="+", type=Path, help="lock files, together")
    parser.add_argument("--torch", choices=("cpu", "cuda"), default="cpu", help="build of torch (default: cpu)")
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 (the very check that the rule takes for granted)
        raise SystemExit(
            f"install: Python {platform.python_version()} is too old; 3.11 or newer: make PYTHON=python3.12"
        )
    locks: list[Path] = options.locks
    version = torch_pin(locks)
    wanted = []
    if options.torch == "cuda":
        locks.append(locks[0].with_name("requirements-gpu.lock"))
        # "===" compares as text: a wheel called 2.13.0+cpu in a local folder does not pass for the CUDA build.
        wanted = [f"torch==={version}"]
    elif platform.system() == "Linux":
        install_cpu_torch(version, torch_index(os.environ.get("TORCH_INDEX", "cpu")))
    raise SystemExit(pip_install(*wanted, *(part for lock in locks for part in ("-r", str(lock)))))


if __name__ == "__main__":
    main()
