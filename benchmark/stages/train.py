"""Train stage: a model fine-tuned on a method's texts, by LoRA or in full, with the Trainer of transformers."""

import gc
import inspect
import json
import math
import random
from collections.abc import Callable, Sequence
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

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from benchmark.objective import Readings

WEIGHTS, CHECKPOINTS, REPORT = "model", "checkpoints", "training.json"
IGNORE = -100  # the label that the loss leaves out
_REMEDY = "lower recipe.learning_rate or train in float32"


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write the folder model/ (a peft adapter, or whole weights) and training.json from the input "texts".

    At those steps before the last that the parameter "checkpoints" lists, the weights go to checkpoints/<step>/, too.
    """
    import torch
    from transformers import set_seed

    from benchmark.objective import Readings, substitutes, token_values

    params = call.params
    training = Training.model_validate(params.get("training", {}))
    torch.set_num_threads(params["threads"])
    recipe = Recipe.model_validate(params["recipe"])
    spec = ModelSpec.model_validate(call.where["model"])
    tokenizer = tokenizer_of(spec)
    texts = read_augmented(inputs["texts"] / "augmented.jsonl")
    encoded = encode(texts, tokenizer, recipe, context_length(spec))
    long_enough = [number for number, ids in enumerate(encoded) if len(ids) > 1]  # one token alone predicts nothing
    if not long_enough:
        raise UserError("no training text has more than one token; there is nothing to learn from")
    sequences = [encoded[number] for number in long_enough]
    steps = steps_for(
        Budget.model_validate(params["budget"]), params["method"], texts, params["copies"], recipe.batch_size
    )
    order = data_order(len(sequences), steps * recipe.batch_size, params["seed"])

    micro_batch, notes = recipe.micro_batch or recipe.batch_size, []
    if len(sequences) < len(texts):
        notes.append(f"{len(texts) - len(sequences)} texts of a single token left out: they predict nothing")
    readings: Sequence[list[int]] | Readings = [sequences[i] for i in order]
    if training.replaced != (0, 0) or training.loss != "mean":
        others: list[int] = []
        values: list[list[float]] = []
        if training.replaced != (0, 0):
            others, note = substitutes(tokenizer, training.replacement, load_config(spec).get_text_config().vocab_size)
            notes += note
        if training.loss != "mean":
            values = token_values([texts[number] for number in long_enough], sequences, tokenizer, training)
        readings = Readings(sequences, values, order, training, others, params["seed"])
    wanted = {step for step in params.get("checkpoints", []) if step < steps}
    while True:
        set_seed(params["seed"])
        model = load_model(spec, params["device"])
        model = _trainable(model, recipe, spec)

        def step_done(done: int, total: int, model: Any = model) -> None:
            if done in wanted:
                _save(model, spec, out / CHECKPOINTS / str(done))
                model.config.use_cache = False
            progress(done, total)

        try:
            losses = fit(model, readings, steps, micro_batch, recipe, out / "trainer", params, step_done)
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if micro_batch == 1:
                raise UserError(
                    f"model {spec.model!r}: out of memory with one text at a time on {params['device']}; "
                    "use a smaller model, shorter texts or quantization"
                ) from error
        while micro_batch > 1 and recipe.batch_size % (micro_batch // 2):
            micro_batch -= 1
        micro_batch //= 2
        notes.append(
            f"out of memory: micro-batch lowered to {micro_batch}, effective batch kept at {recipe.batch_size}"
        )
        del model, step_done
        gc.collect()  # model, trainer and optimizer hold on to each other; before the next try they have to be gone
        torch.cuda.empty_cache()
    _save(model, spec, out / WEIGHTS)
    report = {
        "steps": steps,
        "epochs": round(steps * recipe.batch_size / len(sequences), 4),
        "texts": len(sequences),
        "tokens": sum(len(sequences[i]) for i in order),
        "micro_batch": micro_batch,
        "effective_batch": recipe.batch_size,
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "parameters": model.num_parameters() - _adapter_parameters(model),
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "notes": notes,
    }
    (out / REPORT).write_text(json.dumps(report, indent=1))


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
    for text, ids in zip(texts, tokenizer([text.text for text in texts])["input_ids"], strict=True):
        ids = ids if end and ids[-1:] == end else ids + end
        if limit is not None and len(ids) > limit:
            raise UserError(
                f"text {text.id!r} copy {text.copy}: {len(ids)} tokens, more than the model's context of {limit}; "
                "shorten it or set long_texts: split in the suite"
            )
        sequences.append(ids)
    return sequences


def in_rows(batch: Sequence[Sequence[int]], pad: int) -> "dict[str, torch.Tensor]":
    """Put several texts in one row where they fit, so that dropping tokens saves time.

    Rows are as long as the longest text. Positions start anew with every text, from which transformers' mask functions
    make attention stay within a text; the rest of a row is one more "text" whose labels are ignored.

    Returns int64 tensors `input_ids`, `position_ids` and `labels`, each of shape [rows, longest].
    """
    import torch

    longest = max(map(len, batch))
    rows: list[list[Sequence[int]]] = []
    room: list[int] = []
    for text in sorted(batch, key=len, reverse=True):
        place = next((i for i, free in enumerate(room) if free >= len(text)), None)
        if place is None:
            rows.append([])
            room.append(longest)
            place = len(rows) - 1
        rows[place].append(text)
        room[place] -= len(text)
    shape = (len(rows), longest)
    ids = torch.full(shape, pad, dtype=torch.long)
    labels = torch.full(shape, IGNORE, dtype=torch.long)
    positions = torch.zeros(shape, dtype=torch.long)
    for number, row in enumerate(rows):
        at = 0
        for text in row:
            end = at + len(text)
            ids[number, at:end] = torch.tensor(text)
            labels[number, at + 1 : end] = ids[number, at + 1 : end]
            positions[number, at:end] = torch.arange(len(text))
            at = end
        positions[number, at:] = torch.arange(longest - at)
    return {"input_ids": ids, "position_ids": positions, "labels": labels}


def padded(batch: Sequence[Sequence[int]], pad: int) -> "dict[str, torch.Tensor]":
    """One text a row, padded on the right: int64 `input_ids`, `attention_mask`, `labels`, all [texts, longest]."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    texts = [torch.tensor(text) for text in batch]
    masks = [torch.ones_like(text) for text in texts]
    labels = [torch.cat([torch.tensor([IGNORE]), text[1:]]) for text in texts]
    return {
        "input_ids": pad_sequence(texts, batch_first=True, padding_value=pad),
        "attention_mask": pad_sequence(masks, batch_first=True, padding_value=0),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORE),
    }


def fit(
    model: Any,
    sequences: "Sequence[list[int]] | Readings",
    steps: int,
    micro_batch: int,
    recipe: Recipe,
    scratch: Path,
    params: Any,
    progress: Progress,
) -> list[float]:
    """Train `model` in place on `sequences` in the order given; returns about a hundred losses from first to last.

    `sequences` are token ids, or `benchmark.objective.Readings` where inputs are replaced or the loss is not the mean.

    Raises UserError as soon as a loss is not a finite number, or if a weight is none at the end.
    """
    import shutil

    import torch
    from transformers import TrainerCallback, TrainingArguments

    from benchmark.objective import InOrder, Readings, Weighted, in_columns

    training = Training.model_validate(params.get("training", {}))

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress(state.global_step, steps)
            control.should_log |= state.global_step == steps

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not math.isfinite(logs.get("loss", 0.0)):
                raise UserError(f"training: the loss of step {state.global_step} is not a finite number; {_REMEDY}")

    on_cpu = params["device"] == "cpu"
    every = max(1, steps // 100)
    arguments = TrainingArguments(
        output_dir=str(scratch),
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
        logging_steps=every,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # it would put the mean of the losses before in the place of one that is NaN
        save_strategy="no",
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
    pad = 0  # never attended to by a text, never a label
    lay_out: Callable[..., dict[str, torch.Tensor]] = in_rows if _keeps_rows_apart(model) else padded
    in_readings = isinstance(sequences, Readings)
    trainer = (InOrder if training.loss == "mean" else Weighted)(
        model=model,
        args=arguments,
        train_dataset=sequences,
        data_collator=lambda batch: in_columns(batch, pad, lay_out) if in_readings else lay_out(batch, pad),
        callbacks=[Watch()],
    )
    if isinstance(trainer, Weighted) and training.loss == "selected":
        trainer.selected = training.selected
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.train()
    shutil.rmtree(scratch, ignore_errors=True)
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters() if p.requires_grad):
        raise UserError(f"training: a weight is not a finite number after the last step; {_REMEDY}")
    return [round(float(entry["loss"]), 6) for entry in trainer.state.log_history if "loss" in entry]


def _keeps_rows_apart(model: Any) -> bool:
    """Whether texts in one row do not see each other. Tried out, for some architectures carry a state along the row.

    A text must come out the same, to the last bit, whichever text stands before it.
    """
    import torch

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if "position_ids" not in inspect.signature(base.forward).parameters:
        return False
    was_training = base.training
    base.eval()
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]], device=base.device)
    with torch.no_grad():
        rows = (torch.tensor([[*before, 5, 3, 4]], device=base.device) for before in ((1, 1, 2), (4, 5, 3)))
        first, second = (base(input_ids=row, position_ids=positions).logits[:, 3:] for row in rows)
    base.train(was_training)
    return torch.equal(first, second)


def _trainable(model: "PreTrainedModel", recipe: Recipe, spec: ModelSpec) -> Any:
    """The model made ready: with a LoRA adapter on every linear layer but embedding and head, or all its weights."""
    model.config.use_cache = False
    if recipe.adaptation == "full":
        if spec.quantization or spec.dtype != "float32":
            raise UserError(
                f"model {spec.model!r}: full fine-tuning needs plain float32 weights; set recipe.adaptation: lora"
            )
        return model.train()
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if spec.quantization:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config).train()


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
