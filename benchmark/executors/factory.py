"""Choose an executor by its name and the settings of the command line."""

from importlib.util import find_spec
from pathlib import Path

from benchmark.core.errors import UserError, check_known
from benchmark.executors.protocol import Executor

EXECUTORS = ("local", "docker", "ray")


def make_executor(
    name: str = "local",
    workers: int | None = None,
    containers: Path | None = None,
    cluster: Path | None = None,
    remote: str | None = None,
) -> Executor:
    """Build the executor that runs a suite's stages.

    Args:
        name: "local", "docker" or "ray".
        workers: How many stages run at once; overrides the settings files. By default each executor counts what it has
            room for.
        containers: With docker: YAML file with the containers' settings.
        cluster: With ray: YAML file with the cluster's settings.
        remote: With ray: URL of a folder through which nodes exchange artifacts, as s3://bucket/folder.

    Raises:
        UserError: The name is unknown, an option belongs to another executor, a settings file is wrong, or Ray is not
            installed.
    """
    check_known("--executor", name, EXECUTORS)
    _check_options(name, docker={"--containers": containers}, ray={"--cluster": cluster, "--remote": remote})
    if name == "docker":
        return _docker(containers, workers)
    if name == "ray":
        return _ray(cluster, workers, remote)
    from benchmark.executors.local import LocalExecutor

    return LocalExecutor(workers)


def _check_options(name: str, **options: dict[str, Path | str | None]) -> None:
    """Raise UserError if an option was given that only another executor reads."""
    for executor, values in options.items():
        for option, value in values.items():
            if value and name != executor:
                raise UserError(f"{option}: only --executor {executor} reads it; add that, or leave {option} out")


def _docker(containers: Path | None, workers: int | None) -> Executor:
    from benchmark.executors.containers import ContainerSettings
    from benchmark.executors.docker import DockerExecutor
    from benchmark.executors.settings import read_settings

    settings = read_settings(ContainerSettings, containers)
    return DockerExecutor(settings.model_copy(update={"workers": workers}) if workers else settings)


def _ray(cluster: Path | None, workers: int | None, remote: str | None) -> Executor:
    from benchmark.executors.cluster import ClusterSettings
    from benchmark.executors.ray import RayExecutor
    from benchmark.executors.settings import read_settings
    from benchmark.store.remote import Remote

    settings = read_settings(ClusterSettings, cluster)
    exchange = Remote(remote) if remote else None
    if find_spec("ray") is None:
        raise UserError("--executor ray: Ray is not installed; run pip install -r requirements-ray.lock")
    return RayExecutor(settings.model_copy(update={"workers": workers}) if workers else settings, exchange)
