"""The peak of a stage on its device, put together from its parameters, its texts and the shape of its model."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from benchmark.corpora import Corpus
from benchmark.data.texts import AugmentedText
from benchmark.memory import formulas
from benchmark.memory.formulas import Arithmetic
from benchmark.memory.shape import Shape, shape_of
from benchmark.methods.base import Training
from benchmark.models.loading import load_config, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.scoring.encoding import batches, prefix_for
from benchmark.scoring.perplexity import BATCH
from benchmark.stages.retain import CONTEXT
from benchmark.store.artifacts import StageCall
from benchmark.suite.retention import LmEvalTask, TextFile, make_entry
from benchmark.training.data import rehearsal_file
from benchmark.training.out_of_memory import micro_batches
from benchmark.training.recipe import Recipe
from benchmark.training.rehearsal import rehearsal_texts
from benchmark.training.rows import UNMASKED

STAGES = ("score", "train", "evaluate", "curve", "retain")  # those with a model
CUDA_CONTEXT = 640 * 2**20  # the driver's context, cuBLAS's work space and torch's kernels, in bytes: assumed
LIBRARIES = 512 * 2**20  # bytes of a process that has torch, transformers and lm-eval loaded: measured
SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Need:
    """Bytes that a stage needs at its peak, in parts.

    The first three lie with the layers, and are divided where these are spread over GPUs; the others are on one.

    Attributes:
        weights: of the model, and of an adapter.
        training: gradients and AdamW's state.
        kept: activations that wait for the backward pass, or keys and values.
        passing: what a layer, the logits or the loading of a weight needs for a moment.
        overhead: of the device, or on a CPU of the libraries.
        layers: of the model.
        micro_batch: texts of a pass of training.
    """

    weights: int
    training: int = 0
    kept: int = 0
    passing: int = 0
    overhead: int = 0
    layers: int = 1
    micro_batch: int | None = None

    def on(self, gpus: int = 1) -> int:
        """The peak of the fullest of so many GPUs, which has its share of the layers, rounded up."""
        share = math.ceil(self.layers / gpus) / self.layers
        return math.ceil((self.weights + self.training + self.kept) * share) + self.passing + self.overhead


@dataclass(frozen=True)
class Prediction:
    """What a stage needs.

    Attributes:
        call: the stage.
        needs: one; of training one for each micro-batch that is tried when memory runs out, the largest first.
        notes: what is not predicted of it.
    """

    call: StageCall
    needs: Sequence[Need]
    notes: Sequence[str] = ()

    @property
    def spec(self) -> ModelSpec:
        """The stage's model."""
        return ModelSpec.model_validate(self.call.where["model"])


def predict(call: StageCall, corpus: Corpus) -> Prediction:
    """What a stage of STAGES needs, which trains on or scores the texts of a corpus, or asks about it.

    Raises UserError if the model's configuration or tokenizer cannot be had.
    """
    spec = ModelSpec.model_validate(call.where["model"])
    shape, notes = shape_of(spec), []
    if call.stage == "score":
        needs = [_score(call, spec, shape, corpus)]
    elif call.stage == "train":
        needs = _train(call, spec, shape, corpus)
    elif call.stage == "retain":
        needs = [_retain(call, spec, shape)]
        entries = [make_entry(entry) for entry in call.where["entries"]]
        notes = [f"{one.name}: questions of lm-eval, not predicted" for one in entries if isinstance(one, LmEvalTask)]
    else:
        needs = [_evaluate(call, spec, shape)]
    overhead = CUDA_CONTEXT if call.params["device"] == "cuda" else LIBRARIES
    return Prediction(call, [replace(need, overhead=overhead, layers=shape.layers) for need in needs], notes)


def _loaded(spec: ModelSpec) -> Arithmetic:
    return Arithmetic(SIZES[spec.dtype], quantization=spec.quantization)


def loading(spec: ModelSpec, shape: Shape, device: str, own: bool = False) -> int:
    """What the loading of weights needs for a moment beside them.

    On a GPU a weight is there twice. A CPU maps the file into memory: in the dtype asked for it is the weights itself,
    in another one it is whole beside them. So is a GGUF file, and its largest weight as numpy unpacked it and as
    transformers copied that, both in float32.

    Args:
        spec: how the model is loaded.
        shape: of the model.
        device: "cpu" or "cuda".
        own: whether the weights are those that full fine-tuning has written, in the dtype asked for.
    """
    largest = max(shape.head, shape.largest)
    if device == "cuda":
        return largest * SIZES[spec.dtype]
    if own:
        return 0
    if spec.local and spec.local.is_file():
        return spec.local.stat().st_size + 2 * largest * formulas.SINGLE
    kept_in = getattr(load_config(spec), "dtype", None)
    size = kept_in.itemsize if kept_in else formulas.SINGLE
    return 0 if size == SIZES[spec.dtype] else shape.parameters * size


def _reading(
    call: StageCall, spec: ModelSpec, shape: Shape, recipe: Recipe | None, passing: int, kept: int = 0
) -> Need:
    """A model that is read with: as it was (no recipe), with the adapter that was trained, or with its own weights."""
    lora = recipe is not None and recipe.adaptation == "lora"
    adapter = shape.adapter(recipe.lora_rank) if recipe and lora else 0
    weights = formulas.weights(shape, _loaded(spec)) + adapter * formulas.SINGLE
    at_first = loading(spec, shape, call.params["device"], own=recipe is not None and not lora)
    return Need(weights, kept=kept, passing=max(passing, at_first))


def _score(call: StageCall, spec: ModelSpec, shape: Shape, corpus: Corpus) -> Need:
    params, how = call.params, _loaded(spec)
    passing = 0
    lengths = _lengths(spec, corpus, params["prefix"], shape.context)
    for batch in batches(lengths, params["tokens_per_batch"]):
        rows, length = len(batch), lengths[batch[0]]
        tokens = rows * length
        if params["reduction"] == "loss":
            after = formulas.token_losses(shape, how, tokens)
            within = formulas.forward_of_a_layer(shape, how, tokens)
            passing = max(passing, tokens * shape.hidden * how.matrix + max(after, within))
        else:
            whole = params["reduction"] == "released"
            attention = formulas.received(shape, how, rows, length, whole)
            passing = max(passing, formulas.forward_of_a_layer(shape, how, tokens) + attention)
    return _reading(call, spec, shape, None, passing)


def _train(call: StageCall, spec: ModelSpec, shape: Shape, corpus: Corpus) -> list[Need]:
    recipe = Recipe.model_validate(call.params["recipe"])
    end = 1 if recipe.append_end else 0
    lengths = _lengths(spec, corpus, "", shape.context)
    if recipe.rehearsal:
        originals = [AugmentedText(text.id, 0, text.text) for text in corpus.texts]
        others = rehearsal_texts(recipe.rehearsal, rehearsal_file(call), originals)
        lengths = lengths + _tokens(spec.model_dump_json(), "", tuple(one.text for one in others))
    longest = max(lengths) + end
    longest = min(longest, shape.context or longest)
    weighted = Training.model_validate(call.params.get("training", {})).loss != "mean"
    return [train_need(spec, shape, recipe, micro, longest, weighted) for micro in micro_batches(recipe)]


def train_need(spec: ModelSpec, shape: Shape, recipe: Recipe, micro: int, longest: int, weighted: bool) -> Need:
    """What training needs with rows as long as the longest text.

    The peak is when the backward pass begins, with all activations and the loss; or when it ends, with all gradients.
    With several micro-batches a step, gradients are there from the start.

    Args:
        spec: how the model is loaded.
        shape: of the model.
        recipe: how it is trained.
        micro: texts of a pass.
        longest: tokens of the longest text.
        weighted: whether tokens weigh differently.
    """
    rank = recipe.lora_rank if recipe.adaptation == "lora" else None
    # What is not quantized is made float32 for training (peft's prepare_model_for_kbit_training).
    weight = formulas.SINGLE if spec.quantization else SIZES[spec.dtype]
    how = Arithmetic(weight, recipe.autocast == "bfloat16", spec.quantization)
    tokens = micro * longest
    alone = longest >= UNMASKED  # rows of one text have no mask then; if two share one, there is a row less
    adapter = shape.adapter(rank) if rank else 0
    trained = adapter or shape.parameters
    kept = formulas.activations(shape, how, tokens, longest, rank, masked=not alone)
    if alone:
        kept = max(kept, formulas.activations(shape, how, tokens - longest, longest, rank))
    kept += formulas.cast_weights(shape, how)
    kept += 2 * adapter if how.autocast else 0
    gradients = trained * formulas.SINGLE
    layer = formulas.backward_of_a_layer(shape, how, tokens)
    of_head = 0 if rank else shape.head * formulas.SINGLE  # its gradient comes first, the embedding's last
    start = kept + max(formulas.loss(shape, tokens, weighted) + of_head, layer)
    start += gradients if micro < recipe.batch_size else 0
    finish = gradients + layer + of_head
    weights = formulas.weights(shape, how) + adapter * formulas.SINGLE
    state = trained * formulas.ADAM
    if finish > start:
        return Need(weights, state + gradients, 0, finish - gradients, micro_batch=micro)
    held = gradients if micro < recipe.batch_size else 0
    return Need(weights, state + held, kept, start - kept - held, micro_batch=micro)


def _evaluate(call: StageCall, spec: ModelSpec, shape: Shape) -> Need:
    from benchmark.memory.questions import Generation

    params, how = call.params, _loaded(spec)
    trained = call.inputs.get("trained")
    recipe = Recipe.model_validate(trained.params["recipe"]) if trained else None
    needs = []
    every = _asked(spec, params["tasks"], json.dumps(call.where["metadata"]), params["num_fewshot"])
    generations = [asked for asked in every if isinstance(asked, Generation)]
    most = params["batch_size"] * max((asked.longest + asked.limit for asked in generations), default=0)
    for asked in every:
        if isinstance(asked, Generation):
            if params.get("open_book") and shape.context:  # a longer prompt is left out
                asked = replace(asked, longest=min(asked.longest, shape.context - asked.limit))
            # Shorter prompts are answered as many more at once as have the tokens of the longest.
            rows = min(most // (asked.longest + asked.limit), asked.prompts)
            own = asked.longest - _read_once(rows, asked.common)
            kept = formulas.cache(shape, how, rows * (asked.longest + asked.limit))
            after = formulas.answers(shape, how, rows)
        else:
            rows = min(asked.contexts, max(1, params["batch_size"] * (asked.longest - 1) // asked.row))
            own = asked.row - _read_once(rows, asked.common)
            kept = formulas.cache(shape, how, rows * asked.row)
            after = formulas.choices(shape, how, rows * asked.continuations)
        within = formulas.forward_of_a_layer(shape, how, rows * own)
        needs.append(_reading(call, spec, shape, recipe, max(after, within), kept))
    return max(needs, key=Need.on)


def _read_once(rows: int, common: int) -> int:
    """Tokens that are not read in every row, since all begin with them (`SharedPrefixLM._prefix_of`)."""
    from benchmark.evaluation.shared_prefix_lm import TOKENS_PER_PASS

    return common if common * rows > common + TOKENS_PER_PASS else 0


def _retain(call: StageCall, spec: ModelSpec, shape: Shape) -> Need:
    how, longest = _loaded(spec), shape.context or CONTEXT
    recipe = Recipe.model_validate(call.inputs["trained"].params["recipe"]) if "trained" in call.inputs else None
    passing = 0
    for content in call.where["entries"]:
        entry = make_entry(content)
        if isinstance(entry, LmEvalTask):
            continue
        context = entry.context or min(CONTEXT, longest)
        tokens = max(1, BATCH // context) * context
        there = (
            len(tokenizer_of(spec)(entry.words(), verbose=False)["input_ids"])
            if isinstance(entry, TextFile)
            else tokens
        )
        tokens = min(tokens, there, entry.tokens or tokens)
        within = formulas.forward_of_a_layer(shape, how, tokens)
        after = tokens * shape.hidden * how.matrix + formulas.token_losses(shape, how, tokens)
        passing = max(passing, within, after)
    return _reading(call, spec, shape, recipe, passing)


def _lengths(spec: ModelSpec, corpus: Corpus, prefix: str, context: int | None) -> list[int]:
    """Tokens of every text, cut to the model's context where a suite has texts split."""
    texts = tuple(text.text for text in corpus.texts)
    return [min(length, context or length) for length in _tokens(spec.model_dump_json(), prefix, texts)]


@cache
def _tokens(spec: str, prefix: str, texts: tuple[str, ...]) -> list[int]:
    tokenizer = tokenizer_of(ModelSpec.model_validate_json(spec))
    before = prefix_for(tokenizer, prefix)
    return [len(ids) for ids in tokenizer([before + text for text in texts])["input_ids"]]


def _asked(spec: ModelSpec, tasks: Iterable[str], metadata: str, num_fewshot: Iterable[int]) -> list[Any]:
    return _in_tokens(spec.model_dump_json(), tuple(tasks), metadata, tuple(num_fewshot))


@cache
def _in_tokens(spec: str, tasks: tuple[str, ...], metadata: str, num_fewshot: tuple[int, ...]) -> list[Any]:
    return list(_requests(tasks, metadata, num_fewshot).in_tokens(tokenizer_of(ModelSpec.model_validate_json(spec))))


@cache
def _requests(tasks: tuple[str, ...], metadata: str, num_fewshot: tuple[int, ...]) -> Any:
    from benchmark.memory.questions import requests_of

    return requests_of(tasks, json.loads(metadata), num_fewshot)
