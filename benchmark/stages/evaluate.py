"""Evaluate stage: lm-eval asks a trained model the task's questions; every answer is kept."""

import itertools
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.core.errors import UserError, nearest
from benchmark.core.progress import Progress
from benchmark.corpora import TASKS, make_task
from benchmark.corpora.base import CHOICE, CLOZE
from benchmark.models.loading import load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.records.record import ANSWER_COLUMNS, HALVES, METRICS, Scores
from benchmark.store.artifacts import StageCall

ANSWERS, RESULTS = "answers.parquet", "results.json"
MAX_GEN_TOKS = 256  # lm-eval's own limit, where a task says none
PROMPTS_AT_ONCE = 1000  # whose tokens are held together while their lengths are checked


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write answers.parquet (a row per question and number of examples) and results.json (means, task versions).

    The model is the input "trained", or without one the model as it was before training.
    """
    import torch

    params = call.params
    torch.set_num_threads(params["threads"])
    check_questions(call)
    spec = ModelSpec.model_validate(call.where["model"])
    if "trained" in inputs:
        model = trained_model(spec, params["device"], inputs["trained"] / "model")
    else:
        model = load_model(spec, params["device"])
    answers = ask(
        model,
        tokenizer_of(spec),
        params["tasks"],
        call.where["metadata"],
        batch_size=params["batch_size"],
        num_fewshot=params["num_fewshot"],
        progress=progress,
        where_it_fits=params.get("open_book", False),
    )
    rows = answer_rows(answers.samples)
    _write_answers(out / ANSWERS, rows)
    results = {"scores": means(rows), "versions": answers.versions, "parameters": parameters_of(model)}
    if answers.notes:
        results["notes"] = answers.notes
    (out / RESULTS).write_text(json.dumps(results, indent=1, sort_keys=True))
    progress(1, 1)


def parameters_of(model: Any) -> int:
    """The parameters of a model without an adapter on it."""
    return sum(p.numel() for name, p in model.named_parameters() if "lora_" not in name)


def check_questions(call: StageCall) -> None:
    """Refuse data or a definition of the task that changed since the run was planned, whose answers the key forbids.

    Raises UserError saying so.
    """
    if "entry" not in call.where:
        return
    task = make_task(call.where["entry"])
    corpus = task.load()
    if (corpus.data_hash, corpus.definition_hash) != (call.params["data"], call.params["definition"]):
        raise UserError(f"task {task.name}: its data or definition changed while the suite ran; run the suite again")


def answer_rows(samples: dict[tuple[str, int], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row per question, task by task and by the number of examples, with ANSWER_COLUMNS as keys."""
    return [row for task, shots in sorted(samples) for row in _rows(task, shots, samples[task, shots])]


def trained_model(spec: ModelSpec, device: str, weights: Path) -> Any:
    """The base model with the trained adapter on it, or the trained weights in its place."""
    if (weights / "adapter_config.json").is_file():
        from peft import PeftModel

        return PeftModel.from_pretrained(load_model(spec, device), weights).eval()
    how = spec.model_dump(include={"dtype", "trust_remote_code", "device_map"})
    own = ModelSpec(model=str(weights.resolve()), **how)
    return load_model(own, device)


class Answers(NamedTuple):
    """What asking came to: lm-eval's samples per task and number of examples, the versions of the tasks, and notes."""

    samples: dict[tuple[str, int], list[dict[str, Any]]]
    versions: dict[str, str]
    notes: list[str]


def ask(
    model: Any,
    tokenizer: Any,
    tasks: list[str],
    metadata: dict[str, Any],
    batch_size: int,
    num_fewshot: Sequence[int],
    progress: Progress = lambda *steps: None,
    where_it_fits: bool = False,
) -> Answers:
    """Run lm-eval's tasks or groups of the project's task folder on a model, with each number of examples.

    `progress` is told of the requests answered, of a kind (generations, likelihoods) at a time. Tasks that say
    themselves that they take no examples (likelihoods, cloze) are asked once. With `where_it_fits` questions whose
    prompt the model has no room for are left out, and a note says how many.

    Raises UserError for a task that is not there, a prompt that the model has no room for, or an answer that is longer
    than the generation limit.
    """
    quiet_lm_eval()
    from lm_eval.tasks import TaskManager

    from benchmark.models.answering import evaluated

    manager = TaskManager(include_path=str(TASKS), include_defaults=False, metadata=dict(metadata))
    for name in tasks:
        if name not in manager.all_tasks:
            raise UserError(f"lm-eval task {name!r}: unknown; {nearest(name, manager.all_tasks)}")
    asked = language_model(model, tokenizer, batch_size, progress)
    samples: dict[tuple[str, int], list[dict[str, Any]]] = {}
    versions: dict[str, str] = {}
    for shots, loaded in loaded_by_shots(manager, tasks, num_fewshot):
        chosen = None
        if where_it_fits:
            chosen, note = _fitting(loaded, shots, asked)
            asked.notes += note
            if chosen == {}:
                continue
        results = evaluated(asked, loaded, shots, samples=chosen)
        if results is None:
            raise UserError("lm-eval gave no results; run the suite in one process, not under a launcher of several")
        check_prompts(results["samples"], asked.tokenizer, asked.max_length, "lower evaluation.num_fewshot")
        check_answers(results["samples"], asked.tokenizer)
        samples |= {(task, shots): answered for task, answered in results["samples"].items()}
        versions |= {name: str(version) for name, version in results["versions"].items()}
    return Answers(samples, versions, asked.notes)


def loaded_by_shots(manager: Any, tasks: Sequence[str], num_fewshot: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """The tasks of some names as lm-eval loads them, for each number of examples (falling) those to be asked with it.

    Tasks that fix the number at 0 come with the first 0, or by themselves where nothing else is asked without examples.
    """
    without_examples = [name for name in tasks if name.endswith((CHOICE, CLOZE))]
    others = [name for name in tasks if name not in without_examples]
    for shots in sorted({*num_fewshot, 0}, reverse=True):  # the longest prompts first: they say how many fit at once
        names = [*(others if shots in num_fewshot else []), *(without_examples if shots == 0 else [])]
        if names:
            yield shots, manager.load(names)


def _fitting(loaded: Any, shots: int, asked: Any) -> tuple[dict[str, list[int]] | None, list[str]]:
    """The numbers of the questions that a model has room for, by task, with a note; None where it is all of them.

    Tasks without such a question are taken out of `loaded`.
    """
    from benchmark.memory.questions import Listener
    from benchmark.models.answering import evaluated

    loaded["groups"] = {}  # their means are not used, and tasks may go
    samples = evaluated(Listener(), loaded, shots)["samples"]
    fit = {
        task: [
            sample["doc_id"]
            for sample in answered
            if all(needs <= asked.max_length for _, needs in _needs([sample], asked.tokenizer))
        ]
        for task, answered in samples.items()
    }
    left_out = sum(map(len, samples.values())) - sum(map(len, fit.values()))
    if not left_out:
        return None, []
    for task in [task for task, numbers in fit.items() if not numbers]:
        del loaded["tasks"][task], fit[task]
    return fit, [f"{left_out} questions with {shots} examples left out: no room for the document in the prompt"]


def quiet_lm_eval() -> None:
    """Leave lm-eval's log to its errors: what it warns of is checked here and refused."""
    for name in ("lm_eval", "lm_eval.api.task", "lm_eval.models.huggingface", "lm_eval.evaluator"):
        logging.getLogger(name).setLevel(logging.ERROR)


def language_model(model: Any, tokenizer: Any, batch_size: int, progress: Progress) -> Any:
    """A model as lm-eval takes it, telling `progress` how far it is where lm-eval would show bars."""
    from benchmark.models.answering import Answering

    return Answering(model, tokenizer, batch_size, progress)


def check_prompts(samples: dict[str, list[dict[str, Any]]], tokenizer: Any, longest: int, remedy: str) -> None:
    """Refuse prompts that lm-eval would cut on the left, of which it tells in a log alone.

    Args:
        samples: lm-eval's samples per task.
        tokenizer: The model's tokenizer.
        longest: Most tokens of prompt and answer that the model takes.
        remedy: What to do, for the end of the error line.
    """
    for task, answered in samples.items():
        for question, needs in _needs(answered, tokenizer):
            if needs > longest:
                raise UserError(
                    f"{task}: question {question!r}: prompt and answer need {needs} tokens, more than the model's "
                    f"context of {longest}; {remedy}"
                )


def _needs(samples: Iterable[dict[str, Any]], tokenizer: Any) -> Iterator[tuple[Any, int]]:
    """Of every request its question, and the tokens that prompt and answer need."""
    # One text alone is to be predicted, which lm-eval reads window by window.
    asked = (
        (sample["doc"].get("id", sample["doc_id"]), *request)
        for sample in samples
        for request in sample["arguments"]
        if len(request) == 2
    )
    while batch := list(itertools.islice(asked, PROMPTS_AT_ONCE)):
        # `rest` is the settings of a generation, or the choice whose likelihood is asked for.
        texts = [prompt + rest if isinstance(rest, str) else prompt for _, prompt, rest in batch]
        for (question, _, rest), ids in zip(batch, tokenizer(texts, verbose=False)["input_ids"], strict=True):
            answer = 0 if isinstance(rest, str) else rest.get("max_gen_toks", MAX_GEN_TOKS)
            yield question, len(ids) + answer


def check_answers(samples: dict[str, list[dict[str, Any]]], tokenizer: Any) -> None:
    """Refuse questions none of whose gold answers can be generated whole, which would count as wrong unsaid."""
    for task, answered in samples.items():
        for sample in answered:
            limit = next((rest.get("max_gen_toks") for _, rest in sample["arguments"] if isinstance(rest, dict)), None)
            if limit is None:
                continue
            shortest = min(
                len(tokenizer(f" {gold}", add_special_tokens=False)["input_ids"]) for gold in sample["doc"]["answers"]
            )
            if shortest > limit:
                raise UserError(
                    f"{task}: question {sample['doc']['id']!r}: its shortest answer has {shortest} tokens, more than "
                    f"the {limit} that may be generated; add a shorter answer"
                )


def _rows(task: str, shots: int, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answer rows of one lm-eval task with so many examples, in the order of its questions."""
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
    """Mean of every metric per task, number of examples and half."""
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
