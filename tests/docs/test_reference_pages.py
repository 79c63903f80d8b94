"""docs/methods.md and docs/tasks.md list what the registries hold."""

import re

import yaml

from benchmark import ROOT
from benchmark.corpora import TASK_KINDS
from benchmark.methods import METHODS
from benchmark.writing.settings import Endpoint

READS = {
    "nothing": "nothing",
    "tokens": "tokens",
    "trained": "own attention",
    "large": "large model",
    "difference": "pair",
}
WRITTEN = {"None": ("none", "the file's name"), "True": ("true",), "": ('""',), "PydanticUndefined": ("needed",)}


def rows(page: str, columns: int) -> dict[str, list[str]]:
    """The table rows with that many columns whose first cell is a name in backticks: name → the other cells."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    table = [line.split(" | ") for line in re.findall(r"^\| (.*) \|$", text, re.MULTILINE)]
    named = [(re.match(r"\[?`(\w+)`", cells[0]), cells[1:]) for cells in table if len(cells) == columns]
    return {name[1]: cells for name, cells in named if name}


def defaults(cell: str) -> dict[str, str]:
    """What a cell lists as `name` (default): name → default."""
    return {name: default.strip("`") for name, default in re.findall(r"`(\w+)` \(([^)]*)\)", cell)}


def test_the_page_on_methods_lists_every_method_with_its_parameters_defaults_and_needs() -> None:
    table = rows("methods.md", 5)
    shared = {name: cells[0].strip("`") for name, cells in rows("methods.md", 3).items()}
    assert set(table) == set(METHODS)
    for name, method in METHODS.items():
        _, parameters, reads, _ = table[name]
        listed = (shared if parameters.startswith(("dropout", "hiding")) else {}) | defaults(parameters)
        if parameters.startswith("hiding"):
            del listed["dropped"]
        assert set(listed) == set(method.model_fields), name
        for key, field in method.model_fields.items():
            if isinstance(field.default, dict):
                assert yaml.safe_load(listed[key]) == field.default, (name, key)
                continue
            default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            assert listed[key] in WRITTEN.get(default, (default,)), (name, key)
        assert reads == READS[method.needs], name


def test_the_page_on_suites_lists_the_fields_of_writers_with_their_defaults() -> None:
    table = rows("suite_file.md", 3)
    for name, field in Endpoint.model_fields.items():
        default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
        assert table[name][0] in WRITTEN.get(default, (default,)), name


def test_the_page_on_tasks_lists_every_task_with_its_options_and_lm_eval_tasks() -> None:
    table = rows("tasks.md", 5)
    assert set(table) == set(TASK_KINDS)
    for name, task in TASK_KINDS.items():
        _, _, options, evaluated = table[name]
        assert set(defaults(options)) == set(task.model_fields) - {"name", "evaluate"}, name
        assert re.findall(r"`(\w+)`", evaluated) == TASK_KINDS[name].model_fields["evaluate"].get_default(
            call_default_factory=True, validated_data={}
        ), name


def test_the_page_on_the_design_lists_every_room() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `((?:benchmark|leaderboard)/\w+)/` \|", page, re.MULTILINE)
    rooms = [init.parent for package in ("benchmark", "leaderboard") for init in ROOT.glob(f"{package}/*/__init__.py")]
    assert sorted(listed) == sorted(str(room.relative_to(ROOT)) for room in rooms)
