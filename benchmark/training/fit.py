"""The training loop: the Trainer of transformers on examples in a given order, with the changes a method asks for."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from benchmark.core.errors import UserError
from benchmark.methods.base import Training
from benchmark.training.checkpoints import Checkpoints, ResumeInfo, TimedCheckpoints
from benchmark.training.examples import Examples
from benchmark.training.objective import DistillationTrainer, SequentialTrainer, WeightedTrainer, collate
from benchmark.training.packing import pack, pad_rows, supports_packing
from benchmark.training.recipe import Recipe

REMEDY = "lower recipe.learning_rate, or set dtype: float32 for the model and recipe.autocast: none"
TRAINERS = {  # by `Training.loss`
    "mean": SequentialTrainer,
    "weighted": WeightedTrainer,
    "selected": WeightedTrainer,
    "distilled": DistillationTrainer,
}
PAD = 0  # no text attends to it, and it is never a label


class _Watch(TrainerCallback):
    """Reports every step, and ends a training whose loss is not a finite number."""

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
    examples: Sequence[list[int]] | Examples,
    info: ResumeInfo,
    recipe: Recipe,
    params: Mapping[str, Any],
    checkpoints: Checkpoints,
    progress: Callable[[int, int], None],
) -> list[float]:
    """Train `model` in place on the examples in their order, from the last checkpoint where there is one.

    A training that resumes ends with the same weights as one that was never interrupted.

    Args:
        model: On its device, its trainable weights marked.
        examples: Token ids of each text; or Examples, where inputs are replaced or the loss is not the mean. Their
            number is that of the optimizer steps times the recipe's batch.
        info: The micro-batch, which divides the recipe's batch, and what else is sealed with each checkpoint.
        recipe: How to train.
        params: Parameters of the stage: device, seed, and what the method changes in training.
        checkpoints: Where checkpoints lie.
        progress: Called with the steps done and the steps in all after every step.

    Returns:
        The logged losses from the first step to the last, about 200 at most.

    Raises:
        UserError: As soon as a loss is not a finite number, or if a weight is not at the end.
    """
    training = Training.model_validate(params.get("training", {}))
    arrange: Callable[..., dict[str, torch.Tensor]] = pack if supports_packing(model) else pad_rows
    with_columns = isinstance(examples, Examples)
    trainer = TRAINERS[training.loss](
        model=model,
        args=_arguments(len(examples) // recipe.batch_size, info.micro_batch, recipe, params, str(checkpoints.folder)),
        train_dataset=examples,
        data_collator=lambda batch: collate(batch, PAD, arrange) if with_columns else arrange(batch, PAD),
        callbacks=[_Watch(progress), TimedCheckpoints(checkpoints, info)],
    )
    if isinstance(trainer, WeightedTrainer) and training.loss == "selected":
        trainer.selected = training.selected
    trainer.remove_callback(PrinterCallback)
    last = checkpoints.last()
    # peft casts the inputs of an adapter to float32, as its weights are; autocast then makes them bfloat16 again, with
    # equal bits.
    with disable_input_dtype_casting(model, active=recipe.autocast == "bfloat16"):
        trainer.train(resume_from_checkpoint=str(last.folder) if last else None)
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters() if p.requires_grad):
        raise UserError(f"training: a weight is not a finite number after the last step; {REMEDY}")
    return [round(float(entry["loss"]), 6) for entry in trainer.state.log_history if "loss" in entry]


def _arguments(
    steps: int, micro_batch: int, recipe: Recipe, params: Mapping[str, Any], folder: str
) -> TrainingArguments:
    on_cpu = params["device"] == "cpu"
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=recipe.batch_size // micro_batch,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(recipe.schedule, recipe.schedule),
        warmup_steps=min(math.ceil(recipe.warmup_ratio * steps), steps - 1),  # the rate of the first is 0
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.autocast == "bfloat16",
        use_cpu=on_cpu,
        seed=params["seed"],
        logging_steps=max(1, steps // 100),
        logging_first_step=True,
        logging_nan_inf_filter=False,  # would replace a loss that is NaN by the mean of those before
        save_strategy="no",  # TimedCheckpoints asks for checkpoints
        report_to="none",
        log_level="error",  # for all of transformers, and beyond the training
        disable_tqdm=True,
        remove_unused_columns=False,
        neftune_noise_alpha=Training.model_validate(params.get("training", {})).embedding_noise or None,
        dataloader_pin_memory=not on_cpu,
        optim="adamw_torch_fused",
    )
    _ = arguments.n_gpu  # counts the GPUs now; with several, the Trainer would split every micro-batch over them
    arguments._n_gpu = min(arguments._n_gpu, 1)
    return arguments
