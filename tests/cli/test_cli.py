"""The command line as a user meets it: exit codes, one line per error, and no files from a refused command."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark import doctor
from benchmark.cli import app as cli
from benchmark.core.errors import UserError
from benchmark.data.texts import read_augmented, read_scores, read_texts
from benchmark.runs.prechecks import check_cells
from benchmark.suite.plan import make_plan
from benchmark.suite.schema import load_suite
from tests.suite.test_schema import GOOD

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # for child processes: this one may have read it already
    monkeypatch.setattr("benchmark.doctor.outside.ask_hub", lambda: None)
    return folder


@pytest.fixture
def run(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
        try:
            cli.main()
            code: object = 0
        except SystemExit as end:
            code = end.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run_command


def _refused(result: tuple[int, str, str]) -> str:
    """The error line of a command that is refused with exit code 2 and no other output."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1
    return err.removeprefix("error: ").rstrip("\n")


SMALL = GOOD.replace("zoo:large", "zoo:small")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: trial", "naem: trial", "naem: unknown key; did you mean 'name'?"),
        ("train: [large]", "train: [lrage]", "train[0]: unknown model 'lrage'; did you mean 'large'?"),
        ("[plain]", "[plian]", "methods[0]: unknown method 'plian'; did you mean 'plain'?"),
        ("[biography]", "[biografy]", "tasks[0].name: "),
        ("[plain]", "[{name: random_dropout, alpah: 1}]", "unknown parameter 'alpah'; did you mean 'alpha'?"),
        ("{steps: 3}", "{steps: few}", "budgets[0].steps: "),
        ("{steps: 3}", "{steps: 3", "not a readable YAML file"),
        ("name: trial", "name: trial\nname: trial", "duplicate key 'name'"),
        ("name: trial", '"na\\nme": trial', "unknown key"),
        (SMALL, "", "expected a mapping"),
        ("zoo:small", "zoo:smal", "model 'zoo:smal': not in the zoo; did you mean 'small'?"),
        ("zoo:small", "./nowhere", "model './nowhere': no such file or folder"),
        ("zoo:small", "tiny large", "model 'tiny large': neither a path that exists nor a hub id"),
        ("[biography]", "[{name: biography, people: 5000}]", "people: 5000 asked for, but the data has 100"),
        ("[biography]", "[{name: biography, path: none.jsonl}]", "none.jsonl: no such file"),
        ("[biography]", "[{name: biography, evaluate: [biografy]}]", "unknown lm-eval task 'biografy'"),
        ("train:", "seeds: [1, 1]\ntrain:", "duplicate cell"),
        ("train:", "device: cuda\ntrain:", "no CUDA device"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_bad_suite_is_refused_in_one_line_and_nothing_is_written(
    run: Run, here: Path, tmp_path: Path, command: str, old: str, new: str, message: str
) -> None:
    assert old in SMALL
    suite = tmp_path / "trial.yaml"
    suite.write_text(SMALL.replace(old, new))
    assert message in _refused(run(command, str(suite)))
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "smok"), "suite 'smok': unknown; did you mean 'smoke'?"),
        (("plan", "none.yaml"), "none.yaml: no such suite file"),
        (("plan", "smoke", "--workers", "2"), "--workers: is for --try alone; leave it out, or add that"),
        (("plan", "smoke", "--try", "--memory"), "--try: --memory reads no weights, and tries nothing"),
        (("score", "zoo:small", "--texts", "none.jsonl", "--out", "o.parquet"), "none.jsonl: No such file"),
        (("score", "zoo:small", "--texts", ".", "--out", "o.parquet"), ".: Is a directory; give a file"),
        (("score", "zoo:small", "--texts", "t", "--out", "no/where.parquet"), "the folder no does not exist"),
        (("score", "zoo:small", "--texts", "t", "--out", "."), "is a folder"),
        (("score", "m", "--texts", "t", "--out", "o", "--reduction", "recieved"), "did you mean 'received'?"),
        (("score", "zoo:smal", "--texts", "{texts}", "--out", "o"), "model 'zoo:smal': not in the zoo"),
        (("score", "", "--texts", "{texts}", "--out", "o"), "model: its name is empty"),
        (("score", "zoo:small", "--texts", "{texts}", "--out", "o", "--dtype", "int8"), "dtype 'int8': unknown"),
        (("augment", "plane", "--texts", "{texts}", "--out", "o"), "unknown method 'plane'; did you mean 'plain'?"),
        (("augment", "plain", "--texts", "{texts}", "--out", "o", "--set", "alpha"), "expected NAME=VALUE"),
        (
            ("augment", "random_dropout", "--texts", "{texts}", "--out", "o", "--set", "alpha=nan", "--large", "x"),
            "alpha: ",
        ),
        (("augment", "random_dropout", "--texts", "{texts}", "--out", "o"), "name a model with --large"),
        (("augment", "contrastive_dropout", "--texts", "{texts}", "--out", "o", "--large", "x"), "with --small"),
        (("augment", "selective_loss", "--texts", "{texts}", "--out", "o"), "name a model with --large"),
        (("people", "--out", "no/where.jsonl"), "the folder no does not exist"),
        (("people", "--out", "o.jsonl", "--count", "999999999"), "--count: "),
        (("people", "--out", "o.jsonl", "--order", "shufled"), "unknown field 'shufled'; did you mean 'shuffled'?"),
        (
            ("people", "--out", "o.jsonl", "--order", "major,compny"),
            "--order: unknown field 'compny'; did you mean 'comp",
        ),
        (("people", "--out", "o.jsonl", "--order", "major,company"), "--order major,company: list every field once"),
        (("people", "--out", "o.jsonl", "--order", "major"), "--order major: list every field once"),
        (
            ("people", "--out", "o.jsonl", "--universities", "o.jsonl"),
            "--universities: o.jsonl is the file of the people",
        ),
        (("people", "--out", "o.jsonl", "--names", "ful"), "names 'ful': unknown; did you mean 'full'?"),
        (("zoo", "train", "medium", "--out", "o"), "model of the pair 'medium': unknown; known: large, small"),
        (("leaderboard", "compare", "a.json", "b.json"), "a.json"),
    ],
)
def test_a_bad_argument_is_refused_in_one_line_and_nothing_is_written(
    run: Run, here: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"id": "a", "text": "b c"}\n')
    assert message in _refused(run(*(argument.format(texts=texts) for argument in arguments)))
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_before_the_work(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "texts.jsonl").write_text('{"id": "a", "text": "One."}\n')
    access = SimpleNamespace(access=lambda path, mode: False, W_OK=os.W_OK)  # root may write anywhere
    monkeypatch.setattr("benchmark.cli.options.os", access)
    for command in (("score", "zoo:small"), ("augment", "plain")):
        code, _, err = run(*command, "--texts", "texts.jsonl", "--out", "out.parquet")
        assert code == 2 and "out.parquet: the folder . cannot be written to; give a file in another folder" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--nope"),
        ("rum",),
        ("score",),
        ("people", "--out", "o", "--count", "x"),
        ("run", "a", "b"),
        ("people", "--out", "o", "--wordings", "6"),
    ],
)
def test_a_misspelt_command_or_option_exits_with_2_and_without_a_traceback(
    run: Run, arguments: tuple[str, ...]
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Error: " in err and "Traceback" not in err


def test_a_command_is_refused_in_the_same_way_in_a_process_of_its_own(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", "run", "smok"],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "did you mean 'smoke'?" in _refused((done.returncode, done.stdout, done.stderr))
    assert list(here.iterdir()) == []


def test_ctrl_c_says_that_finished_stages_are_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.runs.runner.run_suite", interrupted)
    (tmp_path / "trial.yaml").write_text(SMALL)
    code, _, err = run("run", str(tmp_path / "trial.yaml"))
    assert code == 130
    assert "run the same command to continue" in err and "Traceback" not in err


STOPPED = "stopped; finished stages are kept; run the same command to continue\n"


def _once(number: int) -> None:
    os.kill(os.getpid(), number)


def _three_times(number: int) -> None:
    try:
        os.kill(os.getpid(), number)
    finally:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)


def _in_a_library_that_raises_another_exception(number: int) -> None:
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt:
        raise RuntimeError("initialization failed") from None


def _in_a_library_whose_exception_becomes_a_user_error(number: int) -> None:
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt:
        raise UserError("the model did not load") from None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize(
    "send",
    [
        _once,
        _three_times,
        _in_a_library_that_raises_another_exception,
        _in_a_library_whose_exception_becomes_a_user_error,
    ],
)
def test_a_termination_signal_ends_the_command_with_one_line_and_its_own_exit_code(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, send: Callable[[int], None], number: int, code: int
) -> None:
    monkeypatch.setattr("benchmark.runs.runner.run_suite", lambda *_: send(number))
    (tmp_path / "trial.yaml").write_text(SMALL)
    assert run("run", str(tmp_path / "trial.yaml")) == (code, "", STOPPED)


def test_a_termination_signal_while_the_command_is_being_imported_is_one_line(here: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "sys.argv = ['benchmark', 'plan']\n"
        "from benchmark.__main__ import main\n"
        "main()\n"
    )
    done = _process([sys.executable, "-c", code], here)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", STOPPED)


def _process(command: list[str], cwd: Path, **more: Any) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("PYTHONUNBUFFERED", None)  # with it, stdout has no buffer to flush at exit
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.run(command, cwd=cwd, env=environment, text=True, check=False, **streams)


def test_a_closed_pipe_ends_the_command_without_a_message(here: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = _process([sys.executable, "-m", "benchmark", "doctor"], here, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_on_a_full_disk_is_one_line(here: Path) -> None:
    with open("/dev/full", "w") as full:
        done = _process([sys.executable, "-m", "benchmark", "doctor"], here, stdout=full)
    assert "No space left on device" in _refused((done.returncode, "", done.stderr))


def test_opened_files_do_not_take_the_numbers_of_closed_streams(here: Path) -> None:
    code = (
        "import os, sys\n"
        "from benchmark.__main__ import _open_streams\n"
        "_open_streams()\n"
        "print('to nobody'); print('to nobody', file=sys.stderr, flush=True); sys.stdin.read()\n"
        "os._exit(os.open('file', os.O_CREAT | os.O_RDWR))\n"
    )
    done = _process(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code], here)
    assert done.returncode == 3, "printed lines would be written to the file"
    assert (here / "file").read_text() == ""


@pytest.mark.parametrize(
    ("errno", "message"),
    [
        (28, "No space left on device"),
        (122, "Disk quota exceeded"),
        (27, "File too large"),
        (5, "Input/output error"),
        (30, "Read-only file system"),
        (1, "Operation not permitted"),
        (13, "Permission denied"),
        (20, "Not a directory"),
        (36, "File name too long"),
    ],
)
def test_a_disk_error_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errno: int, message: str
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno, os.strerror(errno), "results")

    monkeypatch.setattr("benchmark.runs.runner.run_suite", fail)
    (tmp_path / "trial.yaml").write_text(SMALL)
    assert f"results: {message}" in _refused(run("run", str(tmp_path / "trial.yaml")))


LIGHT = """
import sys
sys.argv = ["benchmark", *sys.argv[1:]]
from benchmark.cli.app import main
try:
    main()
finally:
    heavy = {"torch", "transformers", "lm_eval", "datasets", "peft", "numpy", "pyarrow", "ray"} & set(sys.modules)
    print("heavy:", *sorted(heavy))
"""


def _light(*arguments: str, cwd: Path) -> tuple[list[str], float]:
    """Run a command in a process of its own; returns its output lines and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", LIGHT, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout.splitlines(), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_answers_at_once_without_loading_heavy_libraries(here: Path) -> None:
    lines, seconds = _light("--help", cwd=here)
    assert lines[-1] == "heavy:"
    assert any("run " in line for line in lines)
    assert seconds < 1.5, "half a second on an idle machine"


def test_a_plan_whose_cells_were_checked_before_needs_no_torch(here: Path) -> None:
    (here / "trial.yaml").write_text(SMALL)
    plan = make_plan(load_suite(here / "trial.yaml"))
    check_cells(plan, plan.cells, here / "results", remember=True)
    lines, seconds = _light("plan", "trial.yaml", "--json", cwd=here)
    assert lines[-1] == "heavy:"
    assert json.loads(lines[0])["cells"] == 3, "the trained one, untouched and open_book"
    assert seconds < 5


def test_a_plan_lists_missing_stages_and_writes_nothing(run: Run, here: Path, tmp_path: Path) -> None:
    suite = tmp_path / "trial.yaml"
    suite.write_text(SMALL.replace("[plain]", "[plain, contrastive_dropout]"))
    code, out, _ = run("plan", str(suite), "--json")
    assert code == 0
    # Two trained cells, and the references untouched and open_book, which need no training.
    stages = {"corpus": 1, "score": 2, "augment": 2, "facts": 1, "train": 2, "evaluate": 2 + 2}
    assert json.loads(out) == {
        "suite": "trial",
        "device": "cpu",
        "cells": 4,
        "cells_done": 0,
        "stages": stages,
        "stages_left": stages,
        "worker_seconds_left": None,
    }
    code, out, _ = run("plan", str(suite))
    assert code == 0 and "suite trial on cpu: 4 cells, 0 of them done" in out
    assert list(here.iterdir()) == []


def test_a_plan_counts_a_broken_artifact_as_missing(run: Run, here: Path, tmp_path: Path) -> None:
    suite = tmp_path / "trial.yaml"
    suite.write_text(SMALL)
    call = make_plan(load_suite(suite)).cells[-1].stages["corpus"]
    broken = here / "results" / "store" / "corpus" / call.key
    broken.mkdir(parents=True)
    (broken / "manifest.json").write_text('{"cost": ')
    code, out, _ = run("plan", str(suite), "--json")
    assert code == 0 and json.loads(out)["stages_left"]["corpus"] == 1


def test_augment_writes_training_texts(run: Run, here: Path) -> None:
    (here / "in.jsonl").write_text('{"id": "a", "text": "One two."}\n{"id": "b", "text": "Three."}\n')
    code, out, _ = run("augment", "plain", "--texts", "in.jsonl", "--out", "out.jsonl")
    assert (code, out) == (0, "out.jsonl: 2 texts from 2\n")
    made = read_augmented(here / "out.jsonl")
    assert [(row.id, row.copy, row.text) for row in made] == [("a", 0, "One two."), ("b", 0, "Three.")]
    assert sorted(path.name for path in here.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_augment_says_that_a_method_also_changes_training_and_writes_its_values(run: Run, here: Path) -> None:
    (here / "in.jsonl").write_text('{"id": "a", "text": "Ada was born in Rome."}\n')
    arguments = ("--texts", "in.jsonl", "--out", "out.jsonl")
    code, out, _ = run("augment", "selective_loss", *arguments, "--large", "zoo:small", "--device", "cpu")
    assert code == 0
    assert out == (
        "out.jsonl: 1 texts from 1\n"
        'selective_loss also changes training (loss "selected", selected 0.6): these texts alone are not the method; '
        "a suite does the rest\n"
    )
    (made,) = read_augmented(here / "out.jsonl")
    code, _, _ = run(
        "score",
        "zoo:small",
        "--reduction",
        "loss",
        "--prefix",
        "",
        "--device",
        "cpu",
        "--texts",
        "in.jsonl",
        "--out",
        "s",
    )
    (scores,) = read_scores(here / "s")
    assert code == 0 and [(start, end) for start, end, _ in made.values] == list(
        zip(scores.start, scores.end, strict=True)
    )
    assert [value for _, _, value in made.values] == pytest.approx(scores.score, rel=1e-6)
    assert scores.score[0] == 0 and all(score > 0 for score in scores.score[1:]), "nothing precedes the first token"


def test_made_up_people_are_a_data_set_for_a_suite(run: Run, here: Path) -> None:
    code, out, _ = run("people", "--count", "4", "--seed", "9", "--out", "mine.jsonl")
    assert (code, out) == (0, "mine.jsonl: 4 people\n")
    (here / "trial.yaml").write_text(SMALL.replace("[biography]", "[{name: biography, path: mine.jsonl}]"))
    code, out, _ = run("plan", "trial.yaml", "--json")
    assert code == 0 and json.loads(out)["cells"] == 1 + 2
    assert len(read_texts(here / "mine.jsonl")) == 4


def test_made_up_people_may_have_universities_with_cities(run: Run, here: Path) -> None:
    made = ("people", "--count", "4", "--seed", "9", "--out", "mine.jsonl")
    assert run(*made, "--universities", "places.jsonl")[0] == 0
    task = "{name: biography, path: mine.jsonl, evaluate: [biography, biography_one_hop], universities: places.jsonl}"
    (here / "trial.yaml").write_text(SMALL.replace("[biography]", f"[{task}]"))
    assert run("plan", "trial.yaml", "--json")[0] == 0
    (here / "trial.yaml").write_text(SMALL.replace("[biography]", f"[{task.replace('places.jsonl', 'none.jsonl')}]"))
    code, _, error = run("plan", "trial.yaml")
    assert code == 2 and "none.jsonl: no such file; universities is a JSONL file" in error and error.count("\n") == 1


# The doctor


def test_doctor_reports_every_check_and_writes_nothing(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{here}/no-engine.sock")
    code, out, _ = run("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(out)}
    assert code == 0
    assert list(findings) == [
        *("device", "driver", "gpu memory", "bfloat16 on the CPU", "cores", "memory", "shared memory", "disk", "locks"),
        *("hugging face cache", "hub", "clock", "container toolkit", "docker"),
    ]
    assert all(finding["ok"] or finding["remedy"] for finding in findings.values())
    assert findings["device"]["found"].startswith("cpu, ")
    assert not findings["docker"]["ok"] and "make" in findings["docker"]["remedy"]
    assert list(here.iterdir()) == []


def test_doctor_names_a_remedy_on_a_cpu_without_bfloat16(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "bfloat16_slowdown", lambda: 47.0)
    finding = next(check for check in doctor.examine() if check.what == "bfloat16 on the CPU")
    assert (finding.ok, finding.found) == (False, "47.0 times the time of float32")
    assert "dtype: float32" in finding.remedy
    monkeypatch.setattr(doctor, "bfloat16_slowdown", lambda: 0.6)
    assert next(check for check in doctor.examine() if check.what == "bfloat16 on the CPU").ok


def test_the_bfloat16_slowdown_is_the_ratio_of_cpu_times(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0

    def product(a: torch.Tensor, b: torch.Tensor) -> None:
        nonlocal clock
        clock += 0.5 if a.dtype == torch.bfloat16 else 0.01

    monkeypatch.setattr(torch, "mm", product)
    monkeypatch.setattr("time.process_time", lambda: clock)
    assert doctor.bfloat16_slowdown() == pytest.approx(50)


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:1", "nonsense://", "unix:///nowhere/docker.sock"])
def test_doctor_works_without_a_docker_engine(here: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    finding = doctor.examine()[-1]
    assert (finding.what, finding.found, finding.ok) == ("docker", "no engine answers", False)


def test_doctor_prints_a_line_for_every_check_and_a_remedy_for_each_problem(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, out, _ = run("doctor")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 14
    assert all(line.startswith(("ok  ", "note")) for line in lines)
    assert "HF_HUB_OFFLINE is set" in lines[10]
    assert lines[13].startswith("note docker: no engine answers (only needed for containers")
