"""Records as the files that lm-eval (0.4.13) writes with --output_path and --log_samples, for tools that read them.

OUT/<suite>__<record>__<K>-shot/results_<date>.json          the means of the test half, which a stock run asks about
OUT/<suite>__<record>__<K>-shot/samples_<task>_<date>.jsonl  its questions, a line each

Every cell is a model of its own, since each was trained separately. As in lm-eval, each number of examples is a run;
tasks without examples are in the run with the lowest number. Fields that a record does not keep are empty: prompts,
their hashes, and likelihoods.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmark.core.errors import UserError
from benchmark.core.files import write_atomically
from benchmark.records.record import METRICS, Record
from leaderboard.board.answers import HALF, read_answers, with_new_columns
from leaderboard.board.choice import RecordFile
from leaderboard.submission.content import TASK_NAME

Samples = dict[tuple[str, int], list[dict[str, Any]]]  # lm-eval task, number of examples → a line for each question

FILTER = "none"  # lm-eval's name for answers that no filter changed


def write_lm_eval(records: Sequence[RecordFile], out: Path) -> list[Path]:
    """Write the files of every record.

    Raises:
        UserError: answers do not match their record, or the name of an lm-eval task cannot be part of a file name.
    """
    paths: list[Path] = []
    for path, record in records:
        read_answers(path, record)  # checks them against the record
        for task in record.scores:
            if not re.fullmatch(TASK_NAME, task):
                raise UserError(f"{path}: scores: {task[:60]!a} is not a valid lm-eval task name; run the suite again")
        for shots, samples in _runs(path, record).items():
            paths += _write_run(out, f"{record.suite}/{path.stem}/{shots}-shot", record, samples)
    return paths


def _write_run(out: Path, name: str, record: Record, samples: Samples) -> list[Path]:
    folder = out / re.sub(r'["<>:/|\\?*\[\]]+', "__", name)  # as lm-eval does with the name of a model
    folder.mkdir(parents=True, exist_ok=True)
    created = datetime.fromisoformat(record.created).astimezone(UTC)
    date = created.strftime("%Y-%m-%dT%H-%M-%S.%f")
    files = {f"results_{date}.json": json.dumps(_results(record, name, folder.name, created, samples), indent=2)}
    for (task, _), lines in samples.items():
        files[f"samples_{task}_{date}.jsonl"] = "".join(f"{json.dumps(line)}\n" for line in lines)
    for file, text in files.items():
        write_atomically(folder / file, text)
    return [folder / file for file in files]


def _runs(path: Path, record: Record) -> dict[int, Samples]:
    """The samples of each run of lm-eval, by its number of examples."""
    samples = _samples(path, record)
    numbers = record.shots or [0]
    return {
        number: {
            (task, shots): lines
            for (task, shots), lines in samples.items()
            if shots == number or (number == numbers[0] and "exact_match" not in lines[0]["metrics"])
        }
        for number in numbers
    }


def _samples(path: Path, record: Record) -> Samples:
    """The lines that lm-eval logs for questions, by task and number of examples, in the order of the answers."""
    table = with_new_columns(pq.ParquetFile(path.parent / record.answers.file).read(), record)
    samples: Samples = {}
    for row in table.filter(pc.equal(table["half"], HALF)).to_pylist():
        task_samples = samples.setdefault((row["task"], row["shots"]), [])
        measured = {metric: row[metric] for metric in METRICS if row[metric] is not None}
        answer = [] if row["answer"] is None else [row["answer"]]
        task_samples.append(
            {
                "doc_id": len(task_samples),
                "doc": {"id": row["question"], "cluster": row["cluster"], "half": row["half"]},
                "target": "",
                "arguments": {},
                "resps": [answer],
                "filtered_resps": answer,
                "filter": FILTER,
                "metrics": list(measured),
                "doc_hash": "",
                "prompt_hash": "",
                "target_hash": "",
                **measured,
            }
        )
    return samples


def _results(record: Record, name: str, folder: str, created: datetime, samples: Samples) -> dict[str, Any]:
    evaluate = record.cost.get("evaluate")
    metrics = {task: lines[0]["metrics"] for (task, _), lines in samples.items()}
    return {
        "results": {task: _means(task, lines) for (task, _), lines in samples.items()},
        "group_subtasks": {},
        "configs": {
            task: {
                "task": task,
                "output_type": "generate_until" if "exact_match" in measured else "multiple_choice",
                "metric_list": [
                    {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in measured
                ],
                "metadata": {"version": record.task.versions.get(task)},
            }
            for task, measured in metrics.items()
        },
        "versions": {task: record.task.versions.get(task) for task in metrics},
        "n-shot": dict(samples.keys()),
        "higher_is_better": {task: dict.fromkeys(measured, True) for task, measured in metrics.items()},
        "n-samples": {task: {"original": len(lines), "effective": len(lines)} for (task, _), lines in samples.items()},
        "config": {
            "model": "hf",
            "model_args": {"pretrained": name},
            "model_num_parameters": record.model.parameters,
            "model_dtype": record.model.spec.get("dtype"),
            "model_sha": record.model.fingerprint,
            "batch_size": record.evaluation.get("batch_size"),
            "batch_sizes": [],
            "device": record.environment.device,
            "use_cache": None,
            "limit": None,
            "bootstrap_iters": 0,
            "gen_kwargs": {},
        },
        "git_hash": record.environment.commit,
        "date": created.timestamp(),
        "transformers_version": record.environment.packages.get("transformers"),
        "lm_eval_version": record.evaluation.get("lm_eval"),
        "upper_git_hash": None,
        "task_hashes": {},
        "model_source": "hf",
        "model_name": name,
        "model_name_sanitized": folder,
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "chat_template_sha": None,
        "total_evaluation_time_seconds": str(evaluate.seconds) if evaluate else None,
        "record": record.model_dump(mode="json"),  # not a key of lm-eval: the whole record
    }


def _means(task: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """A task's means with their standard errors over questions: the sample's standard deviation / √n, as in lm-eval."""
    means: dict[str, Any] = {"name": task, "alias": task, "sample_len": len(lines)}
    for metric in lines[0]["metrics"]:
        values = np.array([line[metric] for line in lines], dtype=np.float64)
        means[f"{metric},{FILTER}"] = float(values.mean())
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else "N/A"
        means[f"{metric}_stderr,{FILTER}"] = error
    return means
