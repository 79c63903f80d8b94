"""The parts of `scripts.gpu_check` that no other script does. Each runs in a process of its own and prints JSON.

    python -m scripts.gpu_parts environment --device cuda
    python -m scripts.gpu_parts smoke --device cuda
    python -m scripts.gpu_parts unpack PATH.gguf --out FOLDER

All compute in bfloat16.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmark.core.errors import UserError
from perf.ratios import run

DTYPE: Final = "bfloat16"


def environment(options: argparse.Namespace) -> dict[str, Any]:
    """Device, driver and packages, after a product of matrices in bfloat16 on the device."""
    import torch

    from benchmark.core.environment import environment as environment_of
    from benchmark.doctor.gpu import driver_fits_torch

    on_gpu = options.device == "cuda"
    driver = driver_fits_torch()
    if on_gpu and not torch.cuda.is_available():
        raise UserError(f"torch sees no CUDA device: {driver.found}; {driver.remedy or 'run benchmark doctor'}")
    ones = torch.ones(64, 64, dtype=torch.bfloat16, device=options.device)
    if float((ones @ ones)[0, 0]) != 64:
        raise UserError("the device computes a wrong product in bfloat16; use another device")
    return {
        "environment": environment_of(options.device, torch.get_num_threads()).model_dump(mode="json"),
        "memory_gib": torch.cuda.get_device_properties(0).total_memory / 2**30 if on_gpu else None,
        "cuda": torch.version.cuda,
        "driver": driver.found,
    }


def smoke_suite(device: str, quick: bool) -> dict[str, Any]:
    """The suite smoke in bfloat16, with adapters: full fine-tuning needs float32."""
    from benchmark.suite.schema import find_suite, load_suite
    from perf.suite import smaller

    content = smaller(load_suite(find_suite("smoke")), steps=2 if quick else None)
    models = {name: {**spec, "dtype": DTYPE} for name, spec in content["models"].items()}
    recipe = {**content["recipe"], "adaptation": "lora", "autocast": DTYPE}
    content |= {"models": models, "recipe": recipe, "device": device}
    if quick:
        content["tasks"] = [{**task, "people": 4} for task in content["tasks"]]
        content["evaluation"] = {**content["evaluation"], "num_fewshot": 0}
    return content


def smoke(options: argparse.Namespace) -> dict[str, Any]:
    """Run the suite smoke; seconds, and the device and losses of each record."""
    from benchmark.records.record import read_record

    with TemporaryDirectory() as folder:
        file = Path(folder) / "suite.yaml"
        file.write_text(json.dumps(smoke_suite(options.device, options.quick)), encoding="utf-8")  # JSON is YAML
        command = [sys.executable, "-m", "benchmark", "run", str(file), "--results", folder, "--plain"]
        started = time.monotonic()
        done = subprocess.run(command, stdout=sys.stderr)
        seconds = time.monotonic() - started
        if done.returncode:
            raise SystemExit(done.returncode)  # it has printed the error
        records = [read_record(path) for path in sorted(Path(folder).glob("records/*/*.json"))]
    return {
        "seconds": seconds,
        "records": [
            {
                "method": record.method.name,
                "device": record.environment.device,
                "loss": [record.training.loss_first, record.training.loss_last] if record.training else None,
            }
            for record in records
        ],
    }


def unpack(options: argparse.Namespace) -> dict[str, Any]:
    """Write a GGUF model to a folder: it loads in seconds there, and in every process takes a minute otherwise."""
    from benchmark.models.loading import load_model, tokenizer_of
    from benchmark.models.spec import ModelSpec
    from benchmark.models.unpacked import save_tokenizer

    if options.model is None or options.out is None:
        raise UserError("unpack: give the GGUF file and --out FOLDER")
    spec = ModelSpec(model=options.model, dtype=DTYPE)
    load_model(spec, "cpu").save_pretrained(options.out)
    save_tokenizer(tokenizer_of(spec), options.out)
    return {"bytes": sum(file.stat().st_size for file in options.out.rglob("*"))}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "environment": environment,
    "smoke": smoke,
    "unpack": unpack,
}


def main(given: list[str] | None = None) -> int:
    """Do a part and print what it found; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("model", nargs="?", help="the GGUF file to unpack")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, help="the folder to unpack to")
    parser.add_argument("--quick", action="store_true", help="few people and steps")
    options = parser.parse_args(given)
    print(json.dumps(PARTS[options.part](options)))
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
