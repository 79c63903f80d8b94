"""A Ray cluster as the executor sees it: its settings, the room on its nodes, and what Ray's errors mean.

Imports Ray only in `end_of`, where Ray is installed: its errors are the argument.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from benchmark.core.errors import UserError, one_line
from benchmark.executors.attempts import End
from benchmark.executors.settings import Bytes, Count, Positive, Retries
from benchmark.store.artifacts import StageCall

UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _share_or_whole(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise ValueError("expected a share of one GPU, as 0.5, or a whole number")
    return gpus


class ClusterSettings(BaseModel):
    """How stages run on a Ray cluster: the content of `--cluster FILE`, in YAML. Each field has a default.

    Attributes:
        address: "auto" (RAY_ADDRESS, or the cluster that this machine belongs to), host:port, ray://host:port, or
            "local", a cluster of this machine only that lives as long as the run.
        workers: Stages at once; by default as many as the cluster has room for when the run starts.
        num_cpus: Cores of a stage; by default the suite's threads.
        num_gpus: GPUs of a stage that computes on CUDA, or its share of one GPU.
        memory: Memory of a node that a stage reserves, as 8g. Ray counts reservations and enforces no limit.
        timeout: Seconds of work after which a stage counts as hung.
        retries: How often a stage is tried again after its worker or node was lost.
        cache: With --remote: each node's folder of artifacts. `~` and variables are expanded on the node.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    address: Annotated[str, Field(pattern=r"^(auto|local|(ray://)?[^\s/@]+:\d+)$")] = "auto"
    workers: Count | None = None
    num_cpus: Positive | None = None
    num_gpus: Annotated[Positive, AfterValidator(_share_or_whole)] = 1.0
    memory: Bytes | None = None
    timeout: Positive = 24 * 3600.0
    retries: Retries = 2
    cache: Annotated[str, Field(min_length=1)] = "~/.cache/benchmark/store"

    def needs(self, call: StageCall, threads: int) -> dict[str, float]:
        """What a stage takes of a node, by Ray's names of resources; memory in bytes."""
        needs = {"CPU": self.num_cpus or float(threads)}
        if call.uses_gpu:
            needs["GPU"] = self.num_gpus
        if self.memory:
            number, unit = (self.memory[:-1], self.memory[-1]) if self.memory[-1] in UNITS else (self.memory, "b")
            needs["memory"] = float(int(number) * UNITS[unit])
        return needs

    def slots(self, calls: Iterable[StageCall], threads: int, nodes: Iterable[Mapping[str, Any]]) -> int:
        """How many stages run at once on some nodes, given as `ray.nodes()` describes them.

        Raises UserError if no node has room for the largest stage and `workers` is not set.
        """
        if self.workers:
            return self.workers
        most: dict[str, float] = {}
        for call in calls:
            most |= {name: max(number, most.get(name, 0.0)) for name, number in self.needs(call, threads).items()}
        if slots := room(most, nodes):
            return slots
        needs = ", ".join(f"{name} {number:g}" for name, number in most.items())
        raise UserError(
            f"--executor ray: no node of the cluster has room for a stage ({needs}); lower num_cpus, num_gpus or "
            "memory, or set workers if the cluster grows on demand"
        )


def room(needs: Mapping[str, float], nodes: Iterable[Mapping[str, Any]]) -> int:
    """How many stages with these needs fit on the living nodes, each stage on one node."""
    return sum(
        min(int(node["Resources"].get(name, 0.0) / number + 1e-9) for name, number in needs.items())
        for node in nodes
        if node["Alive"]
    )


def end_of(error: Exception, late: float | None = None) -> End:
    """What an exception of Ray's means for a stage.

    Args:
        error: The exception that `ray.get` raised.
        late: The seconds after which the stage ended itself as hung, if it did.
    """
    from ray import exceptions

    reason = one_line(error)
    if isinstance(error, exceptions.OutOfMemoryError):
        return End("memory", "Ray ended it because its node was running out of memory")
    if isinstance(error, exceptions.RayTaskError):
        if isinstance(error.cause, ImportError) or "failed to import on the worker" in str(error):
            last = str(error).strip().splitlines()[-1]
            return End(
                "mistake",
                f"--executor ray: a node cannot load this project ({last}); install the same version on every node",
            )
        return End("failure", str(error))
    if isinstance(error, (exceptions.TaskUnschedulableError, exceptions.RuntimeEnvSetupError)):
        return End(
            "mistake",
            f"--executor ray: Ray cannot start a stage ({reason}); check num_cpus, num_gpus and "
            "memory in the file of --cluster",
        )
    if late is not None:
        return End("infrastructure", f"it was still running after {late:g} seconds, and was ended")
    if isinstance(error, exceptions.WorkerCrashedError):
        return End("infrastructure", "its worker process died, or the node that it was on")
    return End("infrastructure", f"Ray lost it ({type(error).__name__}: {reason})")
