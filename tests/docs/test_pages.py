"""The code of the pages works where the pages say to put it, and their commands run as written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmark import ROOT
from benchmark.suite.entries import Evaluation, Scoring
from benchmark.suite.schema import Suite
from benchmark.training.recipe import Recipe
from benchmark.writing.settings import Endpoint, LocalWriter

TEXT = '{"id": "a", "text": "Ada Moss was born in Lagos. She studied Botany."}\n'


def blocks(page: str, kind: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project to which a test can add files; the weights of the zoo are a link."""
    folder = tmp_path / "project"
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "zoo")
    for name in ("benchmark", "tests", "scripts", "leaderboard", "suites"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, symlinks=True)
    (folder / "benchmark" / "models" / "zoo").symlink_to(ROOT / "benchmark" / "models" / "zoo")
    shutil.copytree(ROOT / "tasks", folder / "tasks")
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "in.jsonl").write_text(TEXT, encoding="utf-8")
    return folder


def run(line: str, project: Path) -> str:
    """Run a command of a page as if the project's environment were active; return what it printed."""
    environment = os.environ | {
        "PYTHONPATH": str(project),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
    }
    line = line.replace(".venv/bin/python", "python")
    # The installed entry points belong to another copy of the project.
    line = re.sub(r"^(benchmark|lm_eval) ", r"python -m \1 ", line)
    done = subprocess.run(
        ["bash", "-c", line], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


@pytest.mark.slow
def test_the_methods_of_add_a_method_pass_their_tests_and_make_copies(project: Path) -> None:
    echo, lead, _ = blocks("add_a_method.md", "python")
    (project / "benchmark" / "methods" / "sentence_echo.py").write_text(echo, encoding="utf-8")
    (project / "benchmark" / "methods" / "lead.py").write_text(lead, encoding="utf-8")
    tests, augment = commands("add_a_method.md")
    printed = run(f"{tests} -q -k 'sentence_echo or lead'", project)
    assert re.search(r"\d\d passed", printed) and "failed" not in printed
    assert "4 texts from 1" in run(augment, project)
    assert "Botany" in (project / "out.jsonl").read_text(encoding="utf-8")


def test_the_written_method_of_add_a_method_is_the_one_that_ships() -> None:
    methods = ROOT / "benchmark" / "methods"
    assert blocks("add_a_method.md", "python")[2] == (methods / "implications.py").read_text(encoding="utf-8")
    (prompt,) = blocks("add_a_method.md", "markdown")
    assert prompt == (methods / "prompts" / "implications.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_written_method_needs_no_other_files_than_add_a_method_lists(project: Path) -> None:
    method, (prompt,) = blocks("add_a_method.md", "python")[2], blocks("add_a_method.md", "markdown")
    methods = project / "benchmark" / "methods"
    renamed = method.replace("Implications(", "Consequences(").replace('"implications"', '"consequences"')
    (methods / "consequences.py").write_text(renamed, encoding="utf-8")
    (methods / "prompts" / "consequences.md").write_text(prompt, encoding="utf-8")
    printed = run(f"{commands('add_a_method.md')[0]} -q -k consequences", project)
    assert re.search(r"\d\d passed", printed) and "failed" not in printed
    (listed,) = blocks("add_a_method.md", "yaml")[:1]
    suite = yaml.safe_load((project / "suites" / "smoke.yaml").read_text(encoding="utf-8"))
    server = {"api": "http://localhost:8000/v1", "model": "any"}  # the context of the tiny models is too short to write
    suite |= {"name": "mine", "writers": {"server": server}}
    suite |= yaml.safe_load(listed.replace("implications", "consequences").replace("trained", "server"))
    (project / "mine.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    assert re.search(r"^write +1 +1 ", run("benchmark plan mine.yaml", project), re.MULTILINE)


@pytest.mark.slow
def test_the_commands_of_add_a_model_run_as_written(project: Path) -> None:
    printf, score, plan = blocks("add_a_model.md", "sh")[0].splitlines()
    run(printf, project)
    assert "1 texts" in run(score.replace("PATH_OR_ID", "zoo:small"), project)
    run("benchmark new model mine --model zoo:large", project)
    assert "suite mine" in run(plan, project)


@pytest.mark.slow
def test_the_command_of_add_a_task_runs_and_the_template_works(project: Path) -> None:
    (stock,) = commands("add_a_task.md")
    assert "biography_major" in run(stock.replace("zoo/large", "zoo/small"), project)
    run("benchmark new task landmarks", project)
    suite = (project / "suites" / "smoke.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(suite) | {"name": "mine", "tasks": ["landmarks"], "methods": ["plain"]}
    (project / "mine.yaml").write_text(yaml.safe_dump(content | {"budgets": [{"steps": 2}]}), encoding="utf-8")
    assert "3 made now" in run("benchmark run mine.yaml --plain", project), "plain, untouched and open_book"


@pytest.mark.slow
def test_the_commands_of_figures_run_as_written(project: Path) -> None:
    figures, tokens = commands("figures.md")
    run(figures, project)
    made = {file.name for file in (project / "figures").iterdir()}
    assert made == {f"fig{n}-zoo-large-minus-zoo-small.{kind}" for n in (2, 3) for kind in ("csv", "svg", "png")}
    assert " born" in run(tokens, project)


def test_the_page_on_suites_names_every_key() -> None:
    page = (ROOT / "docs" / "suite_file.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_0-9.]+)`", page)) | set(
        re.findall(r"^(\w+):", blocks("suite_file.md", "yaml")[0], re.M)
    )
    fields = {field.alias or name for name, field in Suite.model_fields.items()}
    assert fields <= named
    assert set(Endpoint.model_fields) <= named
    for section, prefix in ((Recipe, "recipe."), (Scoring, "scoring."), (Evaluation, "evaluation.")):
        assert all(name in named or prefix + name in named for name in section.model_fields), section


def test_the_suites_of_the_pages_are_valid() -> None:
    example, writers, retention = (yaml.safe_load(block) for block in blocks("suite_file.md", "yaml"))
    Suite.model_validate(example)
    assert len(Suite.model_validate(example | retention).retention) == 3
    with_writers = Suite.model_validate(example | writers | {"choose": None})
    assert [type(writer) for writer in with_writers.writers.values()] == [LocalWriter, Endpoint]
    assert [len(entry.points()) for entry in with_writers.methods] == [1, 3, 1]
    (text,) = blocks("choose_parameters.md", "yaml")
    rest = {"name": "mine", "models": {"m": "zoo:large"}, "pairs": {"p": {"large": "m", "small": "m"}}}
    suite = Suite.model_validate({**rest, "tasks": ["biography"], "train": ["m"], **yaml.safe_load(text)})
    assert suite.choose is not None and len(suite.recipes) == 2
    points = [len(entry.points()) * len(suite.recipes) * len(suite.budgets) for entry in suite.methods]
    assert points == [4, 36], "the numbers of points that the page states"
