"""The paper's released code as a peer: its own functions, from a checkout of it, on a model and texts of ours.

The checkout (tsinghua-msiip/contrasting_attention, commit 283ad69) is not ours to ship. Its scripts expect hydra's
configuration, CSV and pickle files, 8-bit weights on CUDA and an older transformers; what stands in for these here
changes nothing of what they compute.
"""

import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError

BATCH = 8  # texts of a step, as in its config/train.yaml
# What TrainingArguments no longer takes; none of it changes a step.
GONE = ("evaluation_strategy", "overwrite_output_dir", "group_by_length", "warmup_ratio")


def score(checkout: Path, model: Any, tokenizer: Any, texts: Sequence[str]) -> list[Any]:
    """What save_attention.py computes of texts: one array of scores per text.

    The model has to use eager attention and to give out attentions, as the script asks for when it loads one.
    """
    import torch

    found: list[Any] = []
    module = _script(checkout, "save_attention")
    module.torch = _Torch(torch, model.device)
    module.pickle = types.SimpleNamespace(dump=lambda scores, file: found.extend(scores))
    module.load_dataset = _dataset_of(texts)
    module.AutoModelForCausalLM = _giving(model)
    module.AutoTokenizer = _giving(tokenizer)
    module.tqdm = lambda rows: rows
    module.open = lambda *_: nullcontext()  # the scores go to the stand-in for pickle
    module.main(types.SimpleNamespace(model="", dataset="", save_name=""))
    return found


def train(
    checkout: Path, model: Any, tokenizer: Any, texts: Sequence[str], steps: int, bf16: bool, out: Path
) -> tuple[float, int]:
    """Train a model as train.py does, on a CPU without its 8-bit weights; returns seconds of the steps and tokens."""
    import time

    import datasets
    import transformers

    measured: list[float] = []
    read = [0]
    module = _script(checkout, "train")

    class Arguments(transformers.TrainingArguments):
        def __init__(self, **given: Any) -> None:
            kept = {name: value for name, value in given.items() if name not in GONE}
            changed = {"bf16": bf16, "use_cpu": model.device.type == "cpu", "report_to": "none", "save_strategy": "no"}
            changed |= {"max_steps": steps, "disable_tqdm": True, "log_level": "error"}
            super().__init__(**{**kept, **changed, "warmup_steps": round(given["warmup_ratio"] * steps)})

    class Trainer(transformers.Trainer):
        def train(self, *given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = super().train(*given, **named)
            measured.append(time.perf_counter() - began)
            return result

        def training_step(self, model: Any, inputs: Any, *rest: Any) -> Any:
            read[0] += int(inputs["attention_mask"].sum())
            return super().training_step(model, inputs, *rest)

    module.transformers = types.SimpleNamespace(
        TrainingArguments=Arguments, DataCollatorForLanguageModeling=transformers.DataCollatorForLanguageModeling
    )
    module.Trainer = Trainer
    module.load_dataset = _dataset_of(texts)
    module.AutoModelForCausalLM = _giving(model)
    module.AutoTokenizer = _giving(tokenizer)
    module.BitsAndBytesConfig = lambda **_: None
    datasets.disable_progress_bars()
    module.main(_configuration(checkout, out))
    return measured[0], read[0]


def _configuration(checkout: Path, out: Path) -> Any:
    import yaml

    content = yaml.safe_load((checkout / "config/train.yaml").read_text())
    content["lr"] = float(content["lr"])  # 5e-4 is text by the YAML that this library reads
    named = {key: _Settings(value) if isinstance(value, dict) else value for key, value in content.items()}
    return types.SimpleNamespace(**{**named, "model_dir": str(out)})


class _Settings(dict[str, Any]):
    """A part of the configuration: a mapping whose entries are attributes too, as omegaconf has it."""

    __getattr__ = dict.__getitem__


class _Torch:
    """torch, but for the device that a tensor made by `torch.tensor` goes to when told to go to CUDA."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch, self._device = torch, device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)

    def tensor(self, data: Any) -> Any:
        made = self._torch.tensor(data)
        return types.SimpleNamespace(to=lambda _: made.to(self._device))


def _giving(thing: Any) -> Any:
    """A class of transformers whose `from_pretrained` gives what is there already."""
    return types.SimpleNamespace(from_pretrained=lambda *_, **__: thing)


def _dataset_of(texts: Sequence[str]) -> Callable[..., Any]:
    import datasets

    return lambda *_, **__: {"train": datasets.Dataset.from_dict({"text": list(texts)})}


def _script(checkout: Path, name: str) -> Any:
    """A script of the checkout as a module. Raises UserError if it is not there."""
    file = checkout / f"{name}.py"
    if not file.is_file():
        raise UserError(f"{file}: not there; give the folder of a checkout of the released code")
    module: Any = types.ModuleType(f"released_{name}")
    with _stand_ins(checkout):
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), module.__dict__)
    return module


@contextmanager
def _stand_ins(checkout: Path) -> Iterator[None]:
    """Hydra and omegaconf, which this project has no use for, and the checkout's own modules."""
    hydra, omegaconf = types.ModuleType("hydra"), types.ModuleType("omegaconf")
    hydra.main = lambda **_: lambda function: function  # type: ignore[attr-defined]
    omegaconf.DictConfig = dict  # type: ignore[attr-defined]
    omegaconf.OmegaConf = types.SimpleNamespace(to_object=dict)  # type: ignore[attr-defined]
    there = {name: sys.modules.get(name) for name in ("hydra", "omegaconf", "utils")}
    sys.modules |= {"hydra": hydra, "omegaconf": omegaconf}
    sys.modules.pop("utils", None)
    sys.path.insert(0, str(checkout))
    try:
        yield
    finally:
        sys.path.remove(str(checkout))
        for name, module in there.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
