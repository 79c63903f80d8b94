"""Time and memory of every stage as the number of people, the length of texts, or the number of cells grows.

    python -m perf.scale people --sizes 100 1000 10000 100000
    python -m perf.scale length --sizes 64 512 4096 8192
    python -m perf.scale cells --sizes 10 100 1000 10000 --plot docs/images/scale.svg

For people and lengths, a small suite runs, and the cost of its stages is read from their artifacts. For cells, stages
write plausible files and compute nothing, so that the plan, the store, the records and the board are measured. The
column "power" gives the exponent with which the time grew since the previous size: 1 is linear.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmark import ROOT
from perf.ratios import run
from perf.stub import run_stubbed

Row = dict[str, Any]
SIZES = {"people": [100, 1000, 10_000, 100_000], "length": [64, 512, 4096, 8192], "cells": [10, 100, 1000, 10_000]}


def main(given: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("what", choices=SIZES)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--json", action="store_true", help="print all measurements as JSON")
    parser.add_argument("--plot", type=Path, help="SVG file for a plot of the times")
    options = parser.parse_args(given)
    measure: Callable[[int, Path], list[Row]] = {"people": _people, "length": _length, "cells": _cells}[options.what]
    rows: list[Row] = []
    if options.what == "cells":
        with TemporaryDirectory() as folder:
            _cells(10, Path(folder))  # loads all libraries, so that the smallest size does not include that
    for size in sorted(options.sizes or SIZES[options.what]):
        with TemporaryDirectory() as folder:
            started = time.perf_counter()
            rows += [{options.what: size, **row} for row in measure(size, Path(folder))]
            print(f"{options.what} {size:,}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    if options.plot:
        _plot(rows, options.what, options.plot)
    print(json.dumps(rows, indent=1) if options.json else table(rows, options.what))
    return 0


def table(rows: Sequence[Row], what: str) -> str:
    """A row per step and size, in Markdown, with the power of growth of its seconds."""
    from tabulate import tabulate

    steps = list(dict.fromkeys(row["step"] for row in rows))
    lines = []
    for step in steps:
        before: Row | None = None
        for row in sorted((row for row in rows if row["step"] == step), key=lambda row: row[what]):
            power = f"{growth(before, row, what):.2f}" if before else ""
            memory = f"{row['bytes'] / 2**20:,.0f}" if row["bytes"] else "–"
            lines.append([step, f"{row[what]:,}", f"{row['seconds']:,.2f}", power, memory])
            before = row
    headers = ["step", what, "seconds", "power", "peak MiB"]
    return tabulate(lines, headers=headers, tablefmt="pipe", disable_numparse=True)


def growth(before: Mapping[str, Any], after: Mapping[str, Any], what: str) -> float:
    """The exponent k with which seconds grew: proportional to size to the power of k."""
    return math.log(after["seconds"] / before["seconds"]) / math.log(after[what] / before[what])


def _people(count: int, folder: Path) -> list[Row]:
    """One cell on `count` people, with one question about each."""
    people = folder / "people.jsonl"
    started = time.perf_counter()
    _benchmark("people", "--count", str(count), "--out", str(people))
    made = {"step": "people", "seconds": time.perf_counter() - started, "bytes": 0}
    content = {
        "models": {"large": "zoo:large", "small": "zoo:small"},
        "pairs": {"tiny": {"large": "large", "small": "small"}},
        "tasks": [{"name": "biography", "path": str(people), "evaluate": ["biography_major"]}],
        "train": ["small"],
        "methods": [{"name": "contrastive_dropout", "alpha": 0.2}],
    }
    return [made, *_stages(content, folder, steps=20)]


def _length(tokens: int, folder: Path) -> list[Row]:
    """One cell on eight documents of `tokens` tokens, with a model of random weights whose context is long enough."""
    from perf.inputs import text_of

    model = _long_model(folder / "model", tokens)
    from benchmark.models.loading import load_tokenizer

    text = text_of(load_tokenizer(str(model)), tokens - 8, "")
    question = {"question": "What is the first word?", "answers": [text.split()[0]]}
    lines = [json.dumps({"text": text, "questions": [question]}) for _ in range(8)]
    (folder / "documents.jsonl").write_text("\n".join(f'{line[:-1]}, "id": "{n}"}}' for n, line in enumerate(lines)))
    content = {
        "models": {"long": str(model)},
        "tasks": [{"name": "corpus", "path": str(folder / "documents.jsonl")}],
        "train": ["long"],
        "methods": [{"name": "attention_dropout", "alpha": 0.2}],
    }
    return _stages(content, folder, steps=2)


def _long_model(folder: Path, context: int) -> Path:
    """A Llama of random weights with the tiny pair's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from benchmark.models.loading import load_tokenizer

    torch.manual_seed(0)
    tokenizer = load_tokenizer("zoo:small")
    sizes: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2}
    config = LlamaConfig(
        vocab_size=len(tokenizer), num_attention_heads=4, max_position_embeddings=max(512, context), **sizes
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _stages(content: Row, folder: Path, steps: int) -> list[Row]:
    """The cost of each stage of a suite, from its record, and the time of a second run."""
    common = {"name": "scale", "budgets": [{"steps": steps}], "recipe": {"adaptation": "full"}, "device": "cpu"}
    suite = folder / "suite.yaml"
    suite.write_text(json.dumps({**common, **content}))  # JSON is YAML
    _benchmark("run", str(suite), "--results", str(folder / "results"), "--plain")
    started = time.perf_counter()
    _benchmark("run", str(suite), "--results", str(folder / "results"), "--plain")
    again = {"step": "the same run once more", "seconds": time.perf_counter() - started, "bytes": 0}
    (record,) = (folder / "results/records/scale").glob("*.json")
    cost = json.loads(record.read_text())["cost"]
    return [
        *(
            {"step": role, "seconds": each["seconds"], "bytes": each["peak_memory_bytes"]}
            for role, each in cost.items()
        ),
        again,
    ]


def _cells(count: int, folder: Path) -> list[Row]:
    """A suite of `count` cells whose stages compute nothing."""
    return run_stubbed(count, folder)


def _benchmark(*words: str) -> None:
    ran = subprocess.run([sys.executable, "-m", "benchmark", *words], capture_output=True, text=True, cwd=ROOT)
    if ran.returncode:
        raise SystemExit(ran.stderr)


def _plot(rows: Sequence[Row], what: str, file: Path) -> None:
    """Plot seconds by size on logarithmic axes, a line per step, and a dashed line for linear growth."""
    import altair as alt

    data = alt.Data(values=[{"size": row[what], "seconds": row["seconds"], "step": row["step"]} for row in rows])
    sizes = [row[what] for row in rows]
    least = max(0.01, min(row["seconds"] for row in rows))
    slope = [{"size": size, "seconds": least * size / min(sizes)} for size in (min(sizes), max(sizes))]
    x = alt.X("size:Q", scale=alt.Scale(type="log"), title=what)
    y = alt.Y("seconds:Q", scale=alt.Scale(type="log"))
    lines = alt.Chart(data).mark_line(point=True).encode(x=x, y=y, color="step:N")
    linear = alt.Chart(alt.Data(values=slope)).mark_line(strokeDash=[4, 4], color="gray").encode(x=x, y=y)
    (lines + linear).properties(width=520, height=320).save(file)


if __name__ == "__main__":
    raise SystemExit(run(main))
