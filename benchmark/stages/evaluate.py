"""Evaluate stage: lm-eval asks a model the questions of a task, and every answer is kept."""

import json
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.progress import Progress
from benchmark.corpora import make_task
from benchmark.evaluation.asking import ask
from benchmark.models.loading import load_trained, parameter_count, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.records.record import ANSWER_COLUMNS, HALVES, METRICS
from benchmark.records.scores import Scores
from benchmark.stages.files import ANSWERS, RESULTS, WEIGHTS
from benchmark.store.artifacts import StageCall


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write answers.parquet (a row per question and number of examples) and results.json (means, task versions).

    The model is the input "trained"; without this input, the model before training.
    """
    import torch

    params = call.params
    torch.set_num_threads(params["threads"])
    check_task_unchanged(call)
    spec = ModelSpec.model_validate(call.where["model"])
    model = load_trained(spec, params["device"], inputs["trained"] / WEIGHTS if "trained" in inputs else None)
    answers = ask(
        model,
        tokenizer_of(spec),
        params["tasks"],
        call.where["metadata"],
        batch_size=params["batch_size"],
        num_fewshot=params["num_fewshot"],
        progress=progress,
        skip_too_long="all" if params.get("open_book") else params.get("skip_too_long", "none"),
    )
    rows = answer_rows(answers.samples)
    _write_answers(out / ANSWERS, rows)
    results = {"scores": means(rows), "versions": answers.versions, "parameters": parameter_count(model)}
    if answers.notes:
        results["notes"] = answers.notes
    (out / RESULTS).write_text(json.dumps(results, indent=1, sort_keys=True))
    progress(1, 1)


def check_task_unchanged(call: StageCall) -> None:
    """Check that the task has not changed since the suite was planned, since the stage's key names the old one.

    Raises:
        UserError: If its data or its definition has changed.
    """
    if "entry" not in call.where:
        return
    task = make_task(call.where["entry"])
    corpus = task.load()
    if (corpus.data_hash, corpus.definition_hash) != (call.params["data"], call.params["definition"]):
        raise UserError(f"task {task.name}: its data or definition changed while the suite ran; run the suite again")


def answer_rows(samples: dict[tuple[str, int], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row with ANSWER_COLUMNS as keys for each question, by task and number of examples."""
    return [row for task, shots in sorted(samples) for row in _rows(task, shots, samples[task, shots])]


def _rows(task: str, shots: int, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one lm-eval task with one number of examples, in the order of its questions."""
    rows = []
    for sample in sorted(samples, key=lambda s: s["doc_id"]):
        document = sample["doc"]
        row: dict[str, Any] = dict.fromkeys(ANSWER_COLUMNS)
        row.update(question=document["id"], task=task, cluster=document["cluster"], half=document["half"], shots=shots)
        row.update({metric: float(sample[metric]) for metric in METRICS if metric in sample})
        if row["exact_match"] is not None:
            answer = sample["filtered_resps"][0]
            row["answer"] = answer if isinstance(answer, str) else answer[0]
        rows.append(row)
    return rows


def means(rows: list[dict[str, Any]]) -> Scores:
    """Mean of every metric by task, number of examples and half."""
    values: dict[tuple[str, int, str, str], list[float]] = {}
    for row in rows:
        for metric in METRICS:
            if row[metric] is not None:
                values.setdefault((row["task"], row["shots"], row["half"], metric), []).append(row[metric])
    scores: Scores = {}
    for (task, shots, half, metric), numbers in sorted(values.items()):
        halves = scores.setdefault(task, {}).setdefault(str(shots), {h: {} for h in HALVES})
        halves[half][metric] = round(sum(numbers) / len(numbers), 6)
    return scores


def _write_answers(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {**{metric: pa.float32() for metric in METRICS}, "shots": pa.int32()}
    schema = pa.schema([(name, numbers.get(name, pa.string())) for name in ANSWER_COLUMNS])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")
