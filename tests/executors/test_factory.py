"""Executors by name, with the settings of the command line."""

from pathlib import Path
from typing import Any

import pytest

from benchmark.core.errors import UserError
from benchmark.executors.docker import DockerExecutor
from benchmark.executors.factory import make_executor
from benchmark.executors.local import LocalExecutor
from benchmark.executors.ray import RayExecutor


def test_the_default_is_this_machine_with_as_many_workers_as_fit() -> None:
    assert make_executor() == LocalExecutor(None)
    assert make_executor("local", workers=3) == LocalExecutor(3)


@pytest.mark.parametrize(
    ("name", "option", "kind"), [("docker", "containers", DockerExecutor), ("ray", "cluster", RayExecutor)]
)
def test_workers_override_those_of_the_settings_file(
    tmp_path: Path, name: str, option: str, kind: type[DockerExecutor | RayExecutor]
) -> None:
    (file := tmp_path / "settings.yaml").write_text("workers: 2\nretries: 7\n")
    for workers, expected in ((None, 2), (5, 5)):
        given: dict[str, Any] = {option: file}
        executor = make_executor(name, workers, **given)
        assert isinstance(executor, kind)
        assert (executor.settings.workers, executor.settings.retries) == (expected, 7)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"^--executor 'dokcer': unknown; did you mean 'docker'\? known: docker, local"):
        make_executor("dokcer")


@pytest.mark.parametrize(
    ("option", "value", "needs"),
    [("containers", Path("c.yaml"), "docker"), ("cluster", Path("c.yaml"), "ray"), ("remote", "file:///x", "ray")],
)
def test_options_of_other_executors_are_refused(option: str, value: Any, needs: str) -> None:
    with pytest.raises(
        UserError, match=rf"^--{option}: only --executor {needs} reads it; add that, or leave --{option}"
    ):
        make_executor("local", **{option: value})
