"""Run the functions of the paper's released code, from a checkout, on given models and texts.

The checkout (tsinghua-msiip/contrasting_attention, commit 283ad69) may not be shipped. Its scripts expect hydra's
configuration, CSV and pickle files, 8-bit weights on CUDA and an older transformers. The replacements here change
nothing that they compute.
"""

import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError

BATCH = 8  # texts per step, as in its config/train.yaml
# Arguments that TrainingArguments no longer has; none of them changes a step.
GONE = ("evaluation_strategy", "overwrite_output_dir", "group_by_length", "warmup_ratio")


def score(checkout: Path, model: Any, tokenizer: Any, texts: Sequence[str]) -> list[Any]:
    """The scores that save_attention.py computes: an array per text.

    The model has to use eager attention and return attentions, as the script requests when it loads one.
    """
    import torch

    scored: list[Any] = []
    module = _script(checkout, "save_attention")
    module.torch = _Torch(torch, model.device)
    module.pickle = types.SimpleNamespace(dump=lambda scores, file: scored.extend(scores))
    module.load_dataset = _dataset_of(texts)
    module.AutoModelForCausalLM = _giving(model)
    module.AutoTokenizer = _giving(tokenizer)
    module.tqdm = lambda rows: rows
    module.open = lambda *_: nullcontext()  # the replacement of pickle receives the scores
    module.main(types.SimpleNamespace(model="", dataset="", save_name=""))
    return scored


def train(
    checkout: Path, model: Any, tokenizer: Any, texts: Sequence[str], steps: int, bf16: bool, out: Path
) -> tuple[float, int]:
    """Train a model as train.py does, on a CPU without 8-bit weights; returns the seconds and tokens of its steps."""
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
            started = time.perf_counter()
            result = super().train(*given, **named)
            measured.append(time.perf_counter() - started)
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
    content["lr"] = float(content["lr"])  # this YAML library reads 5e-4 as text
    named = {key: _Settings(value) if isinstance(value, dict) else value for key, value in content.items()}
    return types.SimpleNamespace(**{**named, "model_dir": str(out)})


class _Settings(dict[str, Any]):
    """A part of the configuration whose entries are also attributes, as in omegaconf."""

    __getattr__ = dict.__getitem__


class _Torch:
    """torch, except that a tensor made by `torch.tensor` moves to the model's device instead of CUDA."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch, self._device = torch, device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)

    def tensor(self, data: Any) -> Any:
        made = self._torch.tensor(data)
        return types.SimpleNamespace(to=lambda _: made.to(self._device))


def _giving(thing: Any) -> Any:
    """A replacement for a class of transformers whose `from_pretrained` returns a given object."""
    return types.SimpleNamespace(from_pretrained=lambda *_, **__: thing)


def _dataset_of(texts: Sequence[str]) -> Callable[..., Any]:
    import datasets

    return lambda *_, **__: {"train": datasets.Dataset.from_dict({"text": list(texts)})}


def _script(checkout: Path, name: str) -> Any:
    """A script of the checkout as a module. Raises UserError if it is missing."""
    file = checkout / f"{name}.py"
    if not file.is_file():
        raise UserError(f"{file}: not found; give the folder of a checkout of the released code")
    module: Any = types.ModuleType(f"released_{name}")
    with _stand_ins(checkout):
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), module.__dict__)
    return module


@contextmanager
def _stand_ins(checkout: Path) -> Iterator[None]:
    """Replace hydra and omegaconf, and make the checkout's own modules importable, while the block lasts."""
    hydra, omegaconf = types.ModuleType("hydra"), types.ModuleType("omegaconf")
    hydra.main = lambda **_: lambda function: function  # type: ignore[attr-defined]
    omegaconf.DictConfig = dict  # type: ignore[attr-defined]
    omegaconf.OmegaConf = types.SimpleNamespace(to_object=dict)  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("hydra", "omegaconf", "utils")}
    sys.modules |= {"hydra": hydra, "omegaconf": omegaconf}
    sys.modules.pop("utils", None)
    sys.path.insert(0, str(checkout))
    try:
        yield
    finally:
        sys.path.remove(str(checkout))
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
