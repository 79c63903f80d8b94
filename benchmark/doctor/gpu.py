"""Checks of NVIDIA GPUs: driver, free memory, and whether containers can use them."""

import ctypes
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.doctor.finding import Finding
from benchmark.doctor.machine import GPU_NEEDS

_NODES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # of the driver; the second under WSL
_PCI = Path("/sys/bus/pci/devices")
_NVIDIA, _DISPLAY = "0x10de", "0x03"  # PCI numbers of the vendor and of the class of display devices
_FIRST_DRIVERS = {11: "450", 12: "525", 13: "580"}  # the first driver for each CUDA version
_NO_GPU = "this machine has no NVIDIA GPU"


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi lists it: compute capability such as (8, 9), memory in GiB."""

    name: str
    driver: str
    capability: tuple[int, int]
    free: float
    total: float


def driver_fits_torch() -> Finding:
    """Whether the driver is installed, answers and is new enough for torch."""
    if not any(node.exists() for node in _NODES):
        if not _on_bus():
            return Finding("driver", _NO_GPU)
        remedy = "install the NVIDIA driver; in a container: docker run --gpus all"
        return Finding("driver", "the machine has an NVIDIA GPU, but no driver for it", False, remedy)
    try:
        gpus = ask_gpus()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        remedy = "reboot if the NVIDIA driver was just updated, or install it again"
        return Finding("driver", f"nvidia-smi does not answer ({type(error).__name__})", False, remedy)
    if not gpus:
        return Finding("driver", "nvidia-smi lists no GPU", False, "give this machine or container a GPU")
    return _compared(gpus, _cuda_of_driver(), *_torch_build())


def _compared(
    gpus: list[Gpu], driver: tuple[int, int] | None, built_for: tuple[int, int] | None, architectures: list[str]
) -> Finding:
    """Compare driver and GPUs with torch's build.

    Args:
        gpus: The GPUs of this machine.
        driver: CUDA version of the driver, if known.
        built_for: CUDA version that torch was built for; None for a CPU build.
        architectures: GPU architectures that torch was built for, such as "sm_90".
    """
    found = f"{gpus[0].driver}" + (f", CUDA {driver[0]}.{driver[1]}" if driver else "")
    if built_for is None:
        return Finding("driver", f"{found}; torch is built for the CPU")
    found += f"; torch is built for CUDA {built_for[0]}.{built_for[1]}"
    if driver and driver[0] < built_for[0]:  # all minor versions of a major version work together
        first = _FIRST_DRIVERS.get(built_for[0])
        newer = f"driver {first} or later" if first else f"a driver for CUDA {built_for[0]}"
        remedy = f"the driver is too old for this torch: install {newer}, or a torch for CUDA {driver[0]}"
        return Finding("driver", found, False, remedy)
    for gpu in gpus:
        if architectures and not _runs_on(architectures, gpu.capability):
            words = f"{found}, but not for compute capability {gpu.capability[0]}.{gpu.capability[1]} of {gpu.name}"
            return Finding("driver", words, False, "install a torch that is built for this GPU, or use another GPU")
    return Finding("driver", found)


def _runs_on(architectures: list[str], capability: tuple[int, int]) -> bool:
    """Whether code built for one of these architectures (sm_…) runs on a GPU, or can be compiled for it (compute_…)."""
    for architecture in architectures:
        form, _, number = architecture.partition("_")
        digits = "".join(letter for letter in number if letter.isdigit())  # "90a" is 90 with extensions
        if len(digits) < 2:
            continue
        version = (int(digits[:-1]), int(digits[-1]))
        if version <= capability and (form == "compute" or version[0] == capability[0]):
            return True
    return False


def gpu_memory() -> Finding:
    """Whether every GPU has memory free."""
    if not any(node.exists() for node in _NODES):
        return Finding("gpu memory", _NO_GPU)
    gpus = ask_gpus()
    free = ", ".join(f"{gpu.free:.0f} of {gpu.total:.0f} GiB free on {gpu.name}" for gpu in gpus)
    remedy = "stop other processes on the GPU (nvidia-smi lists them), or use other GPUs (gpus: in containers.yaml)"
    return Finding("gpu memory", f"{free or 'none'}; {GPU_NEEDS}", all(gpu.free > 2 for gpu in gpus), remedy)


def containers_get_gpus(engine: Mapping[str, Any] | None) -> Finding:
    """Whether containers can use the GPUs; `engine` is the information of a Docker Engine, None if none answers."""
    what = "container toolkit"
    if not (any(node.exists() for node in _NODES) or _on_bus()):
        return Finding(what, _NO_GPU)
    if engine is None:
        return Finding(what, "unknown: no Docker Engine answers")
    if "nvidia" in (engine.get("Runtimes") or {}):
        return Finding(what, "Docker has the runtime nvidia")
    devices = [str(device.get("ID")) for device in engine.get("DiscoveredDevices") or []]
    if named := [name for name in devices if name.startswith("nvidia.com/gpu")]:
        return Finding(what, f"Docker lists {len(named)} devices of nvidia.com/gpu (CDI)")
    if shutil.which("nvidia-container-runtime-hook"):
        return Finding(what, "its hook is installed")
    remedy = (
        "only needed for GPUs in containers: install the NVIDIA Container Toolkit, then "
        "`nvidia-ctk runtime configure --runtime=docker`, and restart Docker"
    )
    return Finding(what, "Docker has neither the runtime nvidia nor devices of nvidia.com/gpu", False, remedy)


def ask_gpus() -> list[Gpu]:
    """The GPUs that nvidia-smi lists.

    Raises:
        OSError, SubprocessError or ValueError: If nvidia-smi gives no list.
    """
    fields = "name,driver_version,compute_cap,memory.free,memory.total"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return [_gpu([part.strip() for part in line.split(",")]) for line in answer.stdout.splitlines() if line.strip()]


def _gpu(parts: list[str]) -> Gpu:
    name, version, capability, free, total = parts
    major, minor = capability.split(".")
    return Gpu(name, version, (int(major), int(minor)), float(free) / 1024, float(total) / 1024)


def _cuda_of_driver() -> tuple[int, int] | None:
    """The CUDA version of the driver; None if its library is missing."""
    number = ctypes.c_int(0)
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return (number.value // 1000, number.value % 1000 // 10) if number.value else None


def _torch_build() -> tuple[tuple[int, int] | None, list[str]]:
    """The CUDA version that torch was built for, None for a CPU build, and the GPU architectures."""
    import torch

    if torch.version.cuda is None:
        return None, []
    major, minor = torch.version.cuda.split(".")[:2]
    return (int(major), int(minor)), torch.cuda.get_arch_list()


def _on_bus() -> bool:
    """Whether the PCI bus has an NVIDIA GPU, with or without a driver."""
    for folder in _PCI.glob("*"):
        try:
            vendor, device_class = ((folder / name).read_text(encoding="ascii").strip() for name in ("vendor", "class"))
        except OSError:
            continue
        if vendor == _NVIDIA and device_class.startswith(_DISPLAY):
            return True
    return False
