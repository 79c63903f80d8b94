"""Retain stage: what a model knows beside the corpus, before or after training, on held-out texts and lm-eval tasks."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError, did_you_mean, nearest, one_line
from benchmark.core.progress import Progress
from benchmark.corpora import TASKS
from benchmark.evaluation.asking import check_prompts, evaluate_tasks, language_model, quiet_lm_eval
from benchmark.models.loading import context_length, load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring.perplexity import measure_text
from benchmark.stages.evaluate import trained_model
from benchmark.store.artifacts import StageCall
from benchmark.suite.retention import LmEvalTask, TextFile, make_entry
from benchmark.training.out_of_memory import is_out_of_memory

RETENTION = "retention.json"
CONTEXT = 2048  # tokens of a window where neither the suite nor the model asks for fewer


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write retention.json: per entry its metric, the direction, the value and every number measured.

    The model is the input "trained", or without one the model as it was before training.
    """
    import torch

    params = call.params
    torch.set_num_threads(params["threads"])
    spec = ModelSpec.model_validate(call.where["model"])
    entries = [make_entry(entry) for entry in call.where["entries"]]
    for entry, identity in zip(entries, params["entries"], strict=True):
        if isinstance(entry, TextFile) and entry.identity() != identity:
            raise UserError(f"retention {entry.name}: {entry.text}: was changed since the run began; run again")
    tasks = _Tasks([entry for entry in entries if isinstance(entry, LmEvalTask)])
    if "trained" in inputs:
        model = trained_model(spec, params["device"], inputs["trained"] / "model")
    else:
        model = load_model(spec, params["device"])
    tokenizer, longest = tokenizer_of(spec), context_length(spec)
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if isinstance(entry, LmEvalTask):
            numbers, higher_is_better = tasks.measure(entry, model, tokenizer, params["batch_size"], progress)
        else:
            context = _window(entry.name, entry.context, longest)
            higher_is_better, text = False, entry.words()
            try:
                numbers = measure_text(model, tokenizer, text, context, entry.tokens, progress)
            except UserError as error:
                raise UserError(f"retention {entry.name}: {error}") from None
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise UserError(f"retention {entry.name}: out of memory; set its context below {context}") from error
        value = numbers[entry.metric]
        if not math.isfinite(value):
            raise UserError(f"retention {entry.name}: {entry.metric} is not a finite number; leave the entry out")
        found[entry.name] = {
            "metric": entry.metric,
            "higher_is_better": higher_is_better,
            "value": value,
            "numbers": numbers,
        }
    (out / RETENTION).write_text(json.dumps(found, indent=1, sort_keys=True))
    progress(1, 1)


def _window(name: str, asked: int | None, longest: int | None) -> int:
    """Tokens of a window. Raises UserError if more are asked for than the model takes."""
    if asked and longest and asked > longest:
        raise UserError(f"retention {name}: context: {asked} tokens, more than the model's {longest}; lower it")
    return asked or min(CONTEXT, longest or CONTEXT)


@cache
def _manager(built_in: bool) -> Any:
    """lm-eval's index of this project's tasks, and of its own if asked: reading those takes seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(TASKS), include_defaults=built_in)


class _Tasks:
    """lm-eval's tasks, found and checked before anything is measured.

    Raises UserError for a task or metric that lm-eval does not know, or data that cannot be had.
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
        """What lm-eval's TaskManager gives for the task or group."""
        where, known = f"retention {entry.name}: lm-eval task {entry.lm_eval!r}", self._manager.all_tasks
        if entry.lm_eval not in known:
            raise UserError(f"{where}: unknown; {did_you_mean(entry.lm_eval, known)}`lm-eval ls tasks` lists them")
        try:
            loaded = self._manager.load([entry.lm_eval])
        except Exception as error:  # whatever a task's own code and the hub raise
            reason = one_line(error)
            raise UserError(
                f"{where}: cannot be loaded ({type(error).__name__}: {reason}); "
                "check the network, or leave the entry out"
            ) from None
        tasks, group = loaded["tasks"], loaded["groups"].get(entry.lm_eval)
        if group is None and entry.lm_eval not in tasks:
            raise UserError(f"{where}: is a tag of several tasks; name one of them: {', '.join(sorted(tasks))}")
        if any(getattr(task, "UNSAFE_CODE", False) for task in tasks.values()):
            raise UserError(f"{where}: runs code that the model writes, which is not done here; leave the entry out")
        if entry.num_fewshot and any(task.get_config("num_fewshot") == 0 for task in tasks.values()):
            raise UserError(f"{where}: num_fewshot: the task itself says 0, which lm-eval keeps; leave it out")
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
        """The metric by its name with the number of questions, and whether more of it is better."""
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
                f"retention {entry.name}: lm-eval does not say whether more {entry.metric} is better; take another one"
            )
        questions = sum(counts["effective"] for counts in results["n-samples"].values())
        return {entry.metric: round(float(values[matching[0]]), 6), "questions": questions}, bool(higher_is_better)

    @staticmethod
    def _no_metric(entry: LmEvalTask, known: list[str]) -> UserError:
        return UserError(
            f"retention {entry.name}: lm-eval task {entry.lm_eval!r} has no single metric {entry.metric!r}; "
            f"{nearest(entry.metric, known)}"
        )
