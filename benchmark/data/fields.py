"""The order in which a task asks about its fields, read from the task's own lm-eval group."""

from functools import cache

from benchmark import ROOT
from benchmark.core.yaml_files import read_yaml

TASKS = ROOT / "benchmark" / "tasks"


@cache
def field_order(task: str) -> tuple[str, ...]:
    """The fields of a task, in the order in which its lm-eval group in `tasks/` lists them.

    The group `biography` lists the lm-eval task `biography_birth_date` first, so its first field is `birth_date`. The
    result is empty for a task without a group.
    """
    for path in sorted(TASKS.glob("*/*.yaml")):
        # Only groups are parsed: the files of single tasks hold tags that lm-eval alone understands.
        if path.read_text(encoding="utf-8").startswith(f"group: {task}\n"):
            members: list[str] = read_yaml(path, "install the project again")["task"]
            return tuple(name.removeprefix(f"{task}_") for name in members)
    return ()
