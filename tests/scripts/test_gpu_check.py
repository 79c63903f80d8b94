"""The prepared session on a GPU: which parts it has, what it prints and writes, and the cheapest parts on a CPU."""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark.suite.schema import Suite
from perf.ratios import Timed, run
from scripts import gpu_check
from scripts.gpu_check import SECONDS, main
from scripts.gpu_parts import smoke_suite
from scripts.limited import Part


class Parsed(Exception):
    """Raised in place of what a script does with its options."""


def parts(*given: str, monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """The parts that the command would run."""
    found: list[Part] = []
    monkeypatch.setattr(gpu_check, "plan", lambda parts, _: found.extend(parts))
    assert main([*given, "--plan"]) == 0
    return found


def labels(*given: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return [part.label for part in parts(*given, monkeypatch=monkeypatch)]


def stubs(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    """Replace all parts by shell scripts."""
    made = [Part(f"part{number}", ["sh", "-c", script], 0, 30) for number, script in enumerate(scripts)]
    monkeypatch.setattr(gpu_check, "parts_of", lambda *_: made)


def gguf(folder: Path, name: str) -> str:
    """An empty file: nothing reads it before its part runs."""
    (folder / name).touch()
    return str(folder / name)


def test_the_parts_of_a_model_follow_those_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = ["zoo:small", "zoo:large"]
    assert labels(*models, "--released", str(tmp_path), monkeypatch=monkeypatch) == [
        "environment",
        "tests",
        "smoke",
        *(f"{part} {model}" for part in ("scoring", "training") for model in models),
        "per_gpu zoo:small",
        *(f"{part} {model}" for part in ("memory", "released scoring", "released training") for model in models),
    ]


def test_a_gguf_model_is_unpacked_once_and_measured_from_that_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = gguf(tmp_path, "a.gguf"), gguf(tmp_path, "b.gguf")
    found = parts(first, second, "--parts", "scoring", "memory", monkeypatch=monkeypatch)
    unpacked = {part.model: part.command[-1] for part in found if part.name == "unpack"}
    assert unpacked.keys() == {"a.gguf", "b.gguf"} and len(set(unpacked.values())) == 2
    for part in found[2:]:
        assert part.command[3] == unpacked[part.model]
        assert part.needs == f"unpack {part.model}"


def test_only_the_first_model_is_unpacked_for_per_gpu_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = [gguf(tmp_path, "a.gguf"), gguf(tmp_path, "b.gguf")]
    assert labels(*models, "--parts", "per_gpu", monkeypatch=monkeypatch) == ["unpack a.gguf", "per_gpu a.gguf"]
    assert labels(*models, "--parts", "environment", monkeypatch=monkeypatch) == ["environment"]


def test_on_a_cpu_the_tests_marked_gpu_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {part.name: part.refused for part in parts("--device", "cpu", monkeypatch=monkeypatch) if part.refused}
    assert refused == {"tests": "needs CUDA"}
    assert not any(part.refused for part in parts(monkeypatch=monkeypatch))


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_every_script_takes_the_options_that_its_part_gives(
    quick: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = [gguf(tmp_path, "a.gguf"), "--released", str(tmp_path), *quick]
    found = parts(*given, monkeypatch=monkeypatch)
    parse = argparse.ArgumentParser.parse_args
    options: dict[str, dict[str, Any]] = {}

    def parse_only(self: argparse.ArgumentParser, *given: Any) -> Any:
        options[part.name] = vars(parse(self, *given))
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    for part in found:
        assert part.command[:2] == [sys.executable, "-m"]
        if part.name != "tests":
            with pytest.raises(Parsed):
                importlib.import_module(part.command[2]).main(list(part.command[3:]))
    for name in ("scoring", "training", "per_gpu", "memory"):
        assert (options[name]["dtype"], options[name]["device"]) == ("bfloat16", "cuda")
        assert options[name].get("autocast", "bfloat16") == "bfloat16"


def test_usual_seconds_of_two_gguf_models_fit_into_the_budget() -> None:
    """Only the released code's parts may be left out for lack of time."""
    once = ("environment", "tests", "smoke", "per_gpu")
    twice = ("unpack", "scoring", "training", "memory")
    assert sum(SECONDS[name][0] for name in once) + 2 * sum(SECONDS[name][0] for name in twice) <= 480
    assert all(usual < limit for usual, limit in SECONDS.values())


def test_a_failed_part_gives_exit_code_1_a_table_and_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.json"
    stubs(monkeypatch, "echo fine", "echo broken >&2; exit 3")
    assert main(["--out", str(out), "--device", "cpu"]) == 1
    content = json.loads(out.read_text())
    first, second = content["parts"]
    assert (content["device"], content["budget"]) == ("cpu", 480)
    assert (first["part"], first["result"], first["found"]) == ("part0", "ok", "fine")
    assert (second["result"], second["kind"], second["tail"]) == ("failed", "exit code 3", "broken")
    printed, progress = capsys.readouterr()
    row = next(line for line in printed.splitlines() if line.startswith("| part1"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:4] == ["failed", "exit code 3"] and cells[-1] == "broken"
    assert printed.splitlines()[-1].startswith("1 ok, 1 failed, 0 not run; ")
    assert progress.splitlines()[-1].startswith("[2/2] part1: failed (exit code 3), ")


def test_without_a_failure_the_exit_code_is_0_and_the_file_is_written_after_every_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "gpu.json"
    stubs(monkeypatch, "true", f"cp {out} {tmp_path}/seen")
    assert main(["--out", str(out)]) == 0
    assert [part["part"] for part in json.loads((tmp_path / "seen").read_text())["parts"]] == ["part0"]


def test_the_plan_shows_commands_and_limits_and_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stubs(monkeypatch, f"touch {tmp_path}/ran")
    assert main(["--plan", "--budget", "100"]) == 0
    printed = capsys.readouterr().out
    assert f"touch {tmp_path}/ran" in printed and "30" in printed
    assert printed.splitlines()[-1].startswith("usually 0 s of 100 s")
    assert not (tmp_path / "ran").exists()


def test_limits_of_a_slower_machine_are_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    (part,) = parts("--parts", "smoke", "--slower", "3", monkeypatch=monkeypatch)
    assert (part.usual, part.limit) == tuple(3 * seconds for seconds in SECONDS["smoke"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["none.gguf"], "none.gguf"),
        (["zoo:none"], "not in the zoo"),
        (["--parts", "scoring"], "--parts scoring: measures a model"),
        (["zoo:small", "--parts", "released"], "--parts released: needs the released code"),
        (["zoo:small", "--released", "none"], "--released none: no such folder"),
        (["--budget", "0"], "--budget"),
        (["--parts", "environment", "--out", "none/x.json"], "--out none/x.json"),
    ],
)
def test_an_option_that_cannot_be_followed_is_one_line(
    given: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(lambda: main(given)) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_ratios_are_summed_up_in_a_line() -> None:
    timed = Timed("which", {"ours": [3.0], "limit": [2.0]}, to="limit", amount=(6000, "tokens"))
    assert gpu_check._of_ratios({"measured": [timed.as_dict()]}) == "ours: 1.50 × limit (2,000 tokens per second)"


def test_the_lowest_and_highest_ratio_of_predicted_memory_are_named() -> None:
    peaks = [{"stage": "train", "ratio": 1.2}, {"stage": "score", "ratio": 0.9}, {"stage": "retain", "ratio": 1.0}]
    assert gpu_check._of_memory({"peaks": peaks}) == "predicted / measured: 0.90 (score) to 1.20 (train)"


@pytest.mark.parametrize("quick", [False, True])
def test_the_smoke_suite_computes_in_bfloat16_on_the_device(quick: bool) -> None:
    suite = Suite.model_validate(smoke_suite("cuda", quick))
    assert suite.device == "cuda"
    assert {spec.dtype for spec in suite.models.values()} == {"bfloat16"}
    assert [(recipe.autocast, recipe.adaptation) for recipe in suite.recipes] == [("bfloat16", "lora")]


@pytest.mark.slow
def test_the_cheapest_parts_run_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    given = ["zoo:small", "--device", "cpu", "--quick", "--threads", "1", "--parts", "environment", "tests", "scoring"]
    assert main([*given, "--out", str(out), "--slower", "5"]) == 0
    environment, tests, scoring = json.loads(out.read_text())["parts"]
    assert environment["result"] == "ok" and "torch" in environment["found"]
    assert (tests["result"], tests["found"]) == ("not run", "needs CUDA")
    assert scoring["result"] == "ok" and " × SDPA forward pass (" in scoring["found"]
    (timed,) = scoring["measured"]["measured"]
    assert timed["ways"].keys() == {"scoring", "SDPA forward pass"}
