"""Ask a model the questions of lm-eval's tasks, and check that prompts and answers fit its context."""

import itertools
import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.core.errors import UserError, nearest
from benchmark.core.progress import Progress
from benchmark.corpora.base import CHOICE, CLOZE, TASKS

Skipped = Literal["none", "cloze", "all"]
MAX_GEN_TOKS = 256  # lm-eval's default limit of generated tokens
PROMPTS_AT_ONCE = 1000  # prompts that are tokenized together while their lengths are checked


class Answers(NamedTuple):
    """A model's answers.

    Attributes:
        samples: lm-eval's samples by task and number of examples.
        versions: Versions of the tasks, by name.
        notes: Remarks for the record, such as settings of the model that were set aside.
    """

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
    skip_too_long: Skipped = "none",
    limit: int | None = None,
) -> Answers:
    """Ask a model the questions of this project's lm-eval tasks, with each number of examples.

    Args:
        model: A causal language model of transformers, or a peft model of one.
        tokenizer: Its tokenizer.
        tasks: Names of lm-eval tasks or groups. Those that take no examples (choices, cloze) are asked once.
        metadata: Metadata of lm-eval's task manager, which the tasks read.
        batch_size: Prompts answered at once.
        num_fewshot: Numbers of examples before a question.
        progress: Called with the number of requests answered and of all requests, separately for generations and
            likelihoods.
        skip_too_long: Which questions to leave out, with a note, if their prompt does not fit the model's context:
            "none", those of "cloze" tasks, or "all".
        limit: Number of first questions of each task; all if None.

    Raises:
        UserError: If a task does not exist, a prompt does not fit the model's context, or an answer is longer than may
            be generated.
    """
    quiet_lm_eval()
    manager = task_manager(metadata)
    for name in tasks:
        if name not in manager.all_tasks:
            raise UserError(f"lm-eval task {name!r}: unknown; {nearest(name, manager.all_tasks)}")
    lm = language_model(model, tokenizer, batch_size, progress)
    samples: dict[tuple[str, int], list[dict[str, Any]]] = {}
    versions: dict[str, str] = {}
    for shots, loaded in load_by_shots(manager, tasks, num_fewshot):
        fitting = None
        if skip_too_long == "all" or (
            skip_too_long == "cloze" and any(name.endswith(CLOZE) for name in loaded["tasks"])
        ):
            fitting, notes = _fitting_questions(loaded, shots, lm, skip_too_long, limit)
            lm.notes += notes
            if fitting == {}:
                continue
        results = evaluate_tasks(lm, loaded, shots, limit if fitting is None else None, fitting)
        if results is None:
            raise UserError("lm-eval gave no results; run the suite in one process, not under a launcher of several")
        check_prompts(results["samples"], lm.tokenizer, lm.max_length, "lower evaluation.num_fewshot")
        check_answers(results["samples"], lm.tokenizer)
        samples |= {(task, shots): of_task for task, of_task in results["samples"].items()}
        versions |= {name: str(version) for name, version in results["versions"].items()}
    return Answers(samples, versions, lm.notes)


def count_questions(tasks: Sequence[str], metadata: Mapping[str, Any], num_fewshot: Sequence[int]) -> int:
    """How many questions `ask` asks, each counted once for each number of examples."""
    quiet_lm_eval()
    loaded = [tasks_of["tasks"] for _, tasks_of in load_by_shots(task_manager(metadata), tasks, num_fewshot)]
    return sum(len(task.eval_docs) for of_shots in loaded for task in of_shots.values())


def task_manager(metadata: Mapping[str, Any]) -> Any:
    """lm-eval's task manager for this project's tasks alone."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(TASKS), include_defaults=False, metadata=dict(metadata))


def load_by_shots(manager: Any, tasks: Sequence[str], num_fewshot: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Load tasks for each number of examples, the largest first; yields the number and the tasks loaded for it.

    Tasks that take no examples are loaded with 0, also if 0 is not in `num_fewshot`.
    """
    without_examples = [name for name in tasks if name.endswith((CHOICE, CLOZE))]
    others = [name for name in tasks if name not in without_examples]
    for shots in sorted({*num_fewshot, 0}, reverse=True):  # the longest prompts first: they set the size of batches
        names = [*(others if shots in num_fewshot else []), *(without_examples if shots == 0 else [])]
        if names:
            yield shots, manager.load(names)


def evaluate_tasks(
    lm: Any,
    loaded: Any,
    num_fewshot: int | None,
    limit: int | None = None,
    samples: dict[str, list[int]] | None = None,
) -> Any:
    """Call lm-eval's `evaluate` for loaded tasks.

    lm-eval's `simple_evaluate` gives the same results. It also reports on the machine, for which it calls git and
    spends seconds on pip, and it has no option against that.

    Args:
        lm: A model for lm-eval.
        loaded: What `TaskManager.load` returned.
        num_fewshot: Examples before each question; None for the task's own number. A task that says 0 keeps it.
        limit: Number of first questions of each task; all if None.
        samples: Numbers of the questions to ask, by task; all if None. Not together with `limit`.

    Returns:
        lm-eval's results with samples; None in all but the first process of a launcher of several.
    """
    from lm_eval import evaluator
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    random.seed(DEFAULT_RANDOM_SEED)  # some tasks draw their examples or choices at random
    np.random.seed(DEFAULT_OTHER_SEED)
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        if own is None or (num_fewshot is not None and own != 0):
            task.set_config(key="num_fewshot", value=num_fewshot or 0)
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
    return evaluator.evaluate(lm, loaded, limit=limit, samples=samples, bootstrap_iters=0, log_samples=True)


def _fitting_questions(
    loaded: Any, shots: int, lm: Any, skipped: Skipped, limit: int | None
) -> tuple[dict[str, list[int]] | None, list[str]]:
    """The numbers of the questions whose prompts fit the model's context, by task, with a note on the others.

    Only the first `limit` questions of each task are looked at, if it is not None.

    Tasks without such a question are removed from `loaded`. None in place of the numbers means all questions.
    """
    from benchmark.evaluation.request_recorder import RequestRecorder

    loaded["groups"] = {}  # a group's mean is not used, and would miss the tasks that are removed
    samples = evaluate_tasks(RequestRecorder(), loaded, shots, limit)["samples"]
    fitting = {
        task: [
            sample["doc_id"]
            for sample in of_task
            if (skipped == "cloze" and not task.endswith(CLOZE))
            or all(needed <= lm.max_length for _, needed in _tokens_needed([sample], lm.tokenizer))
        ]
        for task, of_task in samples.items()
    }
    left_out = sum(map(len, samples.values())) - sum(map(len, fitting.values()))
    if not left_out:
        return None, []
    for task in [task for task, numbers in fitting.items() if not numbers]:
        del loaded["tasks"][task], fitting[task]
    # Notes in records: their words must stay.
    if skipped == "cloze":
        return fitting, [f"{left_out} cloze questions left out: no room for the document before the answer"]
    return fitting, [f"{left_out} questions with {shots} examples left out: no room for the document in the prompt"]


def quiet_lm_eval() -> None:
    """Limit lm-eval's log to errors, since what it warns of is checked and refused here, and hide its bars."""
    from lm_eval.api import task
    from tqdm import tqdm

    task.tqdm = partial(tqdm, disable=True)  # this project shows progress of its own
    for name in ("lm_eval", "lm_eval.api.task", "lm_eval.models.huggingface", "lm_eval.evaluator"):
        logging.getLogger(name).setLevel(logging.ERROR)


def language_model(model: Any, tokenizer: Any, batch_size: int, progress: Progress) -> Any:
    """A model for lm-eval, which reports to `progress` instead of showing bars. See `SharedPrefixLM`."""
    from benchmark.evaluation.shared_prefix_lm import SharedPrefixLM

    return SharedPrefixLM(model, tokenizer, batch_size, progress)


def check_prompts(samples: dict[str, list[dict[str, Any]]], tokenizer: Any, longest: int, remedy: str) -> None:
    """Refuse prompts that do not fit the context: lm-eval would cut them on the left, and say so in its log alone.

    Args:
        samples: lm-eval's samples by task.
        tokenizer: The model's tokenizer.
        longest: The model's context: most tokens of prompt and answer together.
        remedy: What to do, for the end of the error line.

    Raises:
        UserError: With the first such question.
    """
    for task, of_task in samples.items():
        for question, needed in _tokens_needed(of_task, tokenizer):
            if needed > longest:
                raise UserError(
                    f"{task}: question {question!r}: prompt and answer need {needed} tokens, more than the model's "
                    f"context of {longest}; {remedy}"
                )


def _tokens_needed(samples: Iterable[dict[str, Any]], tokenizer: Any) -> Iterator[tuple[Any, int]]:
    """The id of the question, and the tokens that prompt and answer need together, for every request."""
    # A request of a single text is skipped: lm-eval reads it window by window.
    requests = (
        (sample["doc"].get("id", sample["doc_id"]), *request)
        for sample in samples
        for request in sample["arguments"]
        if len(request) == 2
    )
    while batch := list(itertools.islice(requests, PROMPTS_AT_ONCE)):
        # `rest` is a continuation, or the settings of a generation.
        texts = [prompt + rest if isinstance(rest, str) else prompt for _, prompt, rest in batch]
        for (question, _, rest), ids in zip(batch, tokenizer(texts, verbose=False)["input_ids"], strict=True):
            answer = 0 if isinstance(rest, str) else rest.get("max_gen_toks", MAX_GEN_TOKS)
            yield question, len(ids) + answer


def check_answers(samples: dict[str, list[dict[str, Any]]], tokenizer: Any) -> None:
    """Refuse questions that no model with this tokenizer could answer rightly.

    Their gold answers are all longer than may be generated, or hold characters that the tokenizer reads as others.

    Args:
        samples: lm-eval's samples by task.
        tokenizer: The model's tokenizer.

    Raises:
        UserError: With the first such question.
    """
    for task, of_task in samples.items():
        for sample in of_task:
            limit = next((rest.get("max_gen_toks") for _, rest in sample["arguments"] if isinstance(rest, dict)), None)
            if limit is None:
                continue
            question, golds = sample["doc"]["id"], sample["doc"]["answers"]
            encoded = [tokenizer(f" {gold}", add_special_tokens=False)["input_ids"] for gold in golds]
            shortest = min(map(len, encoded))
            if shortest > limit:
                raise UserError(
                    f"{task}: question {question!r}: its shortest answer has {shortest} tokens, more than "
                    f"the {limit} that may be generated; add a shorter answer"
                )
            written = [str(tokenizer.decode(ids, skip_special_tokens=True)).strip() for ids in encoded]
            if not _any_is_right(written, sample["doc"]):
                raise UserError(
                    f"{task}: question {question!r}: the model's tokenizer writes its answer {golds[0]!r} as "
                    f"{written[0]!r}, which counts as wrong; add that as an answer, or use another model"
                )


def _any_is_right(answers: Sequence[str], document: Mapping[str, Any]) -> bool:
    """Whether one of some answers to a question is an exact match, as its task compares them."""
    from benchmark.tasks.biography.biography import exact_match
    from benchmark.tasks.corpus.wording import fold

    alike = fold if document.get("characters") == "folded" else str
    golds = [alike(gold) for gold in document["answers"]]
    return any(exact_match(alike(answer), golds) == 1 for answer in answers)
