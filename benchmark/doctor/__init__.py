"""`benchmark doctor`: checks whether this machine is ready for a run. Each finding names its remedy.

How much memory a suite needs belongs to `memory`; checks of a suite before its first stage belong to `run`.
"""

import os
from functools import cache, partial
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.doctor import gpu, machine, outside
from benchmark.doctor.finding import Check, Finding
from benchmark.suite.plan import find_device

SLOW = 3.0  # times as long as float32: a suite in bfloat16 is not meant for this CPU
_LOADING = 180.0  # seconds; torch is loaded first
_INSTALL = "install the packages of requirements.lock"


def examine(results: Path = Path("results")) -> list[Finding]:
    """Look at what runs need here; nothing is changed, and nothing but the token, to the hub, is sent.

    Args:
        results: folder of the store, whose disk and locks are looked at; it need not be there yet.
    """
    ask_hub, ask_engine = cache(outside.ask_hub), cache(outside.ask_engine)
    disk = "free some, or give another folder with --results"
    checks = [
        Check("device", _device, _LOADING),
        Check("driver", gpu.driver, _LOADING),
        Check("gpu memory", gpu.memory),
        Check("bfloat16 on the CPU", _bfloat16, _LOADING),
        Check("cores", machine.cores),
        Check("memory", machine.memory),
        Check("shared memory", machine.shared_memory),
        Check("disk", partial(machine.disk, "disk", results, 5, disk)),
        Check("locks", partial(machine.locks, results)),
        Check("hugging face cache", _cache),
        Check("hub", lambda: outside.hub(ask_hub())),
        Check("clock", lambda: outside.clock(ask_hub(), results)),
        Check("container toolkit", lambda: gpu.toolkit(ask_engine())),
        Check("docker", lambda: outside.engine(ask_engine())),
    ]
    return [check.finding() for check in checks]


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
        return Finding("bfloat16 on the CPU", str(error), False, _INSTALL)
    remedy = "on this CPU let suites have dtype: float32 and autocast: none"
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
    found = f"cpu, {os.cpu_count()} cores" + (", though an NVIDIA driver is there" if driver else "")
    return Finding(
        "device",
        found,
        not driver,
        "use the CUDA build of torch: compose.gpu.yaml, or pip install torch without the CPU index",
    )


def _cache() -> Finding:
    from huggingface_hub import constants

    remedy = "set HF_HOME to a folder that can be written and has room"
    return machine.disk("hugging face cache", Path(constants.HF_HUB_CACHE), 2, remedy)
