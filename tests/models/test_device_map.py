"""Models whose layers lie on several devices give what they give on one, and nothing mixes tensors of two devices.

No second device is needed: `fake_devices` has two, where mixing is an error as it is between GPUs.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.core.errors import UserError
from benchmark.models.checks import check_spread
from benchmark.models.loading import load_model
from benchmark.models.spec import ZOO, ModelSpec
from benchmark.stages import evaluate

WAYS = ("received", "long", "received_strict", "released", "watched", "loss", "answers")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What `spread_model.py` says of every one of WAYS: how far off it is, or why it failed."""
    script = Path(__file__).with_name("spread_model.py")
    root = script.parents[2]
    done = subprocess.run([sys.executable, "-m", "tests.models.spread_model"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("way", WAYS)
def test_layers_on_two_devices_give_what_they_give_on_one(found: dict[str, Any], way: str) -> None:
    assert found[way] == pytest.approx(0, abs=1e-4), found[way]


def test_sums_of_attention_are_the_same_to_the_last_bit_wherever_layers_lie(found: dict[str, Any]) -> None:
    assert [found[way] for way in ("received", "long", "received_strict", "released", "watched")] == [0] * 5


def test_two_devices_cannot_be_mixed_in_this_test(found: dict[str, Any]) -> None:
    """Else the tests above could not fail."""
    assert "tensors on privateuseone:0, privateuseone:1" in found["mixed"]


def test_a_model_is_spread_by_accelerate_where_the_spec_says_so(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    asked: list[Any] = []

    def load(*_: Any, **options: Any) -> Any:
        asked.append(options.get("device_map"))
        raise OSError("far enough")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load)
    for spec in (ModelSpec(model=str(tiny), device_map="auto"), ModelSpec(model=str(tiny))):
        with pytest.raises(UserError, match="far enough"):
            load_model(spec, "cuda")
    assert asked == ["auto", {"": 0}]


def test_whole_weights_that_were_trained_are_spread_as_their_base_was(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ModelSpec] = []
    monkeypatch.setattr(evaluate, "load_model", lambda spec, device: loaded.append(spec))
    spec = ModelSpec(model="zoo:large", dtype="bfloat16", device_map="auto")
    evaluate.trained_model(spec, "cuda", ZOO / "small")
    assert (loaded[0].device_map, loaded[0].dtype) == ("auto", "bfloat16")


def test_a_model_spread_over_gpus_is_refused_on_a_cpu_in_one_line(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"device_map: auto: spreads a model over GPUs, and the device is cpu; leave"):
        load_model(ModelSpec(model=str(tiny), device_map="auto"), "cpu")


@pytest.mark.parametrize("place", ["cpu", "disk"])
def test_parts_that_accelerate_puts_beside_the_gpus_are_refused(place: str) -> None:
    spec = ModelSpec(model="zoo:large", device_map="auto")
    check_spread(spec, SimpleNamespace(hf_device_map={"model.layers.0": 0, "model.layers.1": torch.device("cuda", 1)}))
    with pytest.raises(UserError, match=r"no room for 1 of its parts, as model\.layers\.3; use more GPUs"):
        check_spread(spec, SimpleNamespace(hf_device_map={"model.layers.0": 0, "model.layers.3": place}))
