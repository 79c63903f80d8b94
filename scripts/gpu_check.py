"""Check and measure the project on a GPU, in one session of at most eight minutes that needs no network.

    python -m scripts.gpu_check PATH.gguf [PATH.gguf ...] --out gpu.json
    python -m scripts.gpu_check PATH.gguf --plan                             # what would run, with its limits
    python -m scripts.gpu_check zoo:small --device cpu --quick --threads 1   # a trial of the script itself

Every part is a process with a time limit. A part that fails, or is killed at its limit, is recorded, and the next part
starts. A part that usually takes longer than what is left of the budget does not start. The file of --out is written
anew after every part. Exit code 1: a part failed.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmark import ROOT
from benchmark.core.errors import UserError
from benchmark.core.files import write_atomically
from benchmark.core.signals import Stopped, listening
from perf.ratios import run
from scripts.gpu_parts import DTYPE
from scripts.limited import Part, Result, run_parts

BUDGET = 480.0  # seconds
OF_MODELS = ("scoring", "training", "per_gpu", "memory", "released")
PARTS = ("environment", "tests", "smoke", *OF_MODELS)
# Seconds that a part usually takes, which are estimates, and its limit.
SECONDS: dict[str, tuple[float, float]] = {
    "environment": (10, 60),
    "tests": (30, 120),
    "smoke": (40, 120),
    "unpack": (35, 120),
    "scoring": (12, 60),
    "training": (20, 90),
    "per_gpu": (40, 120),
    "memory": (45, 120),
    "released scoring": (20, 90),
    "released training": (25, 90),
}


# --- one line of what a part prints


def _of_environment(measured: Any) -> str:
    packages = {name: measured["environment"]["packages"].get(name) for name in ("torch", "transformers", "peft")}
    memory = f", {measured['memory_gib']:.0f} GiB" if measured["memory_gib"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return f"{measured['environment']['device']}{memory}; {versions}; CUDA {measured['cuda']}; {measured['driver']}"


def _of_smoke(measured: Any) -> str:
    records = measured["records"]
    losses = [record["loss"] for record in records if record["loss"]]
    return f"{len(records)} records; loss " + ", ".join(f"{first:.2f} → {last:.2f}" for first, last in losses)


def _of_unpack(measured: Any) -> str:
    return f"{measured['bytes'] / 2**30:.2f} GiB"


def _of_ratios(measured: Any) -> str:
    """Each way's ratio to the limit or peer, and its rate."""
    found = []
    for timed in measured["measured"]:
        for way, each in timed["ways"].items():
            if way != timed["to"]:
                amount, unit = timed["amount"]
                rate = f"{amount / each['median']:,.0f} {unit} per second"
                found.append(f"{way}: {each['ratio']:.2f} × {timed['to']} ({rate})")
    return "; ".join(found)


def _of_memory(measured: Any) -> str:
    peaks = sorted(measured["peaks"], key=lambda peak: float(peak["ratio"]))
    low, high = peaks[0], peaks[-1]
    return f"predicted / measured: {low['ratio']:.2f} ({low['stage']}) to {high['ratio']:.2f} ({high['stage']})"


# --- the parts


@dataclass(frozen=True)
class Measurement:
    """A measurement of a model: the script, its options for full and small sizes, and the line of what it prints."""

    script: str
    sizes: str
    quick_sizes: str
    summary: Callable[[Any], str]


_SCORING = Measurement("perf.scoring", "--rounds 3 --count 100", "--rounds 1 --count 8", _of_ratios)
_TRAINING = Measurement(
    "perf.training",
    f"--autocast {DTYPE} --rounds 3 --steps 10",
    f"--autocast {DTYPE} --rounds 1 --steps 1 --batch 2",
    _of_ratios,
)
MEASUREMENTS = {  # in the order in which they run
    "scoring": _SCORING,
    "training": _TRAINING,
    "per_gpu": Measurement(
        "perf.at_once", f"{_TRAINING.sizes} --at-once 2 4", f"{_TRAINING.quick_sizes} --at-once 2", _of_ratios
    ),
    "memory": Measurement(
        "perf.memory",
        f"--autocast {DTYPE} --people 10 --steps 2 --tokens 4096",
        f"--autocast {DTYPE} --people 8 --steps 2 --batch 2 --tokens 128",
        _of_memory,
    ),
    "released scoring": _SCORING,
    "released training": _TRAINING,
}


def parts_of(options: argparse.Namespace, scratch: Path) -> list[Part]:
    """The parts that the options ask for, in the order in which they run; GGUF models are unpacked to `scratch`."""
    device, quick = ["--device", options.device], ["--quick"] if options.quick else []
    needs_cuda = "" if options.device == "cuda" else "needs CUDA"
    tests = ["pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", *_files_of_gpu_tests()]
    parts = [
        _part(options, "environment", ["scripts.gpu_parts", "environment", *device], _of_environment),
        _part(options, "tests", tests, None, refused=needs_cuda),
        _part(options, "smoke", ["scripts.gpu_parts", "smoke", *device, *quick], _of_smoke),
    ]
    parts = [part for part in parts if part.name in options.parts]
    return [*parts, *_parts_of_models(options, scratch)]


def _files_of_gpu_tests() -> list[str]:
    """Files with tests marked gpu: the others take a while to import, and some need packages that only they need."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files if "mark.gpu" in file.read_text(encoding="utf-8")]


def _parts_of_models(options: argparse.Namespace, scratch: Path) -> Iterator[Part]:
    asked = [name for name in MEASUREMENTS if name.split()[0] in options.parts]
    asked = [name for name in asked if options.released or not name.startswith("released")]
    models = [] if not asked else options.models[:1] if asked == ["per_gpu"] else options.models
    ready: list[tuple[str, dict[str, str]]] = []  # what the scripts are given, and the fields of their parts
    for number, model in enumerate(models):
        place, fields = model, {"model": _short(model)}
        if _is_gguf(model):
            place = str(scratch / f"model-{number}")
            command = ["scripts.gpu_parts", "unpack", model, "--out", place]
            unpack = _part(options, "unpack", command, _of_unpack, **fields)
            yield unpack
            fields = {**fields, "needs": unpack.label}
        ready.append((place, fields))
    for name in asked:
        measurement = MEASUREMENTS[name]
        for place, fields in ready[:1] if name == "per_gpu" else ready:
            yield _part(options, name, _command(measurement, name, place, options), measurement.summary, **fields)


def _command(measurement: Measurement, name: str, model: str, options: argparse.Namespace) -> list[str]:
    sizes = measurement.quick_sizes if options.quick else measurement.sizes
    common = ["--dtype", DTYPE, "--device", options.device, "--threads", str(options.threads), "--json"]
    released = ["--released", str(options.released.absolute())] if name.startswith("released") else []
    return [measurement.script, model, *common, *sizes.split(), *released]


def _part(
    options: argparse.Namespace, name: str, module: Sequence[str], summary: Callable[[Any], str] | None, **more: str
) -> Part:
    usual, limit = (seconds * options.slower for seconds in SECONDS[name])
    return Part(name, [sys.executable, "-m", *module], usual, limit, summary=summary, **more)


def _is_gguf(model: str) -> bool:
    from benchmark.models.spec import ModelSpec

    return ModelSpec(model=model).is_gguf


def _short(model: str) -> str:
    return model if model.startswith("zoo:") else Path(model).name


# --- the command


def main(given: list[str] | None = None) -> int:
    """Run the parts, print their table and write the file; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("models", nargs="*", help=".gguf files, folders or zoo:NAME; per_gpu measures the first")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these [default: all]")
    parser.add_argument("--released", type=Path, help="checkout of the released code, to time as well")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for all parts [default: 480]")
    parser.add_argument("--slower", type=float, default=1.0, help="multiply limits and usual seconds by this")
    parser.add_argument("--quick", action="store_true", help="small sizes: tries the script, measures nothing")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch on a CPU")
    parser.add_argument("--plan", action="store_true", help="print what would run, and run nothing")
    parser.add_argument("--out", type=Path, help="file for all results, as JSON")
    options = parser.parse_args(given)
    _check(options)
    options.parts = options.parts or PARTS
    with TemporaryDirectory(prefix="gpu-check-") as scratch, listening():
        parts = parts_of(options, Path(scratch))
        if options.plan:
            print(plan(parts, options.budget))
            return 0
        return _run(parts, options)


def _check(options: argparse.Namespace) -> None:
    """Raise UserError if an option cannot be followed; the session is too short to find out later."""
    from benchmark.models.spec import ModelSpec

    for number, model in enumerate(options.models):
        local = ModelSpec(model=model).local
        if local is None:
            raise UserError(f"{model}: no such file or folder; give a .gguf file, a folder or zoo:NAME")
        if not model.startswith("zoo:"):
            options.models[number] = str(local.absolute())  # the scripts run in the project's folder
    if options.released and not options.released.is_dir():
        raise UserError(f"--released {options.released}: no such folder; give a checkout of the released code")
    asked = options.parts or []
    if (of_models := sorted({*asked} & {*OF_MODELS})) and not options.models:
        raise UserError(f"--parts {of_models[0]}: measures a model; name a .gguf file, a folder or zoo:NAME")
    if "released" in asked and not options.released:
        raise UserError("--parts released: needs the released code; add --released CHECKOUT")
    if options.budget <= 0 or options.slower <= 0:
        raise UserError("--budget and --slower: expected numbers above 0")


def plan(parts: Sequence[Part], budget: float) -> str:
    """A table of what would run, with limits, and whether it usually fits into the budget."""
    from tabulate import tabulate

    rows = [
        [part.name, part.model, f"{part.usual:.0f}", f"{part.limit:.0f}", part.refused or shlex.join(part.command[1:])]
        for part in parts
    ]
    usual = sum(part.usual for part in parts if not part.refused)
    table = tabulate(rows, headers=["part", "model", "usual, s", "limit, s", "command"], tablefmt="pipe")
    return f"{table}\nusually {usual:.0f} s of {budget:.0f} s; parts that no longer fit will not run"


def _run(parts: Sequence[Part], options: argparse.Namespace) -> int:
    started = time.monotonic()
    results: list[Result] = []

    def report(so_far: list[Result]) -> None:
        results[:] = so_far
        _write(results, options, time.monotonic() - started)
        if results:
            last = results[-1]
            kind = f" ({last.kind})" if last.kind else ""
            ended = f"[{len(results)}/{len(parts)}] {last.label}: {last.result}{kind}, {last.seconds:.0f} s"
            print(ended, file=sys.stderr, flush=True)

    report([])  # a file that cannot be written is found now
    try:
        run_parts(parts, options.budget, report)
    except Stopped:
        print(f"stopped after {len(results)} of {len(parts)} parts", file=sys.stderr)
        print(_table(results))
        return 130
    print(_table(results))
    counts = {result: sum(each.result == result for each in results) for result in ("ok", "failed", "not run")}
    summary = ", ".join(f"{count} {result}" for result, count in counts.items())
    print(f"{summary}; {time.monotonic() - started:.0f} s of {options.budget:.0f} s")
    return 1 if counts["failed"] else 0


def _write(results: Sequence[Result], options: argparse.Namespace, seconds: float) -> None:
    if options.out is None:
        return
    settings = {"device": options.device, "quick": options.quick, "budget": options.budget, "threads": options.threads}
    content = {**settings, "seconds": seconds, "parts": [asdict(result) for result in results]}
    try:
        write_atomically(options.out, json.dumps(content, indent=1))
    except OSError as error:
        raise UserError(f"--out {options.out}: {error.strerror}; give a file that can be written") from None


def _table(results: Sequence[Result]) -> str:
    from tabulate import tabulate

    rows = [
        [each.part, each.model, each.result, each.kind, f"{each.seconds:.0f}", f"{each.limit:.0f}", each.found]
        for each in results
    ]
    heads = ["part", "model", "result", "kind", "seconds", "limit, s", "found"]
    return tabulate(rows, headers=heads, tablefmt="pipe", disable_numparse=True)


if __name__ == "__main__":
    raise SystemExit(run(main))
