"""Checks of cores, memory, disks and locks, as far as this process may use them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmark.core.environment import usable_cores
from benchmark.core.errors import UserError
from benchmark.core.files import locked
from benchmark.doctor.finding import Finding

_CGROUPS = Path("/sys/fs/cgroup")
_SHM = Path("/dev/shm")
# Peaks of stages in the committed records, rounded up; for the paper's suites the memory that the suites name.
NEEDS = "a worker needs 1 GiB for the tiny suites, 5 GiB for those of SmolLM2"
GPU_NEEDS = "the tiny suites need 1 GiB, those of SmolLM2 5 GiB, those of the paper 80 GB"
_LEAST_SHM = 60 * 2**20  # bytes; containers have 64 MB by default


def usable_cores_have_time() -> Finding:
    """Whether a control group allows as much CPU time as this process has cores, since runs count on all of them."""
    usable = usable_cores()
    found = f"{usable} of {os.cpu_count()} usable"
    quotas = [int(quota) / int(period) for quota, period in map(str.split, _limits("cpu.max")) if quota != "max"]
    if not quotas:
        return Finding("cores", found)
    most = min(quotas)
    remedy = f"runs start a worker for every usable core; give them --workers {max(1, int(most))}"
    return Finding("cores", f"{found}, limited to the time of {most:g} by a control group", most >= usable, remedy)


def free_memory() -> Finding:
    """Whether memory is free, within the limit of a control group."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) / 2**20
    except (OSError, KeyError, ValueError):
        return Finding("memory", "unknown on this system")
    limits = [int(limit) / 2**30 for limit in _limits("memory.max") if limit.strip() != "max"]
    limited = f", limited to {min(limits):.1f} GiB by a control group" if limits else ""
    return Finding(
        "memory",
        f"{free:.1f} GiB available{limited}; {NEEDS}",
        min([free, *limits]) > 2,
        "close other programs or raise the limit; the tiny suites need 2 GiB, others more",
    )


def shared_memory() -> Finding:
    """Whether there is shared memory, which holds the locks of the workers' queue and tensors that torch passes on."""
    if not _SHM.is_dir():
        return Finding("shared memory", f"no {_SHM} on this system")
    free = shutil.disk_usage(_SHM).free
    found = f"{free / 2**20:,.0f} MiB free in {_SHM}"
    if not os.access(_SHM, os.W_OK):
        return Finding("shared memory", f"{_SHM} cannot be written", False, "mount it writable; workers need it")
    return Finding(
        "shared memory",
        found,
        free >= _LEAST_SHM,
        "give the container more: --shm-size 1g with docker, shm_size: 1g in compose files",
    )


def disk(what: str, folder: Path, least: float, remedy: str) -> Finding:
    """Whether a folder, or the nearest existing folder above it, is writable and has more than `least` GiB free."""
    existing = nearest_folder(folder)
    free = shutil.disk_usage(existing).free / 2**30
    found = f"{free:.0f} GiB free in {folder}"
    if not os.access(existing, os.W_OK):
        return Finding(what, f"{found}, which cannot be written", False, remedy)
    return Finding(what, found, free > least, remedy)


def locks_work(results: Path) -> Finding:
    """Whether the file system of the results has locks, which keep two runs from doing the same work at once."""
    folder = nearest_folder(results)
    remedy = "give a folder on another file system with --results"
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            path = Path(file.name)
            with locked(path, wait=False) as first, locked(path, wait=False) as second:
                works = first and not second
    except UserError as error:
        return Finding("locks", str(error).split(";")[0], False, remedy)
    except OSError as error:
        return Finding("locks", f"could not be tried: {folder}: no file can be made ({error.strerror})", False, remedy)
    found = "work" if works else "do not work: two runs would do the same work and damage it"
    return Finding("locks", f"{found}, in {folder}", works, remedy)


def nearest_folder(folder: Path) -> Path:
    """The folder itself, or the nearest existing folder above it."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def _limits(file: str) -> Iterator[str]:
    """The content of a file in this process's control group and in all groups around it (version 2)."""
    try:
        own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        own = "/"
    innermost = _CGROUPS / own.lstrip("/")
    for folder in (innermost, *innermost.parents):
        if folder.is_relative_to(_CGROUPS) and (folder / file).is_file():
            yield (folder / file).read_text(encoding="ascii")
