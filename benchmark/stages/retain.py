"""Retain stage: retention, measured on held-out texts and lm-eval tasks, of a model before or after training."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError, did_you_mean, nearest, one_line
from benchmark.core.progress import Progress
from benchmark.corpora import TASKS
from benchmark.evaluation.asking import check_prompts, evaluate_tasks, language_model, quiet_lm_eval
from benchmark.models.loading import context_length, load_trained, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring.perplexity import measure_text
from benchmark.stages.files import RETENTION, WEIGHTS
from benchmark.store.artifacts import StageCall
from benchmark.suite.retention import HubText, LmEvalTask, TextFile, make_entry
from benchmark.training.out_of_memory import is_out_of_memory

CONTEXT = 2048  # tokens of a window, unless the suite sets another number or the model takes fewer


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write retention.json: for each entry its metric, whether higher is better, its value and all numbers measured.

    The model is the input "trained"; without this input, the model before training.
    """
    import torch

    params = call.params
    torch.set_num_threads(params["threads"])
    spec = ModelSpec.model_validate(call.where["model"])
    entries = [make_entry(entry) for entry in call.where["entries"]]
    for entry, identity in zip(entries, params["entries"], strict=True):
        if isinstance(entry, TextFile) and entry.identity() != identity:
            raise UserError(f"retention {entry.name}: {entry.text}: changed while the suite ran; run the suite again")
    tasks = _Tasks([entry for entry in entries if isinstance(entry, LmEvalTask)])
    model = load_trained(spec, params["device"], inputs["trained"] / WEIGHTS if "trained" in inputs else None)
    tokenizer, longest = tokenizer_of(spec), context_length(spec)
    results: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if isinstance(entry, LmEvalTask):
            numbers, higher_is_better = tasks.measure(entry, model, tokenizer, params["batch_size"], progress)
        else:
            numbers, higher_is_better = _measure(entry, model, tokenizer, longest, progress), False
        value = numbers[entry.metric]
        if not math.isfinite(value):
            raise UserError(f"retention {entry.name}: {entry.metric} is not a finite number; remove the entry")
        results[entry.name] = {
            "metric": entry.metric,
            "higher_is_better": higher_is_better,
            "value": value,
            "numbers": numbers,
        }
    (out / RETENTION).write_text(json.dumps(results, indent=1, sort_keys=True))
    progress(1, 1)


def _measure(
    entry: TextFile | HubText, model: Any, tokenizer: Any, longest: int | None, progress: Progress
) -> dict[str, float]:
    """The perplexity of a held-out text, with the other numbers of `measure_text`.

    Raises:
        UserError: If the text cannot be measured or memory runs out, naming the entry.
    """
    context, text = _window(entry.name, entry.context, longest), entry.words()
    try:
        return measure_text(model, tokenizer, text, context, entry.tokens, progress)
    except UserError as error:
        raise UserError(f"retention {entry.name}: {error}") from None
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"retention {entry.name}: out of memory; set its context below {context}") from error


def _window(name: str, asked: int | None, longest: int | None) -> int:
    """Tokens of a window. Raises UserError if the suite asks for more than the model takes."""
    if asked and longest and asked > longest:
        raise UserError(f"retention {name}: context: {asked} tokens, more than the model's {longest}; lower it")
    return asked or min(CONTEXT, longest or CONTEXT)


@cache
def _manager(built_in: bool) -> Any:
    """lm-eval's index of this project's tasks and, with `built_in`, of its own, which takes seconds to read."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(TASKS), include_defaults=built_in)


class _Tasks:
    """The lm-eval tasks of a suite's retention, loaded and checked before anything is measured.

    Raises:
        UserError: If lm-eval does not know a task or metric, or cannot load a task's data.
    """

    def __init__(self, entries: list[LmEvalTask]) -> None:
        self._loaded: dict[str, Any] = {}
        if not entries:
            return
        quiet_lm_eval()
        self._manager = _manager(built_in=False)
        if any(entry.lm_eval not in self._manager.all_tasks for entry in entries):
            self._manager = _manager(built_in=True)
        for entry in entries:
            self._loaded[entry.name] = self._load(entry)

    def _load(self, entry: LmEvalTask) -> Any:
        """The task or group as lm-eval's TaskManager loads it."""
        where, known = f"retention {entry.name}: lm-eval task {entry.lm_eval!r}", self._manager.all_tasks
        if entry.lm_eval not in known:
            raise UserError(f"{where}: unknown; {did_you_mean(entry.lm_eval, known)}`lm-eval ls tasks` lists them")
        try:
            loaded = self._manager.load([entry.lm_eval])
        except Exception as error:  # the task's own code and the hub may raise anything
            reason = one_line(error)
            raise UserError(
                f"{where}: cannot be loaded ({type(error).__name__}: {reason}); "
                "check the network, or remove the entry from the suite"
            ) from None
        tasks, group = loaded["tasks"], loaded["groups"].get(entry.lm_eval)
        if group is None and entry.lm_eval not in tasks:
            raise UserError(f"{where}: is a tag of several tasks; name one of these: {', '.join(sorted(tasks))}")
        if any(getattr(task, "UNSAFE_CODE", False) for task in tasks.values()):
            raise UserError(f"{where}: runs code that the model writes, which this project refuses; remove the entry")
        if entry.num_fewshot and any(task.get_config("num_fewshot") == 0 for task in tasks.values()):
            raise UserError(f"{where}: num_fewshot: the task fixes it at 0; remove num_fewshot")
        if group is not None:
            metrics = {metric.metric for metric in group.aggregate_metric_list or []}
        else:
            metrics = set(tasks[entry.lm_eval].aggregation())
        if entry.metric.partition(",")[0] not in metrics:
            raise self._no_metric(entry, sorted(metrics))
        return loaded

    def measure(
        self, entry: LmEvalTask, model: Any, tokenizer: Any, batch_size: int, progress: Progress
    ) -> tuple[dict[str, float], bool]:
        """The metric's value under its name, the number of questions, and whether higher is better."""
        asked = language_model(model, tokenizer, batch_size, progress)
        results = evaluate_tasks(asked, self._loaded[entry.name], entry.num_fewshot, entry.limit)
        remedy = f"lower num_fewshot of retention {entry.name}"
        check_prompts(results["samples"], asked.tokenizer, asked.max_length, remedy)
        values = {
            key: value
            for key, value in {**results.get("groups", {}), **results["results"]}[entry.lm_eval].items()
            if isinstance(value, float | int) and "," in key and "_stderr," not in key
        }
        matching = [key for key in values if entry.metric in (key, key.partition(",")[0])]
        if len(matching) != 1:
            raise self._no_metric(entry, sorted(values))
        higher_is_better = results["higher_is_better"].get(entry.lm_eval, {}).get(entry.metric.partition(",")[0])
        if higher_is_better is None:
            raise UserError(
                f"retention {entry.name}: lm-eval does not say whether a higher {entry.metric} is better; "
                "use another metric"
            )
        questions = sum(counts["effective"] for counts in results["n-samples"].values())
        return {entry.metric: round(float(values[matching[0]]), 6), "questions": questions}, bool(higher_is_better)

    @staticmethod
    def _no_metric(entry: LmEvalTask, known: list[str]) -> UserError:
        return UserError(
            f"retention {entry.name}: lm-eval task {entry.lm_eval!r} has no single metric {entry.metric!r}; "
            f"{nearest(entry.metric, known)}"
        )
