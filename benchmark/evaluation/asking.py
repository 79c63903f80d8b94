"""Ask a model the questions of lm-eval's tasks, and check that prompts and answers have room."""

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from benchmark.core.errors import UserError, nearest
from benchmark.core.progress import Progress
from benchmark.corpora.base import CHOICE, CLOZE, TASKS

MAX_GEN_TOKS = 256  # lm-eval's own limit, where a task says none
PROMPTS_AT_ONCE = 1000  # whose tokens are held together while their lengths are checked


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

    from benchmark.evaluation.model import evaluated

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
    from benchmark.evaluation.listener import Listener
    from benchmark.evaluation.model import evaluated

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
    from benchmark.evaluation.model import Answering

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
