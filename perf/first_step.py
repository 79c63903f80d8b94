"""Time to the first training step of a GGUF model, and memory: from the file, unpacked for the first time, and again.

    python -m perf.first_step PATH.gguf [PATH.gguf ...]

Each row is a process of its own: it loads tokenizer and model and trains one step of LoRA on eight texts. The rows of a
model must agree in the bits of all weights and of the loss.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tabulate import tabulate

from perf.inputs import biographies


def main(given: list[str] | None = None) -> int:
    """Measure and print; returns the exit code, 1 if bits differ."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("models", nargs="+", type=Path, help=".gguf files")
    parser.add_argument("--biographies", type=Path, help="folder with the paper's CSV files [default: shipped texts]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.child is not None:
        print(json.dumps(_measure(options)))
        return 0
    rows = []
    for model in options.models:
        with TemporaryDirectory() as store:
            for way, place in (("from the file", ""), ("unpacked now", store), ("unpacked before", store)):
                rows.append({"model": model.name, "weights": way, **_child(model, place, options)})
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        shown = ("model", "weights", "loaded_s", "first_step_s", "peak_gib", "bits")
        print(tabulate([[row[name] for name in shown] for row in rows], headers=shown, floatfmt=".1f"))
    bits = {row["model"]: {other["bits"] for other in rows if other["model"] == row["model"]} for row in rows}
    return 0 if all(len(different) == 1 for different in bits.values()) else 1


def _child(model: Path, store: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "perf.first_step", str(model), "--child", store, "--threads", str(options.threads)]
    command += ["--biographies", str(options.biographies)] if options.biographies else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from benchmark.models.unpacked import unpacked_in

    started = time.monotonic()
    torch.set_num_threads(options.threads)
    with unpacked_in(Path(options.child)) if options.child else nullcontext():
        return _step(options, started)


def _step(options: argparse.Namespace, started: float) -> dict[str, Any]:
    import torch

    from benchmark.data.texts import AugmentedText
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.models.spec import ModelSpec
    from benchmark.training.adaptation import trainable
    from benchmark.training.data import encode
    from benchmark.training.recipe import Recipe

    spec, recipe = ModelSpec(model=str(options.models[0])), Recipe()
    tokenizer, model = tokenizer_of(spec), load_model(spec, "cpu")
    loaded = time.monotonic() - started
    digest = hashlib.sha256()
    hashing = time.monotonic()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    hashing = time.monotonic() - hashing  # no part of a run
    texts = [AugmentedText(text.id, 0, text.text) for text in biographies(options.biographies)[:8]]
    ids = encode(texts, tokenizer, recipe, None)
    length = max(map(len, ids))
    torch.manual_seed(1)
    trained = trainable(model, recipe, spec).train()
    batch = torch.tensor([row + [tokenizer.eos_token_id] * (length - len(row)) for row in ids])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids])
    labels = batch.masked_fill(mask == 0, -100)
    optimizer = torch.optim.AdamW([p for p in trained.parameters() if p.requires_grad], lr=recipe.learning_rate)
    loss = trained(input_ids=batch, attention_mask=mask, labels=labels).loss
    loss.backward()
    optimizer.step()
    digest.update(loss.detach().numpy().tobytes())
    return {
        "loaded_s": round(loaded, 1),
        "first_step_s": round(time.monotonic() - started - hashing, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "bits": digest.hexdigest()[:12],
    }


if __name__ == "__main__":
    raise SystemExit(main())
