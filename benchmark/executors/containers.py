"""A container for one stage: its settings, what it may see and do, and what its end means.

A container can write to the store only. It sees the models and data of its stage read-only, at their paths on this
machine. It has no capabilities, a read-only root file system, and no network: models are fetched before it starts. Two
kinds of stages have a network: those that read held-out data from the hub, since the libraries fetch that themselves,
and those that ask a writer's server. For a server on this machine that is the machine's own network.
"""

import ipaddress
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from benchmark.core.environment import usable_cores
from benchmark.core.errors import UserError
from benchmark.executors.attempts import End
from benchmark.executors.hub import hub_cache, reads_hub_data
from benchmark.executors.protocol import Job
from benchmark.executors.settings import Bytes, Count, Positive, Retries
from benchmark.store.artifacts import StageCall

RUN, STORE, STAGE, KEY = (f"benchmark.{name}" for name in ("run", "store", "stage", "key"))  # labels of a container


def _not_root(user: str) -> str:
    if int(user.split(":")[0]) == 0:
        raise ValueError("containers never run as root; give another uid:gid")
    return user


class ContainerSettings(BaseModel):
    """How stages run in containers: the content of `--containers FILE`, in YAML. Each field has a default.

    Attributes:
        image: Name or digest of the image. A name is resolved once, when the run starts.
        workers: Containers at once on a CPU; by default as many as the cores allow.
        gpus: Device numbers as nvidia-smi lists them, or "all"; an empty list for the CPU.
        per_gpu: Containers at once on each GPU.
        gpus_per_stage: GPUs that each container sees, for models with `device_map`.
        cpus: Cores of a container; by default the suite's threads, and one more beside a GPU.
        memory: Memory limit of a container, as 8g; by default none.
        shm_size: Size of /dev/shm, as 1g.
        timeout: Seconds after which a stage counts as hung.
        retries: How often a stage is tried again after it was killed, hung, or lost by the engine.
        user: uid:gid of the container's processes; by default yours, and 1000:1000 if you are root.
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

    def unused_gpus(self, calls: Iterable[StageCall]) -> bool:
        """Whether the containers of some stages have GPUs, and no stage computes on one.

        Raises UserError if a stage computes on a GPU and the containers have none.
        """
        computing = any(call.uses_gpu for call in calls)
        if computing and not self.gpus:
            raise UserError(
                "gpus: none, but the suite computes on cuda; list GPUs in the file of --containers, with an image that "
                "has torch's CUDA build, or set `device: cpu` in the suite"
            )
        return bool(self.gpus) and not computing

    def slots(self, threads: int) -> list[tuple[str, ...]]:
        """The GPUs of each container that may run at once; an empty tuple for a container on the CPU.

        Raises UserError if gpus is "all" and no GPU is found, or if `gpus_per_stage` does not divide their number.
        """
        gpus, each = all_gpus() if self.gpus == "all" else self.gpus, self.gpus_per_stage
        if each > 1 and (len(gpus) % each or not gpus):
            raise UserError(
                f"gpus_per_stage: {each} does not divide the number of gpus, {len(gpus)}; list a multiple of {each}"
            )
        if gpus:
            groups = [tuple(gpus[start : start + each]) for start in range(0, len(gpus), each)]
            return groups * self.per_gpu
        return [()] * (self.workers or max(1, usable_cores() // threads))


def end_of(state: Mapping[str, Any], log: str, timed_out: float | None = None) -> End:
    """What the end of a container means.

    Args:
        state: The container's state in the engine: ExitCode, OOMKilled, Error.
        log: The last lines of its stderr.
        timed_out: The seconds after which it was killed as hung, if it was.
    """
    code = state.get("ExitCode")
    if timed_out is not None:
        return End("infrastructure", f"it was still running after {timed_out:g} seconds, and was killed")
    if code == 0:
        return End("done")
    if state.get("OOMKilled"):
        return End("memory", "it exceeded its memory limit")
    if code == 2:
        return End("mistake", _last_error(log))
    if code in (137, 143):  # 128 + SIGKILL or SIGTERM, which the executor did not send
        return End("infrastructure", f"it was killed from outside (exit code {code})")
    if state.get("Error"):
        return End("infrastructure", f"the engine could not run it: {state['Error']}")
    return End("failure", f"exit code {code}\n{log}")


def _last_error(log: str) -> str:
    """The last error line of a log, which says what the user can mend."""
    errors = [line.removeprefix("error: ") for line in log.splitlines() if line.startswith("error: ")]
    lines = errors or log.strip().splitlines()
    return (
        lines[-1]
        if lines
        else "a stage ended with exit code 2 and printed no error; see its log in the folder .logs of the store"
    )


def arguments(
    job: Job, call: StageCall, file: Path, settings: ContainerSettings, gpus: Sequence[str]
) -> dict[str, Any]:
    """The arguments of the Docker SDK's `containers.create` for a stage, without image, name and labels.

    Args:
        job: Its store is mounted read-write at the same absolute path.
        call: The stage.
        file: The stage's file for `benchmark stage`, in the store.
        settings: Of the containers.
        gpus: The GPUs that the container sees; none for the CPU.
    """
    from docker.types import DeviceRequest

    reads_hub, store, cache = reads_hub_data(call), job.store.root.absolute(), hub_cache()
    volumes = {str(store): {"bind": str(store), "mode": "rw"}}
    volumes |= {str(path): {"bind": str(path), "mode": "ro"} for path in local_paths(call)}
    if cache.is_dir() and not reads_hub:
        volumes[str(cache)] = {"bind": "/cache/huggingface/hub", "mode": "ro"}
    environment = {} if reads_hub else {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": "/tmp/modules"}
    cpus = settings.cpus or job.threads + bool(gpus)
    return {
        "command": ["stage", str(file.absolute()), "--store", str(store), "--threads", str(job.threads), "--lines"],
        "user": settings.user or default_user(),
        "working_dir": str(Path.cwd()),
        "volumes": volumes,
        "network_mode": "bridge" if reads_hub else _network_to_writer(call),
        "read_only": True,
        "tmpfs": {"/tmp": ""},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "pids_limit": 4096,  # as in compose.yaml
        "nano_cpus": round(cpus * 1e9),
        "mem_limit": settings.memory,
        "memswap_limit": settings.memory,  # equal to mem_limit: no swap in addition
        "shm_size": settings.shm_size,
        "environment": {**environment, **_key_of_writer(call)},
        "device_requests": [DeviceRequest(device_ids=list(gpus), capabilities=[["gpu"]])] if gpus else None,
    }


def _network_to_writer(call: StageCall) -> str:
    """The network that a stage needs to ask its writer's server; "none" if it asks none."""
    address = call.where.get("writer", {}).get("api")
    if address is None:
        return "none"
    host = str(urlsplit(address).hostname)
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost" or host.endswith(".localhost")
    return "host" if here else "bridge"


def _key_of_writer(call: StageCall) -> dict[str, str]:
    """The variable that holds the key of a stage's writer, for the container's environment; usually none."""
    name = call.where.get("writer", {}).get("key_from")
    return {name: os.environ[name]} if name and name in os.environ else {}


# The keys of a stage's `where` under which paths of models, data and texts stand.
_PATH_KEYS = frozenset(
    "model adapter path paragraphs questions shots universities text source rehearsal practice".split()
)

_PROMPT_KEYS = ("prompts", "items")  # under which prompts stand, by name or as paths of .md files


def _is_file(prompt: str) -> bool:
    return prompt.endswith(".md")


def local_paths(call: StageCall) -> list[Path]:
    """The absolute paths on this machine that a stage, or a stage that it reads, may have to read; each once."""
    paths = {Path(value).expanduser().absolute() for value in _path_values(call.where) if not value.startswith("zoo:")}
    for source in call.inputs.values():
        paths |= set(local_paths(source))
    return sorted(path for path in paths if path.exists())


def _path_values(where: Any) -> Iterator[str]:
    if isinstance(where, Mapping):
        if "api" in where:  # of a server: its model is no path
            return
        for key, value in where.items():
            if isinstance(value, str) and key in _PATH_KEYS:
                yield value
            elif key in _PROMPT_KEYS:
                yield from (name for name in ([value] if isinstance(value, str) else value or []) if _is_file(name))
            else:
                yield from _path_values(value)
    elif isinstance(where, (list, tuple)):
        for value in where:
            yield from _path_values(value)


def default_user() -> str:
    """Your uid:gid, so that you own the files that containers write; 1000:1000 if you are root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else "1000:1000"


def all_gpus() -> list[str]:
    """The numbers of this machine's GPUs. Raises UserError if nvidia-smi is missing or fails."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"gpus: all: nvidia-smi does not answer ({error}); install the driver, or list the GPUs by number"
        ) from None
    return listed.stdout.split()
