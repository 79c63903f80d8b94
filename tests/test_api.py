"""`import benchmark`: the examples of its docstrings run, and its functions and the command line give the same."""

import doctest
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import benchmark
from benchmark.cli.app import app
from benchmark.data.texts import read_augmented, read_scores
from tests.conftest import ROOT

TEXTS = ["Ada Moss was born in Lagos.", "Ben Hale studied Law."]
FUNCTIONS = [name for name in benchmark.__all__ if name not in ("AdoptedModel", "Run", "UserError")]
TRAINING = ("run", "adopt")  # functions whose examples train a model


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in TRAINING)) for name in FUNCTIONS]
)
def test_the_example_of_a_function_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    function = getattr(benchmark, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={"folder": tmp_path})
    assert test.examples
    output: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=output.append)
    assert result.failed == 0, "".join(output)


def test_importing_the_package_loads_nothing_heavy_and_lists_the_api() -> None:
    code = (
        "import sys, benchmark\n"
        "assert not {'pandas', 'torch', 'pydantic', 'benchmark.api'} & set(sys.modules)\n"
        "assert set(benchmark.__all__) <= set(dir(benchmark))\n"
        "import benchmark.runs.runner\n"
        "assert callable(benchmark.run) and callable(benchmark.board)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        getattr(benchmark, "train")  # noqa: B009 (mypy knows the names)


def invoke(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The texts as a JSONL file, with the ids that the API gives to strings."""
    path = tmp_path / "in.jsonl"
    lines = [json.dumps({"id": f"text-{number}", "text": text}) for number, text in enumerate(TEXTS, start=1)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_scores_are_those_of_the_command(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    options = ("--minus", "zoo:small", "--device", "cpu")
    invoke("score", "zoo:large", "--texts", str(file), "--out", str(out), *options)
    scores = benchmark.score(TEXTS, "zoo:large", minus="zoo:small", device="cpu")
    for text, (name, rows) in zip(read_scores(out), scores.groupby("id", sort=False), strict=True):
        assert (text.id, text.token, text.start, text.end) == (
            name,
            rows["token"].tolist(),
            rows["start"].tolist(),
            rows["end"].tolist(),
        )
        assert text.score == rows["score"].astype("float32").tolist()


def test_training_texts_are_those_of_the_command(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    options = ("--large", "zoo:large", "--small", "zoo:small", "--copies", "3", "--seed", "7", "--set", "alpha=0.4")
    invoke("augment", "contrastive_dropout", "--texts", str(file), "--out", str(out), "--device", "cpu", *options)
    pair = {"large": "zoo:large", "small": "zoo:small"}
    changes = {"alpha": 0.4}
    made = benchmark.augment(TEXTS, "contrastive_dropout", **pair, copies=3, seed=7, parameters=changes, device="cpu")
    assert made == read_augmented(out)


def test_texts_may_be_mappings_with_ids() -> None:
    made = benchmark.augment([{"id": "a", "text": "Ada Moss was born in Lagos."}], "aeda", copies=1)
    assert [(text.id, text.copy) for text in made] == [("a", 0), ("a", 1)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: benchmark.load_suite("smok"), "did you mean 'smoke'"),
        (lambda: benchmark.load_suite({"name": "x"}), "suite: models: "),
        (lambda: benchmark.run("none.yaml"), "none.yaml: no such suite file"),
        (lambda: benchmark.score("Ada.", "zoo:large"), "put the text into a list"),
        (lambda: benchmark.score([], "zoo:large"), "^texts: "),
        (lambda: benchmark.score(["Ada.", " "], "zoo:large"), "^texts:2: "),
        (lambda: benchmark.score([{"id": "a", "text": 7}], "zoo:large"), "^texts:1: "),
        (lambda: benchmark.score(["Ada."], "zoo:larg"), "did you mean 'large'"),
        (lambda: benchmark.score(["Ada."], "zoo:large", reduction="los"), "did you mean 'loss'"),
        (lambda: benchmark.score(["Ada."], "zoo:large", device="gpu"), "device 'gpu'"),
        (lambda: benchmark.augment(["Ada."], "plane"), "did you mean 'plain'"),
        (lambda: benchmark.augment(["Ada."], "random_dropout"), "large="),
        (lambda: benchmark.augment(["Ada."], "contrastive_dropout", large="zoo:large"), "small="),
        (lambda: benchmark.augment(["Ada."], "random_dropout", parameters={"alpa": 1}), "did you mean 'alpha'"),
        (lambda: benchmark.board("none"), "none: no such folder"),
    ],
)
def test_bad_input_is_a_user_error_that_says_what_to_do(call: Callable[[], object], message: str) -> None:
    with pytest.raises(benchmark.UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
