"""Time of training steps, compared with their unavoidable part, a plain loop, and the paper's released code.

    python -m perf.training zoo:large
    python -m perf.training PATH.gguf --biographies FOLDER --released CHECKOUT --alpha 0.6

The limit is a forward pass and a backward pass to the embeddings on the same rows, by the model without adapters: no
gradients of frozen weights, no optimizer.

The plain loop is what a user of transformers and peft writes: one padded text a row, by the collator of transformers;
the model's own loss, clipping, AdamW and a linear schedule. It takes the same texts in the same order, the same adapter
and autocast, and no cache of keys and values, so that it ends with the same weights. A second table has the ratios to
it.

The released code trains with gradient checkpointing and one text a row; here without its 8-bit weights, which need
CUDA, and in the same precision as ours.
"""

import argparse
import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from perf.inputs import biographies
from perf.ratios import Timed, arguments, run, show, timed, with_profile

TRAINING, LIMIT, PLAIN = "training", "forward and backward pass", "plain loop"


def main(given: list[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    parser = with_profile(with_training(arguments(str(__doc__), rounds=3)))
    parser.add_argument("--released", type=Path, help="checkout of the released code, to time as well")
    options = parser.parse_args(given)
    with TemporaryDirectory() as scratch:
        measured = _times(options, Path(scratch))
    to_plain = {way: measured.seconds[way] for way in (TRAINING, PLAIN)}
    show([measured, replace(measured, seconds=to_plain, to=PLAIN, profile="")], options)
    return 0


def with_training(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the options of `prepared` and `train`."""
    parser.add_argument("model", help="zoo:NAME, hub id, folder or .gguf file")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--autocast", choices=("none", "bfloat16"), default="none")
    parser.add_argument("--biographies", type=Path, help="folder with the paper's CSV files [default: shipped texts]")
    parser.add_argument("--alpha", type=float, help="also train on copies by random_dropout with this α")
    parser.add_argument("--steps", type=int, default=10, help="steps of a round")
    parser.add_argument("--batch", type=int, default=8, help="texts per step")
    return parser


class Prepared(NamedTuple):
    """A model without adapters, and the texts of a training: as they are, and as token ids in the order of the run."""

    base: Any
    tokenizer: Any
    texts: list[Any]
    sequences: list[list[int]]
    recipe: Any
    spec: Any


def prepared(options: argparse.Namespace) -> Prepared:
    """Load the model, and lay out the texts of a training."""
    import torch

    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.models.spec import ModelSpec
    from benchmark.training.data import encode
    from benchmark.training.order import data_order
    from benchmark.training.recipe import Recipe

    torch.set_num_threads(options.threads)
    spec = ModelSpec(model=options.model, dtype=options.dtype)
    recipe = Recipe(learning_rate=5e-4, batch_size=options.batch, autocast=options.autocast)
    base = load_model(spec, options.device)
    tokenizer = tokenizer_of(spec)
    texts = _texts(options)
    encoded = encode(texts, tokenizer, recipe, None)
    sequences = [encoded[n] for n in data_order(len(encoded), options.steps * options.batch, seed=1)]
    return Prepared(base, tokenizer, texts, sequences, recipe, spec)


def _times(options: argparse.Namespace, scratch: Path) -> Timed:
    from benchmark.training.adaptation import trainable

    base, tokenizer, texts, sequences, recipe, spec = prepared(options)
    tokens = sum(map(len, sequences))
    model = trainable(copy.deepcopy(base), recipe, spec)
    ways: dict[str, Callable[[], object]] = {
        TRAINING: lambda: train(model, sequences, recipe, options, scratch),
        LIMIT: _limit(copy.deepcopy(base), sequences, options),
        PLAIN: plain_loop(with_adapter(base, recipe), tokenizer, sequences, recipe),
    }
    if options.released:
        plain = [text.text for text in texts]
        ways["released code"] = lambda: _released(copy.deepcopy(base), tokenizer, plain, tokens, options, scratch)
    question = f"{options.steps} steps of {options.batch} texts"
    return timed(question, ways, LIMIT, options.rounds, (tokens, "tokens"), options.profile)


def _texts(options: argparse.Namespace) -> list[Any]:
    from benchmark.data.texts import AugmentedText
    from benchmark.methods import augment, make_method
    from benchmark.models.loading import tokenizer_of
    from benchmark.models.spec import ModelSpec
    from benchmark.scoring.encoding import unscored_tokens

    originals = biographies(options.biographies)
    if options.alpha is None:
        return [AugmentedText(text.id, 0, text.text) for text in originals]
    tokens = unscored_tokens(tokenizer_of(ModelSpec(model=options.model)), originals)
    return list(augment(make_method("random_dropout", {"alpha": options.alpha}), originals, tokens, 10, seed=1))


def train(model: Any, sequences: Any, recipe: Any, options: argparse.Namespace, scratch: Path) -> None:
    """Train a model, which has its adapter, for as many steps as the options say."""
    from benchmark.training.checkpoints import Checkpoints, ResumeInfo
    from benchmark.training.fit import fit

    params = {"device": options.device, "seed": 1}
    checkpoints = Checkpoints(scratch / "ours", {})
    fit(model, sequences, ResumeInfo(options.batch), recipe, params, checkpoints, lambda *steps: None)


def _limit(model: Any, sequences: Sequence[list[int]], options: argparse.Namespace) -> Callable[[], None]:
    import torch

    from benchmark.training.fit import PAD
    from benchmark.training.packing import pack

    model.config.use_cache = False
    model.requires_grad_(False)
    model.get_input_embeddings().register_forward_hook(lambda _, __, output: output.requires_grad_(True))
    starts = range(0, len(sequences), options.batch)
    batches = [pack(sequences[start : start + options.batch], PAD) for start in starts]
    low = options.autocast == "bfloat16"

    def run() -> None:
        for batch in batches:
            batch = {name: column.to(model.device) for name, column in batch.items()}
            with torch.autocast(options.device, torch.bfloat16, enabled=low):
                loss = model(**batch).loss
            loss.backward()

    return run


def with_adapter(base: Any, recipe: Any) -> Any:
    """A copy of a model with an adapter, as a user of peft adds it; with the seed of torch, that of our training."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM", r=recipe.lora_rank, lora_alpha=recipe.lora_alpha, target_modules="all-linear"
    )
    return get_peft_model(copy.deepcopy(base), config).train()


def plain_loop(model: Any, tokenizer: Any, sequences: Sequence[list[int]], recipe: Any) -> Callable[[], None]:
    """A loop over batches of padded texts that uses nothing of this project."""
    import torch
    from transformers import DataCollatorForSeq2Seq, get_linear_schedule_with_warmup

    if tokenizer.pad_token is None:
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.pad_token = tokenizer.eos_token
    model.config.use_cache = False
    features = [{"input_ids": ids, "labels": ids} for ids in sequences]
    starts = range(0, len(features), recipe.batch_size)
    batches = [features[start : start + recipe.batch_size] for start in starts]
    collate = DataCollatorForSeq2Seq(tokenizer)  # it pads labels with -100, and so leaves end tokens in the loss
    device, low = model.device, recipe.autocast == "bfloat16"
    warmup = math.ceil(recipe.warmup_ratio * len(batches))

    def run() -> None:
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        scheduler = get_linear_schedule_with_warmup(optimizer, warmup, len(batches))
        for texts in batches:
            batch = collate(texts).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, recipe.max_grad_norm)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()

    return run


def _released(
    model: Any, tokenizer: Any, texts: list[str], tokens: int, options: argparse.Namespace, scratch: Path
) -> float:
    """Seconds of the released script for `tokens` tokens, scaled from its time for the same number of steps."""
    from perf.released import train as train_as_released

    bf16 = options.autocast == "bfloat16"
    started = time.perf_counter()
    seconds, read = train_as_released(
        options.released, model, tokenizer, texts, options.steps, bf16, scratch / "released"
    )
    assert seconds <= time.perf_counter() - started
    return seconds * tokens / read


if __name__ == "__main__":
    raise SystemExit(run(main))
