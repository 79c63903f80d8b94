"""Cores, memory, disks and locks of this machine, or as much of them as this process may use."""

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
# Peaks of a stage in the committed records, rounded up; those of the paper's suites are what the suites say.
NEEDS = "a worker of the tiny suites takes 1 GiB, of SmolLM2's 5 GiB"
GPU_NEEDS = "the tiny suites take 1 GiB, SmolLM2's 5 GiB, the paper's 80 GB"
_LEAST_SHM = 60 * 2**20  # bytes; containers have 64 MB where nothing else is said


def cores() -> Finding:
    """Those that runs count on, and whether a control group allows as much time."""
    usable = usable_cores()
    found = f"{usable} of {os.cpu_count()} usable"
    quotas = [int(quota) / int(period) for quota, period in map(str.split, _limits("cpu.max")) if quota != "max"]
    if not quotas:
        return Finding("cores", found)
    most = min(quotas)
    remedy = f"runs start a worker for every usable core: give --workers {max(1, int(most))}"
    return Finding("cores", f"{found}, the time of {most:g} by a control group", most >= usable, remedy)


def memory() -> Finding:
    """What is available, by the system or by the control group, whichever gives less."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) / 2**20
    except (OSError, KeyError, ValueError):
        return Finding("memory", "not known on this system")
    limits = [int(limit) / 2**30 for limit in _limits("memory.max") if limit.strip() != "max"]
    limited = f", limited to {min(limits):.1f} GiB by a control group" if limits else ""
    return Finding(
        "memory",
        f"{free:.1f} GiB available{limited}; {NEEDS}",
        min([free, *limits]) > 2,
        "close other programs or raise the limit; the tiny suites need 2 GiB, others what their models take",
    )


def shared_memory() -> Finding:
    """What processes share: locks of the workers' queue lie there, and tensors that torch passes on."""
    if not _SHM.is_dir():
        return Finding("shared memory", f"no {_SHM} on this system")
    free = shutil.disk_usage(_SHM).free
    found = f"{free / 2**20:,.0f} MiB free in {_SHM}"
    if not os.access(_SHM, os.W_OK):
        return Finding("shared memory", f"{_SHM} cannot be written", False, "mount it writable: workers need it")
    return Finding("shared memory", found, free >= _LEAST_SHM, "give a container more: --shm-size 1g, shm_size: 1g")


def disk(what: str, folder: Path, least: float, remedy: str) -> Finding:
    """Whether there are so many GiB in a folder, or in what it will be made in, and it can be written."""
    place = nearest_folder(folder)
    free = shutil.disk_usage(place).free / 2**30
    found = f"{free:.0f} GiB free in {folder}"
    if not os.access(place, os.W_OK):
        return Finding(what, f"{found}, which cannot be written", False, remedy)
    return Finding(what, found, free > least, remedy)


def locks(results: Path) -> Finding:
    """Whether the file system of the results keeps two processes from doing the same at once."""
    place = nearest_folder(results)
    remedy = "give a folder on another file system with --results"
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as file:
            path = Path(file.name)
            with locked(path, wait=False) as first, locked(path, wait=False) as second:
                works = first and not second
    except UserError as error:
        return Finding("locks", str(error).split(";")[0], False, remedy)
    except OSError as error:
        return Finding("locks", f"{place}: no file can be made there to try ({error.strerror})", False, remedy)
    found = "work" if works else "hold nobody off: two runs would do the same work and spoil it"
    return Finding("locks", f"{found}, in {place}", works, remedy)


def nearest_folder(folder: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def _limits(file: str) -> Iterator[str]:
    """What a file says in this process's control group and in those around it (version 2)."""
    try:
        own = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        own = "/"
    here = _CGROUPS / own.lstrip("/")
    for folder in (here, *here.parents):
        if folder.is_relative_to(_CGROUPS) and (folder / file).is_file():
            yield (folder / file).read_text(encoding="ascii")
