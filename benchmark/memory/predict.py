"""Predict the peak memory of a stage on its device from its parameters, its texts and the shape of its model."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from benchmark.corpora import Corpus
from benchmark.data.texts import AugmentedText
from benchmark.data.written import Writing
from benchmark.evaluation.batch_limits import rows_of_choices, rows_that_fit
from benchmark.memory import formulas
from benchmark.memory.needs import Need, inference_arithmetic, inference_need, training_need
from benchmark.memory.shape import Shape, shape_of
from benchmark.methods.base import Training
from benchmark.models.loading import tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring.encoding import batches, prefix_for
from benchmark.scoring.perplexity import BATCH
from benchmark.stages.augment import method_of
from benchmark.stages.retain import CONTEXT
from benchmark.store.artifacts import StageCall
from benchmark.suite.retention import LmEvalTask, TextFile, make_entry
from benchmark.training.data import other_sources, source_file
from benchmark.training.out_of_memory import micro_batches
from benchmark.training.recipe import Recipe
from benchmark.training.rehearsal import rehearsal_texts
from benchmark.writing.local import longest_prompt
from benchmark.writing.settings import LocalWriter

STAGES = ("score", "write", "teach", "train", "evaluate", "curve", "retain")  # stages that load a model
CUDA_CONTEXT = 640 * 2**20  # bytes of the driver's context, cuBLAS's work space and torch's kernels: assumed
LIBRARIES = 512 * 2**20  # bytes of a process that has torch, transformers and lm-eval loaded: measured


@dataclass(frozen=True)
class MemoryEstimate:
    """What a stage needs.

    Attributes:
        call: The stage.
        needs: One need; for training one for each micro-batch that it tries when memory runs out, the largest first.
        notes: What the prediction leaves out.
    """

    call: StageCall
    needs: Sequence[Need]
    notes: Sequence[str] = ()

    @property
    def spec(self) -> ModelSpec:
        """The stage's model."""
        return spec_of(self.call)


def loads_model(call: StageCall) -> bool:
    """Whether a stage loads a model; one that asks a server does not."""
    return call.stage in STAGES and "api" not in call.params


def spec_of(call: StageCall) -> ModelSpec:
    """The model that a stage loads."""
    if call.stage == "write":
        return LocalWriter.model_validate(call.where["writer"]).spec
    return ModelSpec.model_validate(call.where["model"])


def predict(call: StageCall, corpus: Corpus) -> MemoryEstimate:
    """What a stage needs that loads a model.

    Args:
        call: The stage.
        corpus: The corpus that it scores, writes about, trains on or asks about.

    Raises:
        UserError: If the model's configuration or tokenizer cannot be loaded.
    """
    spec = spec_of(call)
    shape, notes = shape_of(spec), []
    if call.stage == "score":
        needs = [_score(call, spec, shape, corpus)]
    elif call.stage == "write":
        needs = [_write(call, spec, shape, corpus)]
    elif call.stage == "teach":
        needs = [_teach(call, spec, shape, corpus)]
    elif call.stage == "train":
        needs = _train(call, spec, shape, corpus)
    elif call.stage == "retain":
        needs = [_retain(call, spec, shape)]
        entries = [make_entry(entry) for entry in call.where["entries"]]
        lm_eval = [entry for entry in entries if isinstance(entry, LmEvalTask)]
        notes = [f"{entry.name}: questions of lm-eval, not predicted" for entry in lm_eval]
    else:
        needs = [_evaluate(call, spec, shape)]
    overhead = CUDA_CONTEXT if call.params["device"] == "cuda" else LIBRARIES
    return MemoryEstimate(call, [replace(need, overhead=overhead, layers=shape.layers) for need in needs], notes)


def _score(call: StageCall, spec: ModelSpec, shape: Shape, corpus: Corpus) -> Need:
    params, arithmetic = call.params, inference_arithmetic(spec)
    passing = 0
    lengths = _lengths(spec, corpus, params["prefix"], shape.context)
    for batch in batches(lengths, params["tokens_per_batch"]):
        rows, length = len(batch), lengths[batch[0]]
        tokens = rows * length
        if params["reduction"] == "loss":
            losses = formulas.token_losses(shape, arithmetic, tokens)
            layer = formulas.layer_forward(shape, arithmetic, tokens)
            passing = max(passing, tokens * shape.hidden * arithmetic.matrix + max(losses, layer))
        else:
            whole = params["reduction"] == "released"
            attention = formulas.attention_scores(shape, arithmetic, rows, length, whole)
            passing = max(passing, formulas.layer_forward(shape, arithmetic, tokens) + attention)
    return inference_need(spec, shape, params["device"], None, passing)


def _write(call: StageCall, spec: ModelSpec, shape: Shape, corpus: Corpus) -> Need:
    """A batch of the longest text: its prompts are read at once, each row gets its whole answer."""
    writer, arithmetic = LocalWriter.model_validate(call.where["writer"]), inference_arithmetic(spec)
    writing = Writing.model_validate(call.where["writing"])
    longest, rows = longest_prompt(writer, writing, corpus.texts).length, writer.batch_size
    kept = formulas.key_value_cache(shape, arithmetic, rows * (longest + writer.max_tokens))
    logits = formulas.answer_logits(shape, arithmetic, rows) + formulas.drawing(shape)
    layer = formulas.layer_forward(shape, arithmetic, rows * longest)
    return inference_need(spec, shape, call.params["device"], None, max(logits, layer), kept)


def _teach(call: StageCall, spec: ModelSpec, shape: Shape, corpus: Corpus) -> Need:
    """A full batch, or the longest document with the longest text after it."""
    arithmetic = inference_arithmetic(spec)
    documents = _lengths(spec, corpus, "", shape.context)
    longest = max(documents) + max([*documents, *_written_lengths(call)])
    tokens = max(call.params["tokens_per_batch"], min(longest, shape.context or longest))
    losses = tokens * shape.hidden * arithmetic.matrix + formulas.token_losses(shape, arithmetic, tokens)
    passing = max(losses, formulas.layer_forward(shape, arithmetic, tokens))
    return inference_need(spec, shape, call.params["device"], None, passing)


def _train(call: StageCall, spec: ModelSpec, shape: Shape, corpus: Corpus) -> list[Need]:
    recipe = Recipe.model_validate(call.params["recipe"])
    end = 1 if recipe.append_end else 0
    lengths = _lengths(spec, corpus, "", shape.context)
    if "texts" in call.inputs:
        method = method_of(call.inputs["texts"])
        copies = tuple(copy for text in corpus.texts for copy in method.longest_copies(text.text))
        lengths = lengths + (_tokens(spec.model_dump_json(), "", copies) if copies else []) + _written_lengths(call)
    training = Training.model_validate(call.params.get("training", {}))
    for source in other_sources(recipe, training):
        originals = [AugmentedText(text.id, 0, text.text) for text in corpus.texts]
        others = rehearsal_texts(source, source_file(call, source), originals)
        lengths = lengths + _tokens(spec.model_dump_json(), "", tuple(text.text for text in others))
    longest = max(lengths) + end
    longest = min(longest, shape.context or longest)
    weighted = training.loss != "mean"
    return [training_need(spec, shape, recipe, micro, longest, weighted) for micro in micro_batches(recipe)]


def _written_lengths(call: StageCall) -> list[int]:
    """Most tokens of the texts that a stage reads from writers, a number for each, in tokens of the writer."""
    inputs = call.inputs["texts"].inputs.values()
    return [source.params["sampling"]["max_tokens"] for source in inputs if source.stage == "write"]


def _evaluate(call: StageCall, spec: ModelSpec, shape: Shape) -> Need:
    from benchmark.memory.questions import Generation

    params, arithmetic, device = call.params, inference_arithmetic(spec), call.params["device"]
    logit_bytes_per_token = shape.vocabulary * arithmetic.matrix
    recipe = _trained_by(call)
    needs = []
    workloads = _workloads(spec, params["tasks"], json.dumps(call.where["metadata"]), params["num_fewshot"])
    generations = [workload for workload in workloads if isinstance(workload, Generation)]
    tokens_at_once = params["batch_size"] * max((asked.longest + asked.limit for asked in generations), default=0)
    for workload in workloads:
        if isinstance(workload, Generation):
            if (params.get("open_book") or "skip_too_long" in params) and shape.context:  # a longer prompt is left out
                workload = replace(workload, longest=min(workload.longest, shape.context - workload.limit))
            # Batches of shorter prompts have more rows, up to the tokens of a batch of the longest.
            whole = workload.longest + workload.limit
            rows = min(tokens_at_once // whole, workload.prompts, rows_that_fit(device, whole, logit_bytes_per_token))
            tokens_of_row = workload.longest - _read_once(rows, workload.common)
            kept = formulas.key_value_cache(shape, arithmetic, rows * whole)
            logits = formulas.answer_logits(shape, arithmetic, rows)
        else:
            rows = rows_of_choices(device, params["batch_size"], workload.longest, workload.rows, logit_bytes_per_token)
            row, of_context = workload.rows[0]
            tokens_of_row = row - _read_once(rows, workload.common)
            kept = formulas.key_value_cache(shape, arithmetic, rows * row)
            columns = row - min(context for _, context in workload.rows[:rows])
            logits = formulas.choice_logits(shape, arithmetic, rows * columns, rows * (row - of_context))
        layer = formulas.layer_forward(shape, arithmetic, rows * tokens_of_row)
        needs.append(inference_need(spec, shape, device, recipe, max(logits, layer), kept))
    return max(needs, key=Need.on)


def _read_once(rows: int, common: int) -> int:
    """Tokens that are not read in every row, since all begin with them (`SharedPrefixLM._prefix_of`)."""
    from benchmark.evaluation.shared_prefix_lm import TOKENS_PER_PASS

    return common if common * rows > common + TOKENS_PER_PASS else 0


def _retain(call: StageCall, spec: ModelSpec, shape: Shape) -> Need:
    arithmetic, longest = inference_arithmetic(spec), shape.context or CONTEXT
    passing = 0
    for content in call.where["entries"]:
        entry = make_entry(content)
        if isinstance(entry, LmEvalTask):
            continue
        context = entry.context or min(CONTEXT, longest)
        tokens = max(1, BATCH // context) * context
        if isinstance(entry, TextFile):
            tokens = min(tokens, len(tokenizer_of(spec)(entry.words(), verbose=False)["input_ids"]))
        tokens = min(tokens, entry.tokens or tokens)
        layer = formulas.layer_forward(shape, arithmetic, tokens)
        losses = tokens * shape.hidden * arithmetic.matrix + formulas.token_losses(shape, arithmetic, tokens)
        passing = max(passing, layer, losses)
    return inference_need(spec, shape, call.params["device"], _trained_by(call), passing)


def _trained_by(call: StageCall) -> Recipe | None:
    """The recipe that trained the model of a stage; None for a model before training."""
    trained = call.inputs.get("trained")
    return Recipe.model_validate(trained.params["recipe"]) if trained else None


def _lengths(spec: ModelSpec, corpus: Corpus, prefix: str, context: int | None) -> list[int]:
    """Tokens of every text, at most the model's context, since longer texts are split."""
    texts = tuple(text.text for text in corpus.texts)
    return [min(length, context or length) for length in _tokens(spec.model_dump_json(), prefix, texts)]


@cache
def _tokens(spec: str, prefix: str, texts: tuple[str, ...]) -> list[int]:
    tokenizer = tokenizer_of(ModelSpec.model_validate_json(spec))
    prefix = prefix_for(tokenizer, prefix)
    return [len(ids) for ids in tokenizer([prefix + text for text in texts])["input_ids"]]


def _workloads(spec: ModelSpec, tasks: Iterable[str], metadata: str, num_fewshot: Iterable[int]) -> list[Any]:
    """The largest prompts of each task, as Generation or Comparison."""
    return _in_tokens(spec.model_dump_json(), tuple(tasks), metadata, tuple(num_fewshot))


@cache
def _in_tokens(spec: str, tasks: tuple[str, ...], metadata: str, num_fewshot: tuple[int, ...]) -> list[Any]:
    return list(_requests(tasks, metadata, num_fewshot).in_tokens(tokenizer_of(ModelSpec.model_validate_json(spec))))


@cache
def _requests(tasks: tuple[str, ...], metadata: str, num_fewshot: tuple[int, ...]) -> Any:
    from benchmark.memory.questions import requests_of

    return requests_of(tasks, json.loads(metadata), num_fewshot)
