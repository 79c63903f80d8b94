"""`benchmark doctor`: checks whether this machine is ready for a run. Each finding names its remedy.

How much memory a suite needs belongs to `memory`; checks of a suite before its first stage belong to `runs`.
"""

import os
from functools import cache, partial
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.doctor import gpu, machine, outside
from benchmark.doctor.finding import Check, Finding
from benchmark.suite.plan import find_device

SLOW = 3.0  # bfloat16 is too slow for suites where it takes this many times as long as float32
_LOADING = 180.0  # seconds for checks that load torch first
_INSTALL = "install the packages of requirements.lock"


def examine(results: Path = Path("results")) -> list[Finding]:
    """Check everything that runs need on this machine. Nothing is changed, and only the token is sent, to the hub.

    Args:
        results: Folder of the store, for the checks of disk and locks. It need not exist yet.
    """
    ask_hub, ask_engine = cache(outside.ask_hub), cache(outside.ask_engine)
    free_disk = "free some space, or give another folder with --results"
    checks = [
        Check("device", _device, _LOADING),
        Check("driver", gpu.driver_fits_torch, _LOADING),
        Check("gpu memory", gpu.gpu_memory),
        Check("bfloat16 on the CPU", _bfloat16, _LOADING),
        Check("cores", machine.usable_cores_have_time),
        Check("memory", machine.free_memory),
        Check("shared memory", machine.shared_memory),
        Check("disk", partial(machine.disk, "disk", results, 5, free_disk)),
        Check("locks", partial(machine.locks_work, results)),
        Check("hugging face cache", _hub_cache),
        Check("hub", lambda: outside.hub_answers(ask_hub())),
        Check("clock", lambda: outside.clock_is_right(ask_hub(), results)),
        Check("container toolkit", lambda: gpu.containers_get_gpus(ask_engine())),
        Check("docker", lambda: outside.docker_answers(ask_engine())),
    ]
    return [check.finding() for check in checks]


def bfloat16_slowdown() -> float:
    """How many times as long a matrix product takes in bfloat16 as in float32 on this CPU.

    It is below 1 if the CPU has instructions for bfloat16, and can be hundreds if it has not.
    """
    import time

    import torch

    def seconds(dtype: torch.dtype) -> float:
        matrix = torch.ones(256, 256, dtype=dtype)
        times = []
        for _ in range(4):
            started = time.process_time()  # leaves out the time of other processes
            torch.mm(matrix, matrix)
            times.append(time.process_time() - started)
        return min(times)

    return seconds(torch.bfloat16) / seconds(torch.float32)


def _bfloat16() -> Finding:
    try:
        ratio = bfloat16_slowdown()
    except ImportError as error:
        return Finding("bfloat16 on the CPU", str(error), False, _INSTALL)
    remedy = "set dtype: float32 and autocast: none in suites that run on this CPU"
    return Finding("bfloat16 on the CPU", f"{ratio:.1f} times the time of float32", ratio < SLOW, remedy)


def _device() -> Finding:
    try:
        device = find_device("auto")
    except (UserError, ImportError) as error:
        return Finding("device", str(error), False, _INSTALL)
    if device == "cuda":
        import torch

        free, total = torch.cuda.mem_get_info()
        return Finding(
            "device", f"cuda, {torch.cuda.get_device_name()}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
        )
    driver = Path("/dev/nvidiactl").exists()
    found = f"cpu, {os.cpu_count()} cores" + (", although an NVIDIA driver is installed" if driver else "")
    return Finding(
        "device",
        found,
        not driver,
        "use the CUDA build of torch: run in compose.gpu.yaml, or pip install torch without the CPU index",
    )


def _hub_cache() -> Finding:
    from huggingface_hub import constants

    remedy = "set HF_HOME to a writable folder with free space"
    return machine.disk("hugging face cache", Path(constants.HF_HUB_CACHE), 2, remedy)
