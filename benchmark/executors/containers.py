"""One stage in one container: how it is set up, and what its end means.

The container has the store and nothing else to write to, sees the models and data of the stage read-only at the places
where they lie here, and has no capabilities and a read-only root file system. It has no network, unless libraries fetch
held-out data of the hub in it themselves: models were fetched before.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from benchmark.core.environment import usable_cores
from benchmark.core.errors import UserError
from benchmark.executors.ends import End
from benchmark.executors.hub import reads_hub_data
from benchmark.executors.settings import Bytes, Count, Positive, Retries, settings_from
from benchmark.store.artifacts import StageCall

RUN, STORE, STAGE, KEY = (f"benchmark.{name}" for name in ("run", "store", "stage", "key"))  # labels of a container


def _not_root(user: str) -> str:
    if int(user.split(":")[0]) == 0:
        raise ValueError("nothing runs as root in a container here; give another uid:gid")
    return user


class Containers(BaseModel):
    """How stages run in containers: what `--containers FILE` holds, a YAML file; every field has a default.

    Attributes:
        image: name or digest of the image. A name is resolved once, when a run starts.
        workers: containers at once on a CPU; by default as many as there are cores for.
        gpus: device numbers as nvidia-smi lists them, "all", or none of them for the CPU.
        per_gpu: containers at once on each of these GPUs.
        gpus_per_stage: GPUs that a container sees, for models with `device_map`.
        cpus: cores of a container; by default the suite's threads, and one more beside a GPU.
        memory: most memory of a container, as 8g; by default no limit of its own.
        shm_size: size of /dev/shm, as 1g.
        timeout: seconds after which a stage counts as hung.
        retries: how often a stage is done again that was killed, hung, or lost with the engine.
        user: uid:gid of what runs in it; by default yours, and 1000:1000 if you are root.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    image: str = "benchmark:cpu"
    workers: Count | None = None
    gpus: list[str] | Literal["all"] = []
    per_gpu: Count = 1
    gpus_per_stage: Count = 1
    cpus: Positive | None = None
    memory: Bytes | None = None
    shm_size: Bytes = "1g"
    timeout: Positive = 24 * 3600.0
    retries: Retries = 2
    user: Annotated[str, Field(pattern=r"^\d+:\d+$"), AfterValidator(_not_root)] | None = None

    def slots(self, threads: int) -> list[tuple[str, ...]]:
        """The GPUs of every container that may run at once; none for one on the CPU.

        Raises UserError if all GPUs are asked for and none is found, or if `gpus_per_stage` does not divide their
        number.
        """
        gpus, each = all_gpus() if self.gpus == "all" else self.gpus, self.gpus_per_stage
        if each > 1 and (len(gpus) % each or not gpus):
            raise UserError(f"gpus_per_stage: {each} does not divide the {len(gpus)} of gpus; list a multiple of it")
        if gpus:
            groups = [tuple(gpus[at : at + each]) for at in range(0, len(gpus), each)]
            return groups * self.per_gpu
        return [()] * (self.workers or max(1, usable_cores() // threads))


def read_settings(file: Path | None) -> Containers:
    """The settings of a YAML file; the defaults without one.

    Raises UserError naming file and field if it cannot be read or a field is wrong.
    """
    return settings_from(Containers, file)


def end_of(state: Mapping[str, Any], log: str, timed_out: float | None = None) -> End:
    """What the end of a container means.

    Args:
        state: what the engine says of it: ExitCode, OOMKilled, Error.
        log: the last lines of stderr.
        timed_out: the seconds after which it was killed as hung, if it was.
    """
    code = state.get("ExitCode")
    if timed_out is not None:
        return End("infrastructure", f"it was still running after {timed_out:g} seconds, and was killed")
    if code == 0:
        return End("done")
    if state.get("OOMKilled"):
        return End("memory", "it needed more memory than it may have")
    if code == 2:
        return End("mistake", _last_error(log))
    if code in (137, 143):  # 128 + SIGKILL or SIGTERM, which nobody here sent
        return End("infrastructure", f"it was killed from outside (exit code {code})")
    if state.get("Error"):
        return End("infrastructure", f"the engine could not run it: {state['Error']}")
    return End("failure", f"exit code {code}\n{log}")


def _last_error(log: str) -> str:
    """The line by which the command says what the user got wrong."""
    lines = [line.removeprefix("error: ") for line in log.splitlines() if line.startswith("error: ")]
    return lines[-1] if lines else log.strip().splitlines()[-1] if log.strip() else "no reason was given"


def arguments(
    call: StageCall, file: Path, store: Path, settings: Containers, gpus: Sequence[str], threads: int, cache: Path
) -> dict[str, Any]:
    """What the Docker SDK's `containers.run` takes for a stage, but for image and labels.

    Args:
        call: the stage.
        file: what `benchmark stage` reads it from, in the store.
        store: the store's folder, an absolute path. The container sees it at the same place, to write to.
        settings: of the containers.
        gpus: the devices it has for itself or shares; none for the CPU.
        threads: the suite's.
        cache: Hugging Face's folder here, for what was fetched before.
    """
    from docker.types import DeviceRequest

    online = reads_hub_data(call)
    volumes = {str(store): {"bind": str(store), "mode": "rw"}}
    volumes |= {str(path): {"bind": str(path), "mode": "ro"} for path in local_paths(call)}
    if cache.is_dir() and not online:
        volumes[str(cache)] = {"bind": "/cache/huggingface", "mode": "ro"}
    cpus = settings.cpus or threads + bool(gpus)
    return {
        "command": ["stage", str(file.absolute()), "--store", str(store), "--threads", str(threads), "--lines"],
        "user": settings.user or default_user(),
        "working_dir": str(Path.cwd()),
        "volumes": volumes,
        "network_mode": "bridge" if online else "none",
        "read_only": True,
        "tmpfs": {"/tmp": ""},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "nano_cpus": round(cpus * 1e9),
        "mem_limit": settings.memory,
        "memswap_limit": settings.memory,  # the same: no swap beside it
        "shm_size": settings.shm_size,
        "environment": {} if online else {"HF_HUB_OFFLINE": "1"},
        "device_requests": [DeviceRequest(device_ids=list(gpus), capabilities=[["gpu"]])] if gpus else None,
    }


# Under these keys of a stage's `where` stand models, data and texts; what is none of these lies nowhere.
_PATHS = ("model", "adapter", "path", "questions", "shots", "text")


def local_paths(call: StageCall) -> list[Path]:
    """The files and folders here that a stage or what it reads may have to read, absolute, each once."""
    found = {Path(value).expanduser().absolute() for value in _named(call.where) if not value.startswith("zoo:")}
    for source in call.inputs.values():
        found |= set(local_paths(source))
    return sorted(path for path in found if path.exists())


def _named(where: Any) -> Iterator[str]:
    if isinstance(where, Mapping):
        for key, value in where.items():
            if isinstance(value, str) and key in _PATHS:
                yield value
            else:
                yield from _named(value)
    elif isinstance(where, (list, tuple)):
        for value in where:
            yield from _named(value)


def default_user() -> str:
    """Yours, so that what is written is yours; nothing in a container runs as root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else "1000:1000"


def all_gpus() -> list[str]:
    """The numbers of this machine's GPUs. Raises UserError if the driver's tool is not there or finds none."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"gpus: all: nvidia-smi does not answer ({error}); install the driver, or list them") from None
    return asked.stdout.split()
