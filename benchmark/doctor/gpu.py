"""NVIDIA GPUs: is the driver there, is it new enough for this torch, is there memory, can containers have them?"""

import ctypes
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.doctor.finding import Finding
from benchmark.doctor.machine import GPU_NEEDS

_NODES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))  # the second under WSL
_PCI = Path("/sys/bus/pci/devices")
_NVIDIA, _DISPLAY = "0x10de", "0x03"  # a maker and a class of devices
_FIRST_DRIVERS = {11: "450", 12: "525", 13: "580"}  # of a CUDA version
_NONE = "no NVIDIA GPU here"


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi tells of it: compute capability as (8, 9), memory in GiB."""

    name: str
    driver: str
    capability: tuple[int, int]
    free: float
    total: float


def driver() -> Finding:
    """Whether there is one, and torch and it fit each other."""
    if not any(node.exists() for node in _NODES):
        if not _on_bus():
            return Finding("driver", _NONE)
        remedy = "install the NVIDIA driver; in a container: docker run --gpus all"
        return Finding("driver", "an NVIDIA GPU is on the bus, and no driver for it", False, remedy)
    try:
        gpus = ask_gpus()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        remedy = "install the NVIDIA driver anew, or reboot if it was just updated"
        return Finding("driver", f"nvidia-smi gives no answer ({type(error).__name__})", False, remedy)
    if not gpus:
        return Finding("driver", "nvidia-smi lists no GPU", False, "see that a GPU is given to this machine")
    return _fits(gpus, _cuda_of_driver(), *_torch_build())


def _fits(gpus: list[Gpu], speaks: tuple[int, int] | None, built: tuple[int, int] | None, kinds: list[str]) -> Finding:
    """Driver and GPUs against what torch was built for: a version of CUDA, and kinds of GPU as "sm_90"."""
    found = f"{gpus[0].driver}" + (f", CUDA {speaks[0]}.{speaks[1]}" if speaks else "")
    if built is None:
        return Finding("driver", f"{found}; torch is a build for the CPU")
    found += f"; torch is built for CUDA {built[0]}.{built[1]}"
    if speaks and speaks[0] < built[0]:  # within a major version all minor ones go together
        first = _FIRST_DRIVERS.get(built[0])
        newer = f"a driver of {first} or later" if first else f"a driver of CUDA {built[0]}"
        remedy = f"too old for this torch: install {newer}, or a torch for CUDA {speaks[0]}"
        return Finding("driver", found, False, remedy)
    for gpu in gpus:
        if kinds and not _runs_on(kinds, gpu.capability):
            words = f"{found}, not for the compute capability {gpu.capability[0]}.{gpu.capability[1]} of {gpu.name}"
            return Finding("driver", words, False, "install a torch built for this GPU, or use another one")
    return Finding("driver", found)


def _runs_on(kinds: list[str], capability: tuple[int, int]) -> bool:
    """Whether one of the kinds that code was built for is that of a GPU (sm_…), or can be made into it (compute_…)."""
    for kind in kinds:
        form, _, number = kind.partition("_")
        digits = "".join(letter for letter in number if letter.isdigit())  # 90a is 90, with more
        if len(digits) < 2:
            continue
        made_for = (int(digits[:-1]), int(digits[-1]))
        if made_for <= capability and (form == "compute" or made_for[0] == capability[0]):
            return True
    return False


def memory() -> Finding:
    """What is free on every GPU."""
    if not any(node.exists() for node in _NODES):
        return Finding("gpu memory", _NONE)
    gpus = ask_gpus()
    told = ", ".join(f"{gpu.free:.0f} of {gpu.total:.0f} GiB free on {gpu.name}" for gpu in gpus)
    remedy = "end what else is on it (nvidia-smi lists it), or take other GPUs (gpus: in containers.yaml)"
    return Finding("gpu memory", f"{told or 'none'}; {GPU_NEEDS}", all(gpu.free > 2 for gpu in gpus), remedy)


def toolkit(engine: Mapping[str, Any] | None) -> Finding:
    """Whether containers can have the GPUs; `engine` is what a Docker Engine says of itself, None if none answers."""
    what = "container toolkit"
    if not (any(node.exists() for node in _NODES) or _on_bus()):
        return Finding(what, _NONE)
    if engine is None:
        return Finding(what, "not known: no Docker Engine answers")
    if "nvidia" in (engine.get("Runtimes") or {}):
        return Finding(what, "the engine has the runtime nvidia")
    devices = [str(device.get("ID")) for device in engine.get("DiscoveredDevices") or []]
    if named := [name for name in devices if name.startswith("nvidia.com/gpu")]:
        return Finding(what, f"the engine knows {len(named)} devices of nvidia.com/gpu (CDI)")
    if shutil.which("nvidia-container-runtime-hook"):
        return Finding(what, "its hook is installed here")
    remedy = (
        "only needed for GPUs in containers: install the NVIDIA Container Toolkit, then "
        "`nvidia-ctk runtime configure --runtime=docker`, and restart Docker"
    )
    return Finding(what, "the engine knows neither a runtime nvidia nor devices of nvidia.com/gpu", False, remedy)


def ask_gpus() -> list[Gpu]:
    """The GPUs that nvidia-smi lists. Raises OSError, SubprocessError or ValueError if it gives no such answer."""
    fields = "name,driver_version,compute_cap,memory.free,memory.total"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return [_gpu([part.strip() for part in line.split(",")]) for line in asked.stdout.splitlines() if line.strip()]


def _gpu(parts: list[str]) -> Gpu:
    name, version, capability, free, total = parts
    major, minor = capability.split(".")
    return Gpu(name, version, (int(major), int(minor)), float(free) / 1024, float(total) / 1024)


def _cuda_of_driver() -> tuple[int, int] | None:
    """The version of CUDA that the driver speaks; None if its library is not here."""
    number = ctypes.c_int(0)
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return (number.value // 1000, number.value % 1000 // 10) if number.value else None


def _torch_build() -> tuple[tuple[int, int] | None, list[str]]:
    """The version of CUDA that torch was built for, None for the CPU, and the kinds of GPU."""
    import torch

    if torch.version.cuda is None:
        return None, []
    major, minor = torch.version.cuda.split(".")[:2]
    return (int(major), int(minor)), torch.cuda.get_arch_list()


def _on_bus() -> bool:
    """Whether a GPU of NVIDIA's is on the bus, whatever its driver."""
    for folder in _PCI.glob("*"):
        try:
            maker, kind = ((folder / name).read_text(encoding="ascii").strip() for name in ("vendor", "class"))
        except OSError:
            continue
        if maker == _NVIDIA and kind.startswith(_DISPLAY):
            return True
    return False
