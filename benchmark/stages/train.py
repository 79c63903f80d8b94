"""Train stage: a model fine-tuned on a method's texts, by LoRA or in full, with the Trainer of transformers."""

import gc
import json
import math
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.core.progress import Progress
from benchmark.data.texts import AugmentedText, read_augmented
from benchmark.methods import METHODS
from benchmark.methods.base import Training
from benchmark.models.loading import context_length, load_config, load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import StageCall
from benchmark.training.begun import TRAINER, made_on
from benchmark.training.lora import with_lora
from benchmark.training.recipe import Budget, Recipe
from benchmark.training.rehearsal import rehearsed, takes_turns

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from benchmark.training.objective import Readings

WEIGHTS, CHECKPOINTS, REPORT = "model", "checkpoints", "training.json"
TEXTS_AT_ONCE = 10_000  # a tokenizer keeps ten times as much about a text, until it is done, as its token ids


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress, begun: Path) -> float:
    """Write the folder model/ (a peft adapter, or whole weights) and training.json from the input "texts".

    At those steps before the last that the parameter "checkpoints" lists, the weights go to checkpoints/<step>/, too.
    A training that was cut off goes on from what it left in `begun`; returns the seconds that had been spent on that.
    """
    import torch
    from transformers import set_seed

    from benchmark.models.forward_checks import PADDING_NOTE, padding_is_harmless
    from benchmark.training.checkpoints import Checkpoints
    from benchmark.training.fit import fit
    from benchmark.training.rows import keeps_rows_apart

    began = time.monotonic()
    params = call.params
    torch.set_num_threads(params["threads"])
    recipe = Recipe.model_validate(params["recipe"])
    spec = ModelSpec.model_validate(call.where["model"])
    texts = read_augmented(inputs["texts"] / "augmented.jsonl")
    made = _readings(call, recipe, spec, texts)
    readings, steps, notes = made.readings, made.steps, made.notes
    tokens = list(accumulate(map(len, made.in_order())))  # read after so many texts

    checkpoints, points = Checkpoints(begun / TRAINER, made_on(params)), begun / CHECKPOINTS
    last = checkpoints.last()
    before = last.told["seconds"] if last else 0.0
    micro_batch = last.told["micro_batch"] if last else recipe.micro_batch or recipe.batch_size
    lowered = list(last.told["lowered"]) if last else []
    wanted = {step for step in params.get("checkpoints", []) if step < steps}
    while True:
        if not checkpoints.last():
            shutil.rmtree(begun, ignore_errors=True)
        set_seed(params["seed"])
        model = _trainable(load_model(spec, params["device"]), recipe, spec)
        if micro_batch > 1 and not keeps_rows_apart(model) and not padding_is_harmless(model.eval()):
            micro_batch = 1
            lowered.append(PADDING_NOTE)
        model.train()

        def step_done(done: int, total: int, model: Any = model) -> None:
            if done in wanted:
                _save(model, spec, points / str(done))
                model.config.use_cache = False
            progress(done, total, tokens[done * recipe.batch_size - 1])

        told = {"micro_batch": micro_batch, "lowered": lowered, "seconds": before + time.monotonic() - began}
        try:
            losses = fit(model, readings, steps, micro_batch, recipe, params, checkpoints, told, step_done)
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if micro_batch == 1:
                raise UserError(
                    f"model {spec.model!r}: out of memory with one text at a time on {params['device']}; "
                    "use a smaller model, shorter texts or quantization"
                ) from error
        micro_batch = smaller_micro_batch(micro_batch, recipe.batch_size)
        lowered.append(
            f"out of memory: micro-batch lowered to {micro_batch}, effective batch kept at {recipe.batch_size}"
        )
        checkpoints.clear()  # of another micro-batch: sums in another order
        del model, step_done
        gc.collect()  # model, trainer and optimizer hold on to each other; before the next try they have to be gone
        torch.cuda.empty_cache()
    if wanted:
        os.replace(points, out / CHECKPOINTS)
    _save(model, spec, out / WEIGHTS)
    report = {
        "steps": steps,
        "epochs": round(sum(number < made.texts for number in made.order) / made.texts, 4),
        "texts": made.texts,
        "tokens": tokens[-1],
        "loss_tokens": _loss_tokens(made, Training.model_validate(params.get("training", {}))),
        "rehearsal_tokens": sum(len(made.sequences[number]) for number in made.order if number >= made.texts),
        "micro_batch": micro_batch,
        "effective_batch": recipe.batch_size,
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "parameters": model.num_parameters() - _adapter_parameters(model),
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "notes": [*notes, *lowered],
    }
    (out / REPORT).write_text(json.dumps(report, indent=1))
    return float(before)


class _Made(NamedTuple):
    """What is read in training: token ids by text, those of the corpus before those rehearsed, and their order."""

    sequences: list[list[int]]
    texts: int  # of the corpus
    order: list[int]
    steps: int
    readings: "list[list[int]] | Readings"
    notes: list[str]

    def in_order(self) -> Iterator[list[int]]:
        """The token ids of every reading."""
        return (self.sequences[number] for number in self.order)


def _readings(call: StageCall, recipe: Recipe, spec: ModelSpec, texts: Sequence[AugmentedText]) -> _Made:
    from benchmark.training.objective import Readings, substitutes, token_values

    params = call.params
    training = Training.model_validate(params.get("training", {}))
    tokenizer = tokenizer_of(spec)
    used, sequences, notes = _long_enough(texts, encode(texts, tokenizer, recipe, context_length(spec)))
    count, batch = len(sequences), recipe.batch_size
    if recipe.rehearsal:
        others = rehearsed(recipe.rehearsal, rehearsal_file(call), texts)
        more, ids, _ = _long_enough(others, encode(others, tokenizer, recipe, context_length(spec)))
        used, sequences = [*used, *more], [*sequences, *ids]
    budget = Budget.model_validate(params["budget"])
    share = recipe.rehearsal.share if recipe.rehearsal else 0.0

    def order_of(needed: int) -> list[int]:
        return _order(count, len(sequences), needed, share, params["seed"])

    if budget.tokens:
        steps = steps_of_tokens(_tokens_for(budget.tokens, params, texts), sequences, order_of, batch)
    else:
        steps = steps_for(budget, str(params["method"]), texts, int(params["copies"]), batch)
    order = order_of(steps * batch)
    if training.replaced == (0, 0) and training.loss == "mean":
        return _Made(sequences, count, order, steps, [sequences[i] for i in order], notes)
    others_: list[int] = []
    values: list[list[float]] = []
    if training.replaced != (0, 0):
        others_, note = substitutes(tokenizer, training.replacement, load_config(spec).get_text_config().vocab_size)
        notes += note
    if training.loss != "mean":
        values = token_values(used, sequences, tokenizer, training)
    readings = Readings(sequences, values, order, training, others_, params["seed"], replaced_below=count)
    return _Made(sequences, count, order, steps, readings, notes)


def _long_enough(
    texts: Sequence[AugmentedText], encoded: list[list[int]]
) -> tuple[list[AugmentedText], list[list[int]], list[str]]:
    """Texts with their tokens, without those of a single token, which predict nothing; and a note where there are some.

    Raises UserError if nothing is left.
    """
    kept = [number for number, ids in enumerate(encoded) if len(ids) > 1]
    if not kept:
        raise UserError("no training text has more than one token; there is nothing to learn from")
    left_out = len(texts) - len(kept)
    notes = [f"{left_out} texts of a single token left out: they predict nothing"] if left_out else []
    return [texts[number] for number in kept], [encoded[number] for number in kept], notes


def rehearsal_file(call: StageCall) -> Path | None:
    """The file that a training rehearses, None where there is none.

    Raises UserError if it was changed since the run was planned.
    """
    if "rehearsal" not in call.where:
        return None
    file = Path(call.where["rehearsal"])
    if file_hash(file) != call.params["rehearsal"]:
        raise UserError(f"recipe.rehearsal.source: {file}: was changed since the run began; run again")
    return file


def _order(count: int, every: int, needed: int, share: float, seed: int) -> list[int]:
    """Numbers of the sequences to read: the corpus in its own order, with a share of rehearsals in between."""
    if not share:
        return data_order(count, needed, seed)
    turns = takes_turns(needed, share)
    corpus = iter(data_order(count, needed - sum(turns), seed))
    others = iter(data_order(every - count, sum(turns), seed))
    return [count + next(others) if is_other else next(corpus) for is_other in turns]


def _tokens_for(tokens: int, params: Mapping[str, Any], texts: Sequence[AugmentedText]) -> int:
    """Tokens that a method reads under a budget of tokens; one that is not matched makes as many passes over fewer."""
    if METHODS[params["method"]].matched:
        return tokens
    originals = len({text.id for text in texts})
    return math.ceil(tokens * len(texts) / (originals * (int(params["copies"]) + 1)))


def steps_of_tokens(
    tokens: int, sequences: Sequence[list[int]], order_of: Callable[[int], list[int]], batch: int
) -> int:
    """The first optimizer step at the end of which so many tokens have been read."""
    needed = batch
    while True:
        read = list(accumulate(len(sequences[number]) for number in order_of(needed)))
        if read[-1] >= tokens:
            return next(step for step in range(1, needed // batch + 1) if read[step * batch - 1] >= tokens)
        needed *= 2


def _loss_tokens(made: _Made, training: Training) -> int:
    """How many tokens the loss was taken of, a token counting as often as it was read."""
    predicted = sum(len(ids) - 1 for ids in made.in_order())
    return math.ceil(round(predicted * training.selected, 6)) if training.loss == "selected" else predicted


def smaller_micro_batch(micro_batch: int, batch: int) -> int:
    """What a micro-batch above 1 is lowered to where memory runs out: about half, a divisor of the batch."""
    while micro_batch > 1 and batch % (micro_batch // 2):
        micro_batch -= 1
    return micro_batch // 2


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception means that memory ran out; torch has a class of its own for that on a GPU alone."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return "allocate memory" in str(error)


def steps_for(budget: Budget, method: str, texts: Sequence[AugmentedText], copies: int, batch: int) -> int:
    """Optimizer steps of a method under a budget.

    Matched methods all take the same number, that of a method which trains on originals and copies; a method that is
    not matched (plain) makes as many passes over its own, fewer texts, hence fewer steps.
    """
    originals = len({text.id for text in texts})
    passes_over = originals * (copies + 1)
    # Rounded first: 0.1 × 1100 is a little more than 110 in floating point, and would be a step more.
    matched = budget.steps if budget.steps else math.ceil(round(float(budget.epochs or 0) * passes_over / batch, 6))
    return matched if METHODS[method].matched else max(1, math.ceil(matched * len(texts) / passes_over))


def data_order(count: int, needed: int, seed: int) -> list[int]:
    """Numbers of the texts in the order they are trained on: one shuffle of all after another, cut at `needed`."""
    rng = random.Random(f"order:{seed}")
    order: list[int] = []
    while len(order) < needed:
        order += rng.sample(range(count), count)
    return order[:needed]


def encode(
    texts: Sequence[AugmentedText], tokenizer: "PreTrainedTokenizerFast", recipe: Recipe, limit: int | None
) -> list[list[int]]:
    """Token ids per text, with the tokenizer's own special tokens and, if the recipe says so, the end token.

    Raises UserError naming the text if one has more tokens than the model's context.
    """
    end = [tokenizer.eos_token_id] if recipe.append_end and tokenizer.eos_token_id is not None else []
    sequences = []
    rest = iter(texts)
    while some := list(islice(rest, TEXTS_AT_ONCE)):
        for text, ids in zip(some, tokenizer([text.text for text in some])["input_ids"], strict=True):
            ids = ids if end and ids[-1:] == end else ids + end
            if limit is not None and len(ids) > limit:
                raise UserError(
                    f"text {text.id!r} copy {text.copy}: {len(ids)} tokens, more than the model's context of {limit}; "
                    "shorten it or set long_texts: split in the suite"
                )
            sequences.append(ids)
    return sequences


def _trainable(model: "PreTrainedModel", recipe: Recipe, spec: ModelSpec) -> Any:
    """The model made ready: with a LoRA adapter on every linear layer but embedding and head, or all its weights."""
    model.config.use_cache = False
    if recipe.adaptation == "full":
        if spec.quantization or spec.dtype != "float32":
            raise UserError(
                f"model {spec.model!r}: full fine-tuning needs plain float32 weights; set recipe.adaptation: lora"
            )
        return model.requires_grad_(True).train()  # merging an adapter had frozen them
    from peft import prepare_model_for_kbit_training

    if spec.quantization:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return with_lora(model, recipe, spec)


def _adapter_parameters(model: Any) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)


def _save(model: Any, spec: ModelSpec, folder: Path) -> None:
    """Save in the library's own layout, without what differs from run to run or machine to machine.

    peft writes one list in random order, and the path of the base model into its settings and its model card.
    """
    model.config.use_cache = True
    model.save_pretrained(folder)
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        (folder / "README.md").unlink(missing_ok=True)
        config = json.loads(adapter.read_text())
        config["target_modules"] = sorted(config["target_modules"])
        config["base_model_name_or_path"] = spec.local.name if spec.local else spec.model
        adapter.write_text(json.dumps(config, indent=2, sort_keys=True))
