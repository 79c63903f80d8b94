"""A suite whose stages write plausible files and compute nothing: measures plan, store, records and board."""

import itertools
import json
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmark.core.environment import Cost
from benchmark.executors.protocol import Job
from benchmark.progress.events import Events
from benchmark.records.record import ANSWER_COLUMNS
from benchmark.stages import peak_memory, reset_peak_memory
from benchmark.store.artifacts import StageCall

FIELDS = ("major", "company")
PEOPLE = 20


def run_stubbed(cells: int, folder: Path) -> list[dict[str, Any]]:
    """Plan, run, run again and put on a board a number of cells; a row per step with its seconds and peak bytes."""
    from benchmark.runs import runner
    from benchmark.suite.plan import make_plan
    from benchmark.suite.schema import Suite
    from leaderboard.board.assemble import build_board, load_records

    suite = Suite.model_validate(
        {
            "name": "scale",
            "models": {"small": "zoo:small"},
            "tasks": [{"name": "biography", "people": PEOPLE, "evaluate": [f"biography_{field}" for field in FIELDS]}],
            "train": ["small"],
            "methods": [
                "plain_matched",
                {"name": "random_dropout", "alpha": [round(0.001 * n, 3) for n in range(1, 10)]},
            ],
            "seeds": list(range(1, max(1, cells // 10) + 1)),
            "references": False,
            "budgets": [{"steps": 1}],
            "device": "cpu",
        }
    )
    rows: list[dict[str, Any]] = []

    def step(name: str, work: Callable[[], Any]) -> Any:
        reset_peak_memory(on_gpu=False)
        started = time.perf_counter()
        result = work()
        rows.append({"step": name, "seconds": time.perf_counter() - started, "bytes": peak_memory(on_gpu=False)})
        return result

    step("plan", lambda: make_plan(suite).calls())
    step("store and records", lambda: runner.run_suite(suite, folder, folder / "records", _Stub(), plain=True))
    step("the same run once more", lambda: runner.run_suite(suite, folder, folder / "records"))
    records = step("records read", lambda: load_records(folder / "records"))
    step("board", lambda: build_board(records))
    return rows


class _Stub:
    """An executor that writes the stub of each stage, in this process."""

    def run(self, job: Job, events: Events) -> None:
        """Write every artifact of a job."""
        from benchmark.core.environment import environment

        made_on = environment("cpu", job.threads).model_dump(mode="json")
        for call in job.calls:
            job.store.make_artifact(call, partial(_write, call), made_on)
            events.stage_finished(call)


def _write(call: StageCall, out: Path) -> Cost:
    {"train": _training, "evaluate": _answers, "facts": _facts}.get(call.stage, _nothing)(call, out)
    return Cost(seconds=0.0, peak_memory_bytes=0)


def _nothing(call: StageCall, out: Path) -> None:
    (out / "texts.jsonl").write_text('{"id": "p", "text": "Nothing."}\n')


def _facts(call: StageCall, out: Path) -> None:
    counts = {"copies": 1, "facts": 1, "answer": 1.0, "answer_and_name": 1.0, "tokens": 0.0}
    (out / "facts.json").write_text(json.dumps(counts))


def _training(call: StageCall, out: Path) -> None:
    numbers = {"steps": 1, "texts": PEOPLE, "tokens": 1, "micro_batch": 8, "effective_batch": 8, "epochs": 1.0}
    sizes = {"trainable_parameters": 1, "parameters": 1, "loss_first": 1.0, "loss_last": 1.0, "notes": []}
    (out / "training.json").write_text(json.dumps({**numbers, **sizes}))


@cache
def _people() -> Any:
    from benchmark.tasks.biography import biography

    return biography.read_people()[:PEOPLE]


def _answers(call: StageCall, out: Path) -> None:
    import zlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmark.stages.evaluate import means

    rows: list[dict[str, Any]] = []
    halves = ("development", "test")
    for number, person in enumerate(_people()):
        for field, shots in itertools.product(FIELDS, call.params["num_fewshot"]):
            right = float(zlib.crc32(f"{call.key}{number}{field}".encode()) % 2)
            known = {
                "question": f"{person['id']}/{field}",
                "task": f"biography_{field}",
                "cluster": person["id"],
                "shots": shots,
            }
            graded = {"half": halves[number % 2], "exact_match": right, "f1": right, "answered": 1.0, "answer": "stub"}
            rows.append({**dict.fromkeys(ANSWER_COLUMNS), **known, **graded})
    pq.write_table(pa.Table.from_pylist(rows), out / "answers.parquet")
    versions = {f"biography_{field}": "1" for field in FIELDS}
    (out / "results.json").write_text(json.dumps({"scores": means(rows), "versions": versions, "parameters": 1}))
