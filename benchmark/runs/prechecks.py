"""Checks on a suite's models, texts and questions before its first stage runs.

They find errors that files, configurations and tokenizers show, and that would otherwise appear after hours of
training. They read no weights. Passed checks are remembered beside the store and not repeated. The servers of writers
are asked each time that a stage needs them.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

from benchmark.core.environment import code_hash
from benchmark.core.errors import UserError
from benchmark.core.files import write_atomically
from benchmark.corpora import Corpus, Task
from benchmark.corpora.base import CLOZE
from benchmark.data.written import TRAINED, Writing
from benchmark.methods import Method
from benchmark.models.input_checks import check_model, check_texts
from benchmark.models.spec import ModelSpec
from benchmark.runs.folders import Folders
from benchmark.store.artifacts import Store
from benchmark.suite.plan import Cell, Plan
from benchmark.training.recipe import Recipe
from benchmark.writing.settings import Endpoint, LocalWriter

REMEMBERED = ".checked"  # folder of passed checks, beside the store
MOST_QUESTIONS = 5_000  # of an lm-eval task whose prompts are measured here; the evaluation measures all of them
_Phase = Literal["models", "texts", "questions"]
PHASES = get_args(_Phase)  # in their order


@dataclass(frozen=True)
class _Check:
    """A check, its place among the others, and all that its result depends on; `run` raises UserError if it fails."""

    phase: _Phase
    what: dict[str, Any]
    run: Callable[[], None]

    @property
    def key(self) -> str:
        return hashlib.sha256(json.dumps([code_hash(), self.what], sort_keys=True).encode()).hexdigest()[:24]


def check_cells(plan: Plan, cells: Sequence[Cell], results: Path, remember: bool, ask: bool = True) -> None:
    """Check the models, writers, texts and questions that the stages of some cells will read.

    Args:
        plan: The plan of the cells.
        cells: The cells that are not done.
        results: The folder that holds the store and the passed checks.
        remember: Whether to remember the checks that pass now.
        ask: Whether to ask the servers of writers.

    Raises:
        UserError: A check failed; the message names the model, text or question, and the remedy.
    """
    folder = results / REMEMBERED
    if ask:
        _check_servers(cells, Folders.of(results).store)
    for check in _checks(plan, cells):
        if (mark := folder / check.key).is_file():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries warn their developers, as in workers: see `prepare`
            check.run()
        if remember:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(mark, json.dumps(check.what, sort_keys=True) + "\n")


def _checks(plan: Plan, cells: Sequence[Cell]) -> list[_Check]:
    """The checks of some cells without repetitions: models first, then texts, then questions."""
    found: dict[str, _Check] = {}
    for cell in cells:
        for check in (*_model_checks(plan, cell), *_training_checks(plan, cell), *_question_checks(plan, cell)):
            found.setdefault(check.key, check)
    return sorted(found.values(), key=lambda check: PHASES.index(check.phase))


def _model_checks(plan: Plan, cell: Cell) -> Iterator[_Check]:
    """The checks of the models that a cell reads, and of the texts that they read."""
    pair = plan.suite.pairs[cell.pair] if cell.pair else None
    for name in dict.fromkeys([cell.trained, *([pair.large, pair.small] if pair else [])]):
        spec = plan.suite.models[name]
        identity = _identity(plan.fingerprints[name], spec)
        yield _Check("models", {"check": "model", **identity}, partial(check_model, spec))
        if cell.recipe:
            end = name == cell.trained and cell.recipe.append_end
            yield from _text_checks(cell, spec, identity, plan.suite.long_texts == "refuse", end)


def _identity(fingerprint: str, spec: ModelSpec) -> dict[str, Any]:
    """What a check of a model depends on."""
    return {"model": fingerprint, "spec": spec.model_dump(mode="json")}


def _text_checks(cell: Cell, spec: ModelSpec, identity: Mapping[str, Any], limit: bool, end: bool) -> Iterator[_Check]:
    """The checks of a cell's texts and copies with one of its models; `limit`: whether they have to fit into it."""
    corpus = cell.corpus
    of_texts = {
        "check": "texts",
        **identity,
        "corpus": corpus.trained_on,
        "task": cell.task.identity(),
        "limit": limit,
        "end": end,
    }
    yield _Check("texts", of_texts, partial(check_texts, spec, corpus.texts, limit, end))
    if limit and cell.method.longest_copies(""):
        of_method = {"method": cell.method.identity, "parameters": cell.method.key_parameters()}
        what = {**of_texts, "check": "copies", **of_method}
        yield _Check("texts", what, partial(check_copies, spec, corpus, cell.method))
    if limit and cell.method.training().loss == "distilled":
        yield _Check("texts", {**of_texts, "check": "teaching"}, partial(check_teaching, spec, corpus))


def _check_servers(cells: Sequence[Cell], store: Store) -> None:
    """Check that the servers answer that stages of some cells will ask, each once."""
    asked: set[str] = set()
    for cell in cells:
        for role in cell.method.writings:
            call = cell.stages[role]
            if "api" not in call.params or store.has(call):
                continue
            settings = Endpoint.model_validate(call.where["writer"])
            if settings.model_dump_json() not in asked:
                from benchmark.writing import endpoint

                endpoint.Endpoint(settings).check()
                asked.add(settings.model_dump_json())


def _training_checks(plan: Plan, cell: Cell) -> Iterator[_Check]:
    """The checks of a cell's training: its trained model, and its writers if they are local models."""
    if cell.recipe is None:
        return
    spec, adaptation = plan.suite.models[cell.trained], cell.recipe.adaptation
    identity = _identity(plan.fingerprints[cell.trained], spec)
    what = {"check": "trained", **identity, "adaptation": adaptation}
    yield _Check("models", what, lambda: check_trained(spec, adaptation))
    yield from _writer_checks(plan, cell)


def _writer_checks(plan: Plan, cell: Cell) -> Iterator[_Check]:
    """The checks of the local models that write a cell's texts, and of what they are asked."""
    corpus, limit = cell.corpus, plan.suite.long_texts == "refuse"
    for role, writing in cell.method.writings.items():
        params = cell.stages[role].params
        if "api" in params:
            continue
        writer = LocalWriter.model_validate(cell.stages[role].where["writer"])
        identity = _identity(params["model"]["fingerprint"], writer.spec)
        yield _Check("models", {"check": "model", **identity}, partial(check_model, writer.spec))
        of_texts = {**identity, "corpus": corpus.trained_on, "task": cell.task.identity()}
        # A special token in a document would end the writer's prompt; `check_writer` compares lengths.
        what = {"check": "texts", **of_texts, "limit": False, "end": False}
        yield _Check("texts", what, partial(check_texts, writer.spec, corpus.texts, False))
        asked = {"writing": params["writing"], "sampling": writer.sampling, "limit": limit}
        what = {"check": "writer", **of_texts, **asked}
        run = partial(check_writer, writer, str(cell.method.written_by), writing, corpus, limit)
        yield _Check("texts", what, run)


def _question_checks(plan: Plan, cell: Cell) -> Iterator[_Check]:
    """The check of a cell's questions, unless they may be left out: those whose document does not fit an open book."""
    spec, entry, asking = plan.suite.models[cell.trained], cell.task, cell.stages["evaluate"].params
    if "open_book" not in asking:
        identity = _identity(plan.fingerprints[cell.trained], spec)
        yield _Check(
            "questions",
            {"check": "questions", **identity, "asking": asking},
            lambda: check_questions(spec, entry, cell.corpus, _limited(asking), asking["num_fewshot"]),
        )


def _limited(asking: Mapping[str, Any]) -> list[str]:
    """The lm-eval tasks whose prompts must fit the context: of the others, the evaluation leaves questions out."""
    skipped = CLOZE if asking.get("skip_too_long") == "cloze" else None
    return [name for name in asking["tasks"] if skipped is None or not name.endswith(skipped)]


def check_trained(spec: ModelSpec, adaptation: Literal["lora", "full"]) -> None:
    """Raise UserError if a model has no usable end token, or no layers that the recipe can train."""
    from benchmark.models.loading import load_config, tokenizer_of
    from benchmark.models.static_checks import skeleton
    from benchmark.training.adaptation import with_lora

    tokenizer, config = tokenizer_of(spec), load_config(spec)
    size = config.get_text_config(decoder=True).vocab_size
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"model {spec.model!r}: its tokenizer has no end token, which ends texts and answers; name one as "
            "eos_token in its tokenizer_config.json"
        )
    if tokenizer.eos_token_id >= size:
        raise UserError(
            f"model {spec.model!r}: its end token {tokenizer.eos_token!r} has number {tokenizer.eos_token_id}, but the "
            f"model has embeddings for {size} tokens only; name a token of the vocabulary as eos_token in its "
            "tokenizer_config.json"
        )
    if adaptation == "lora" and not spec.trust_remote_code:
        with_lora(skeleton(config), Recipe(), spec)


def check_writer(writer: LocalWriter, name: str, writing: Writing, corpus: Corpus, limit: bool) -> None:
    """Raise UserError if a local writer cannot be asked what a method asks.

    Args:
        writer: The writer.
        name: Its name in the suite.
        writing: What the method asks.
        corpus: The texts.
        limit: Whether the longest text has to fit into the writer's context, with each prompt and the answer.
    """
    from benchmark.models.loading import context_length
    from benchmark.writing.local import longest_prompt

    try:
        longest = longest_prompt(writer, writing, corpus.texts)
    except UserError as error:
        raise UserError(f"writers.{name}: model {writer.model!r}: {error}") from None
    context = context_length(writer.spec)
    if limit and context is not None and longest.length + writer.max_tokens > context:
        lower = "list the model under writers with a lower" if name == TRAINED else "lower"
        raise UserError(
            f"writers.{name}: model {writer.model!r}: text {longest.text!r} in prompt {longest.prompt!r}: "
            f"{longest.length} tokens and an answer of {writer.max_tokens} (max_tokens) exceed the model's context of "
            f"{context}; {lower} max_tokens, shorten the text, or use another writer"
        )


def check_copies(spec: ModelSpec, corpus: Corpus, method: Method) -> None:
    """Raise UserError if the longest copies that a method makes of a text exceed a model's context."""
    from benchmark.models.loading import context_length, tokenizer_of

    tokenizer, context = tokenizer_of(spec), context_length(spec)
    for text in corpus.texts:
        length = 1 + max(map(len, tokenizer(list(method.longest_copies(text.text)), verbose=False)["input_ids"]))
        if context is not None and length > context:
            raise UserError(
                f"model {spec.model!r}: text {text.id!r}: up to {length} tokens as a copy of {method.name}, more than "
                f"the model's context of {context}; shorten it, or leave the method out"
            )


def check_teaching(spec: ModelSpec, corpus: Corpus) -> None:
    """Raise UserError if a document as a prompt leaves no room for a text after it in the model's context."""
    from benchmark.models.loading import context_length, tokenizer_of
    from benchmark.scoring.teacher import check_documents

    documents = {text.id: text.text for text in corpus.texts}
    check_documents(tokenizer_of(spec), documents, context_length(spec), spec.model)


def check_questions(
    spec: ModelSpec, entry: Task, corpus: Corpus, tasks: Sequence[str], num_fewshot: Sequence[int]
) -> None:
    """Raise UserError for a prompt that exceeds a model's context, or an answer longer than the generation limit."""
    from benchmark.evaluation.asking import check_answers, check_prompts
    from benchmark.models.loading import context_length, tokenizer_of

    metadata = json.dumps(corpus.metadata, sort_keys=True)
    tokenizer, length = tokenizer_of(spec), context_length(spec)
    for samples in _samples(tuple(tasks), metadata, corpus.data_hash, tuple(num_fewshot)):
        if length is not None:
            check_prompts(samples, tokenizer, length, _remedy_for_prompts(entry))
        check_answers(samples, tokenizer)


def _remedy_for_prompts(entry: Task) -> str:
    shots = "or give shorter examples in shots" if entry.name == "corpus" else "or shorten the question"
    return f"ask with fewer examples (evaluation.num_fewshot), {shots}" if entry.examples else "shorten the question"


@cache  # the hash of the data is a parameter because files may change while the process runs
def _samples(
    tasks: tuple[str, ...], metadata: str, data: str, num_fewshot: tuple[int, ...]
) -> list[dict[str, list[dict[str, Any]]]]:
    from benchmark.evaluation.request_recorder import samples_of

    return samples_of(tasks, json.loads(metadata), num_fewshot, MOST_QUESTIONS)
