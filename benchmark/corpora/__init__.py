"""The tasks a suite can list: one file each that reads a corpus (documents and the questions on them).

A new file with a `Task` class registers itself. The questions' wording and metrics belong to tasks/, for lm-eval;
methods that change the texts belong to `methods`.
"""

import importlib
import inspect
import pkgutil
from typing import Any

from benchmark.corpora.base import TASKS, Corpus, Task

__all__ = ["TASKS", "TASK_KINDS", "Corpus", "Task", "make_task"]


def _find_tasks() -> dict[str, type[Task]]:
    kinds: dict[str, type[Task]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            defined_here = inspect.isclass(value) and value.__module__ == module.__name__ and issubclass(value, Task)
            if defined_here and isinstance(name := value.model_fields["name"].default, str):
                if name in kinds:
                    raise ValueError(f"two tasks are named {name!r}")
                kinds[name] = value
    return kinds


TASK_KINDS: dict[str, type[Task]] = _find_tasks()


def make_task(content: dict[str, Any]) -> Task:
    """Rebuild a task from its `model_dump`."""
    return TASK_KINDS[content["name"]].model_validate(content)
