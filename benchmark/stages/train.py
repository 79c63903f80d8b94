"""Train stage: a model fine-tuned on a method's texts, by LoRA or in full, with the Trainer of transformers."""

import gc
import json
import math
import os
import random
import shutil
import time
from collections.abc import Mapping, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import UserError
from benchmark.methods import METHODS
from benchmark.methods.base import Training
from benchmark.models.loading import context_length, load_config, load_model, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.stages import Progress
from benchmark.store import StageCall
from benchmark.suite import Budget, Recipe
from benchmark.texts import AugmentedText, read_augmented
from benchmark.training.begun import TRAINER, made_on
from benchmark.training.lora import with_lora

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

    from benchmark.models.behaviour import ALONE, bears_padding
    from benchmark.training.checkpoints import Checkpoints
    from benchmark.training.fit import fit
    from benchmark.training.rows import keeps_rows_apart

    began = time.monotonic()
    params = call.params
    torch.set_num_threads(params["threads"])
    recipe = Recipe.model_validate(params["recipe"])
    spec = ModelSpec.model_validate(call.where["model"])
    texts = read_augmented(inputs["texts"] / "augmented.jsonl")
    sequences, order, steps, readings, notes = _readings(params, recipe, spec, texts)
    tokens = list(accumulate(len(sequences[i]) for i in order))  # read after so many texts

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
        if micro_batch > 1 and not keeps_rows_apart(model) and not bears_padding(model.eval()):
            micro_batch = 1
            lowered.append(ALONE)
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
        "epochs": round(steps * recipe.batch_size / len(sequences), 4),
        "texts": len(sequences),
        "tokens": tokens[-1],
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


def _readings(
    params: Mapping[str, Any], recipe: Recipe, spec: ModelSpec, texts: Sequence[AugmentedText]
) -> "tuple[list[list[int]], list[int], int, list[list[int]] | Readings, list[str]]":
    """What is read in training: token ids by text, their order, optimizer steps, the readings in that order, notes."""
    from benchmark.training.objective import Readings, substitutes, token_values

    training = Training.model_validate(params.get("training", {}))
    tokenizer = tokenizer_of(spec)
    encoded = encode(texts, tokenizer, recipe, context_length(spec))
    long_enough = [number for number, ids in enumerate(encoded) if len(ids) > 1]  # one token alone predicts nothing
    if not long_enough:
        raise UserError("no training text has more than one token; there is nothing to learn from")
    sequences = [encoded[number] for number in long_enough]
    steps = steps_for(
        Budget.model_validate(params["budget"]), params["method"], texts, params["copies"], recipe.batch_size
    )
    order = data_order(len(sequences), steps * recipe.batch_size, params["seed"])
    notes = []
    if len(sequences) < len(texts):
        notes.append(f"{len(texts) - len(sequences)} texts of a single token left out: they predict nothing")
    if training.replaced == (0, 0) and training.loss == "mean":
        return sequences, order, steps, [sequences[i] for i in order], notes
    others: list[int] = []
    values: list[list[float]] = []
    if training.replaced != (0, 0):
        others, note = substitutes(tokenizer, training.replacement, load_config(spec).get_text_config().vocab_size)
        notes += note
    if training.loss != "mean":
        values = token_values([texts[number] for number in long_enough], sequences, tokenizer, training)
    return sequences, order, steps, Readings(sequences, values, order, training, others, params["seed"]), notes


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
