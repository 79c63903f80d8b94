"""The training loop: the Trainer of transformers on texts in a given order, with what a method changes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from benchmark.core.errors import UserError
from benchmark.methods.base import Training
from benchmark.training.checkpoints import Checkpoint, Checkpoints, Sealing
from benchmark.training.objective import InOrder, Readings, Weighted, in_columns
from benchmark.training.recipe import Recipe
from benchmark.training.rows import in_rows, keeps_rows_apart, padded

REMEDY = "lower recipe.learning_rate or train in float32"
PAD = 0  # never attended to by a text, never a label


class _Watch(TrainerCallback):
    """Tells of every step, and ends a training whose loss is no number."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self._progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress(state.global_step, state.max_steps)
        control.should_log |= state.global_step == state.max_steps

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not math.isfinite(logs.get("loss", 0.0)):
            raise UserError(f"training: the loss of step {state.global_step} is not a finite number; {REMEDY}")


def fit(
    model: Any,
    sequences: Sequence[list[int]] | Readings,
    steps: int,
    micro_batch: int,
    recipe: Recipe,
    params: Mapping[str, Any],
    checkpoints: Checkpoints,
    told: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> list[float]:
    """Train `model` in place on `sequences` in the order given; returns about a hundred losses from first to last.

    Goes on from the last of `checkpoints` where there is one, with the same weights in the end as if it had not.

    Args:
        model: On its device, its trainable weights marked.
        sequences: Token ids, or Readings where inputs are replaced or the loss is not the mean.
        steps: Optimizer steps, from the first.
        micro_batch: Texts of a forward pass; it divides the recipe's batch.
        recipe: How to train.
        params: Of the stage: device, seed, and what the method changes.
        checkpoints: Where to write them.
        told: What to seal with each; its "seconds" are those spent on the training before now.
        progress: Told after every step.

    Raises UserError as soon as a loss is not a finite number, or if a weight is none at the end.
    """
    training = Training.model_validate(params.get("training", {}))
    lay_out: Callable[..., dict[str, torch.Tensor]] = in_rows if keeps_rows_apart(model) else padded
    in_readings = isinstance(sequences, Readings)
    trainer = (InOrder if training.loss == "mean" else Weighted)(
        model=model,
        args=_arguments(steps, micro_batch, recipe, params, training, str(checkpoints.folder)),
        train_dataset=sequences,
        data_collator=lambda batch: in_columns(batch, PAD, lay_out) if in_readings else lay_out(batch, PAD),
        callbacks=[_Watch(progress), Sealing(checkpoints, told)],
    )
    if isinstance(trainer, Weighted) and training.loss == "selected":
        trainer.selected = training.selected
    trainer.remove_callback(PrinterCallback)
    last: Checkpoint | None = checkpoints.last()
    # peft makes what an adapter reads float32, as its weights are; autocast makes it bfloat16 again, to equal bits.
    with disable_input_dtype_casting(model, active=recipe.autocast == "bfloat16"):
        trainer.train(resume_from_checkpoint=str(last.folder) if last else None)
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters() if p.requires_grad):
        raise UserError(f"training: a weight is not a finite number after the last step; {REMEDY}")
    return [round(float(entry["loss"]), 6) for entry in trainer.state.log_history if "loss" in entry]


def _arguments(
    steps: int, micro_batch: int, recipe: Recipe, params: Mapping[str, Any], training: Training, folder: str
) -> TrainingArguments:
    on_cpu = params["device"] == "cpu"
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=recipe.batch_size // micro_batch,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(recipe.schedule, recipe.schedule),
        warmup_steps=math.ceil(recipe.warmup_ratio * steps),
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.autocast == "bfloat16",
        use_cpu=on_cpu,
        seed=params["seed"],
        logging_steps=max(1, steps // 100),
        logging_first_step=True,
        logging_nan_inf_filter=False,  # it would put the mean of the losses before in the place of one that is NaN
        save_strategy="no",  # Sealing asks for checkpoints by the clock
        report_to="none",
        log_level="error",  # of all of transformers, and it lasts beyond the training
        disable_tqdm=True,
        remove_unused_columns=False,
        neftune_noise_alpha=training.embedding_noise or None,
        dataloader_pin_memory=not on_cpu,
        optim="adamw_torch_fused",
    )
    _ = arguments.n_gpu  # set up by now; on a machine with several GPUs it would split every micro-batch over them
    arguments._n_gpu = min(arguments._n_gpu, 1)
    return arguments
