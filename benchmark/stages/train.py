"""Train stage: fine-tune a model on a method's texts, by LoRA or in full, with the Trainer of transformers."""

import gc
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import UserError
from benchmark.core.progress import Progress
from benchmark.data.targets import read_targets
from benchmark.data.texts import read_augmented
from benchmark.methods.base import Training
from benchmark.models.loading import load_model, parameter_count
from benchmark.models.spec import ModelSpec
from benchmark.stages.files import AUGMENTED, CHECKPOINTS, TARGETS, TRAINING_REPORT, WEIGHTS
from benchmark.store.artifacts import StageCall
from benchmark.training.adaptation import trainable
from benchmark.training.data import TrainingData, training_data
from benchmark.training.interrupted import TRAINER, training_environment
from benchmark.training.out_of_memory import first_micro_batch, is_out_of_memory, smaller_micro_batch
from benchmark.training.recipe import Recipe

if TYPE_CHECKING:
    from benchmark.training.checkpoints import ResumeInfo


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress, resume_folder: Path) -> float:
    """Write model/ (a peft adapter, or all weights) and training.json from the input "texts".

    A method whose loss needs a teacher's probabilities has the input "targets", too.

    The weights at the steps that the parameter "checkpoints" lists, but for the last step, go to checkpoints/<step>/.

    Args:
        call: The stage.
        inputs: The folder of each input.
        out: The folder to write to.
        progress: Called after every step with the steps done, the steps in all and the tokens read.
        resume_folder: Where an interrupted training left its checkpoints; this one resumes from it.

    Returns:
        Seconds that were spent on the training before it was interrupted.
    """
    import torch
    from transformers import set_seed

    from benchmark.models.forward_checks import PADDING_NOTE, padding_is_harmless
    from benchmark.training.checkpoints import Checkpoints
    from benchmark.training.fit import fit
    from benchmark.training.packing import supports_packing

    started = time.monotonic()
    params = call.params
    torch.set_num_threads(params["threads"])
    recipe = Recipe.model_validate(params["recipe"])
    spec = ModelSpec.model_validate(call.where["model"])
    targets = read_targets(inputs["targets"] / TARGETS) if "targets" in inputs else None
    data = training_data(call, recipe, spec, read_augmented(inputs["texts"] / AUGMENTED), targets)
    tokens_read = list(accumulate(map(len, data.in_order())))  # after each text

    checkpoints = Checkpoints(resume_folder / TRAINER, training_environment(params))
    snapshots = resume_folder / CHECKPOINTS
    last = checkpoints.last()
    info = last.info if last else _first_attempt(recipe, max(map(len, data.in_order())), params["device"])
    seconds_before = info.seconds
    steps_to_keep = {step for step in params.get("checkpoints", []) if step < data.steps}
    while True:
        if not checkpoints.last():  # else snapshots of a training that starts over would mix with the new ones
            shutil.rmtree(resume_folder, ignore_errors=True)
        set_seed(params["seed"])
        model = trainable(load_model(spec, params["device"]), recipe, spec)
        if info.micro_batch > 1 and not supports_packing(model) and not padding_is_harmless(model.eval()):
            info = replace(info, micro_batch=1, notes=(*info.notes, PADDING_NOTE))
        model.train()

        def step_done(done: int, total: int, model: Any = model) -> None:
            if done in steps_to_keep:
                _save(model, spec, snapshots / str(done))
                model.config.use_cache = False
            progress(done, total, tokens_read[done * recipe.batch_size - 1])

        info = replace(info, seconds=seconds_before + time.monotonic() - started)
        try:
            losses = fit(model, data.examples, info, recipe, params, checkpoints, step_done)
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            info = _with_smaller_micro_batch(info, recipe, spec, params["device"], error)
        checkpoints.clear()  # with another micro-batch, sums are taken in another order
        del model, step_done
        gc.collect()  # model, Trainer and optimizer refer to each other; all must be gone before the next attempt
        torch.cuda.empty_cache()
    if steps_to_keep:
        os.replace(snapshots, out / CHECKPOINTS)
    _save(model, spec, out / WEIGHTS)
    report = _report(data, model, recipe, Training.model_validate(params.get("training", {})), info, losses)
    (out / TRAINING_REPORT).write_text(json.dumps(report, indent=1))
    return seconds_before


def _first_attempt(recipe: Recipe, longest: int, device: str) -> "ResumeInfo":
    """The micro-batch to begin with; `longest` are the tokens of the longest text."""
    from benchmark.training.checkpoints import ResumeInfo

    micro_batch = first_micro_batch(recipe, longest, device)
    note = f"texts of up to {longest} tokens: micro-batch {micro_batch} on a CPU, effective batch {recipe.batch_size}"
    return ResumeInfo(micro_batch, notes=(note,) if micro_batch < (recipe.micro_batch or recipe.batch_size) else ())


def _with_smaller_micro_batch(
    info: "ResumeInfo", recipe: Recipe, spec: ModelSpec, device: str, error: Exception
) -> "ResumeInfo":
    """The next attempt when memory runs out. Raises UserError if the micro-batch is 1 already."""
    if info.micro_batch == 1:
        raise UserError(
            f"model {spec.model!r}: out of memory with one text at a time on {device}; "
            "use a smaller model, shorter texts or quantization"
        ) from error
    smaller = smaller_micro_batch(info.micro_batch, recipe.batch_size)
    note = f"out of memory: micro-batch lowered to {smaller}, effective batch kept at {recipe.batch_size}"
    return replace(info, micro_batch=smaller, notes=(*info.notes, note))


def _report(
    data: TrainingData, model: Any, recipe: Recipe, training: Training, info: "ResumeInfo", losses: Sequence[float]
) -> dict[str, Any]:
    """The content of training.json."""
    return {
        "steps": data.steps,
        "epochs": round(sum(number < data.texts for number in data.order) / data.texts, 4),
        "texts": data.texts,
        "tokens": sum(map(len, data.in_order())),
        "loss_tokens": data.loss_tokens(training),
        "rehearsal_tokens": sum(len(data.sequences[number]) for number in data.order if number >= data.texts),
        "micro_batch": info.micro_batch,
        "effective_batch": recipe.batch_size,
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "parameters": parameter_count(model),
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "notes": [*data.notes, *info.notes],
    }


def _save(model: Any, spec: ModelSpec, folder: Path) -> None:
    """Save in the library's own layout, without what differs between runs or machines.

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
