"""Every file that a task or a method may name is mounted into the containers of its stages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from benchmark.corpora import TASK_KINDS
from benchmark.executors.containers import local_paths
from benchmark.methods import METHODS
from benchmark.store.artifacts import StageCall
from benchmark.training.recipe import Rehearsal


def holds_a_path(annotation: Any) -> bool:
    return annotation is Path or any(map(holds_a_path, get_args(annotation)))


def fields_with_paths() -> Iterator[tuple[str, str]]:
    kinds: list[type[BaseModel]] = [*TASK_KINDS.values(), *METHODS.values(), Rehearsal]
    for kind in kinds:
        for name, field in kind.model_fields.items():
            if holds_a_path(field.annotation):
                yield kind.__name__, name


def test_tasks_and_methods_have_fields_with_paths() -> None:
    assert {("Biography", "path"), ("OwnDocuments", "questions")} <= set(fields_with_paths())


@pytest.mark.parametrize("field", sorted({field for _, field in fields_with_paths()}))
def test_a_file_under_any_field_with_a_path_is_mounted(field: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert local_paths(StageCall("corpus", 1, {}, {}, {"entry": {field: str(file)}})) == [file]
