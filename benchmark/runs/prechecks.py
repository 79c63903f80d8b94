"""Checks on a suite's models, texts and questions before its first stage runs.

They find errors that files, configurations and tokenizers show, and that would otherwise appear after hours of
training. They read no weights. Passed checks are remembered beside the store and not repeated. The servers of writers
are asked each time that a stage needs them.
"""

import hashlib
import json
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from benchmark.core.environment import code_hash
from benchmark.core.errors import UserError
from benchmark.core.files import write_atomically
from benchmark.corpora import Corpus, Task
from benchmark.corpora.base import CLOZE
from benchmark.data.texts import Text
from benchmark.data.written import TRAINED, Writing
from benchmark.methods import Method
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import Store
from benchmark.suite.plan import Cell, Plan
from benchmark.training.recipe import Recipe
from benchmark.writing.settings import Endpoint, LocalWriter

REMEMBERED = ".checked"  # folder of passed checks, beside the store
MOST_QUESTIONS = 5_000  # of an lm-eval task whose prompts are measured here; the evaluation measures all of them
TEXTS_AT_ONCE = 1_000  # texts that are tokenized together


@dataclass(frozen=True)
class _Check:
    """A check, and all that its result depends on; `run` raises UserError if it fails."""

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
        _check_servers(cells, Store(results / "store"))
    for check in _checks(plan, cells):
        if (mark := folder / check.key).is_file():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries warn their developers, as in workers: see `prepare`
            check.run()
        if remember:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(mark, json.dumps(check.what, sort_keys=True) + "\n")


def _checks(plan: Plan, cells: Sequence[Cell]) -> Iterable[_Check]:
    """The checks of some cells without repetitions: models first, then texts, then questions."""
    models: dict[str, _Check] = {}
    texts: dict[str, _Check] = {}
    questions: dict[str, _Check] = {}
    for cell in cells:
        pair = plan.suite.pairs[cell.pair] if cell.pair else None
        read = [cell.trained, *([pair.large, pair.small] if pair else [])]
        for name in dict.fromkeys(read):
            spec = plan.suite.models[name]
            identity = {"model": plan.fingerprints[name], "spec": spec.model_dump(mode="json")}
            check = _Check({"check": "model", **identity}, partial(check_model, spec))
            models.setdefault(check.key, check)
            if cell.recipe is None:
                continue
            corpus = cell.corpus
            limit = plan.suite.long_texts == "refuse"
            end = name == cell.trained and cell.recipe.append_end
            of_texts = _Check(
                {
                    "check": "texts",
                    **identity,
                    "corpus": corpus.trained_on,
                    "task": cell.task.identity(),
                    "limit": limit,
                    "end": end,
                },
                partial(check_texts, spec, corpus.texts, limit, end),
            )
            texts.setdefault(of_texts.key, of_texts)
            for check in _checks_of_writers(plan, cell):
                (models if check.what["check"] == "model" else texts).setdefault(check.key, check)
            if limit and cell.method.longest_copies(""):
                of_method = {"method": cell.method.identity, "parameters": cell.method.key_parameters()}
                check = _Check(
                    {**of_texts.what, "check": "copies", **of_method}, partial(check_copies, spec, corpus, cell.method)
                )
                texts.setdefault(check.key, check)
            if limit and cell.method.training().loss == "distilled":
                check = _Check({**of_texts.what, "check": "teaching"}, partial(check_teaching, spec, corpus))
                texts.setdefault(check.key, check)
        for check in _checks_of_training(plan, cell):
            (models if check.what["check"] == "trained" else questions).setdefault(check.key, check)
    yield from (*models.values(), *texts.values(), *questions.values())


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


def _checks_of_writers(plan: Plan, cell: Cell) -> Iterable[_Check]:
    """The checks of a cell's writer, if it is a local model."""
    for role, writing in cell.method.writings.items():
        params = cell.stages[role].params
        if "api" in params:
            continue
        writer = LocalWriter.model_validate(cell.stages[role].where["writer"])
        identity = {"model": params["model"]["fingerprint"], "spec": writer.spec.model_dump(mode="json")}
        yield _Check({"check": "model", **identity}, partial(check_model, writer.spec))
        corpus, limit = cell.corpus, plan.suite.long_texts == "refuse"
        of_texts = {**identity, "corpus": corpus.trained_on, "task": cell.task.identity()}
        # A special token in a document would end the writer's prompt; `check_writer` compares lengths.
        what = {"check": "texts", **of_texts, "limit": False, "end": False}
        yield _Check(what, partial(check_texts, writer.spec, corpus.texts, False))
        what = {"check": "writer", **of_texts, "writing": params["writing"], "sampling": writer.sampling}
        what["limit"] = limit
        yield _Check(what, partial(check_writer, writer, str(cell.method.written_by), writing, corpus, limit))


def _checks_of_training(plan: Plan, cell: Cell) -> Iterable[_Check]:
    spec, recipe, entry, asking = plan.suite.models[cell.trained], cell.recipe, cell.task, cell.stages["evaluate"]
    identity = {"model": plan.fingerprints[cell.trained], "spec": spec.model_dump(mode="json")}
    if recipe:
        adaptation = recipe.adaptation
        yield _Check(
            {"check": "trained", **identity, "adaptation": adaptation}, lambda: check_trained(spec, adaptation)
        )
    if "open_book" not in asking.params:  # the evaluation leaves out questions whose document does not fit
        yield _Check(
            {"check": "questions", **identity, "asking": asking.params},
            lambda: check_questions(spec, entry, cell.corpus, _limited(asking.params), asking.params["num_fewshot"]),
        )


def _limited(asking: Mapping[str, Any]) -> list[str]:
    """The lm-eval tasks whose prompts must fit the context: of the others, the evaluation leaves questions out."""
    skipped = CLOZE if asking.get("skip_too_long") == "cloze" else None
    return [name for name in asking["tasks"] if skipped is None or not name.endswith(skipped)]


def check_model(spec: ModelSpec) -> None:
    """Raise UserError if a model's configuration or tokenizer cannot be used, or its adapter does not fit it."""
    from benchmark.models.adapters import check_adapter
    from benchmark.models.loading import load_config, tokenizer_of

    config = load_config(spec)
    tokenizer_of(spec)
    _check_is_causal(spec, config)
    if spec.adapter and not spec.trust_remote_code:
        check_adapter(spec, config)


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


def check_texts(spec: ModelSpec, texts: Sequence[Text], limit: bool, end: bool = False) -> None:
    """Raise UserError for texts that a model's tokenizer does not read as they are written.

    Such texts contain characters that it drops or has no token for, or words that it reads as a special token.

    Args:
        spec: The model.
        texts: The texts.
        limit: Whether each text has to fit into the model's context, with the tokenizer's own special tokens.
        end: Whether training appends the end token to it.
    """
    from benchmark.models.loading import context_length, tokenizer_of
    from benchmark.models.special_tokens import added_tokens

    tokenizer = tokenizer_of(spec)
    longest = context_length(spec) if limit else None
    added = len(added_tokens(tokenizer).before) + end
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special.discard(tokenizer.unk_token_id)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        batch = texts[start : start + TEXTS_AT_ONCE]
        encoded = tokenizer(
            [text.text for text in batch], add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        for text, ids, offsets in zip(batch, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            where = f"model {spec.model!r}: text {text.id!r}"
            if marked := [span for number, span in zip(ids, offsets, strict=True) if number in special]:
                raise UserError(
                    f"{where}: contains {text.text[slice(*marked[0])]!r}, which the model's tokenizer reads as a "
                    "special token and not as these letters; remove it or spell it in another way"
                )
            if lost := _lost(text.text, ids, offsets, tokenizer):
                raise UserError(
                    f"{where}: its tokenizer has no token for {lost!r}, so the model cannot read it; remove it, or "
                    "use another model"
                )
            if longest is not None and (length := len(ids) + added) > longest:
                raise UserError(
                    f"{where}: {length} tokens, more than the model's context of {longest}; shorten it, or set "
                    "long_texts: split in the suite"
                )


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


def _check_is_causal(spec: ModelSpec, config: Any) -> None:
    """Refuse encoders by their configuration; `check_causal` tests all other models once their weights are loaded."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", True)
    if encoder or config.is_encoder_decoder:
        raise UserError(
            f"model {spec.model!r}: {config.model_type} is not a causal language model: its tokens attend to later "
            "tokens; give a model that generates text"
        )


def _lost(text: str, ids: Sequence[int], offsets: Sequence[tuple[int, int]], tokenizer: Any) -> str:
    """The first visible character of a text with no token, or with the unknown token; "" if there is none."""
    done = 0
    gap = ""
    for number, (start, end) in zip(ids, offsets, strict=True):
        gap = gap or _visible(text[start:end] if number == tokenizer.unk_token_id else text[done:start])
        done = max(done, end)
    if not (gap := gap or _visible(text[done:])):
        return ""
    # After a dropped character the offsets may be shifted, so that the gap stands at another character.
    missing = (letter for letter in dict.fromkeys(_visible(text)) if not _has_token(letter, tokenizer))
    return next(missing, gap)


def _has_token(letter: str, tokenizer: Any) -> bool:
    ids = tokenizer.encode(letter, add_special_tokens=False)
    return bool(ids) and tokenizer.unk_token_id not in ids


def _visible(text: str) -> str:
    """A text without white space and control characters, which tokenizers may drop."""
    return "".join(letter for letter in text if unicodedata.category(letter)[0] not in "CZ")
