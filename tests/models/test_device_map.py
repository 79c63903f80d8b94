"""A model spread over devices computes what it computes on a single device, and never mixes tensors of two devices.

The devices are simulated by `fake_devices`, where mixing tensors is an error as it is between GPUs.
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
from benchmark.models import loading
from benchmark.models.loading import load_model, load_trained
from benchmark.models.spec import ZOO, ModelSpec
from benchmark.models.static_checks import check_spread

COMPUTATIONS = ("received", "long", "received_strict", "released", "watched", "loss", "answers")


@pytest.fixture(scope="module")
def differences() -> dict[str, Any]:
    """The output of `spread_model.py`: for each of COMPUTATIONS, the largest difference, or why it failed."""
    script = Path(__file__).with_name("spread_model.py")
    root = script.parents[2]
    done = subprocess.run([sys.executable, "-m", "tests.models.spread_model"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_layers_on_two_devices_compute_what_they_compute_on_one(differences: dict[str, Any], name: str) -> None:
    assert differences[name] == pytest.approx(0, abs=1e-4), differences[name]


def test_attention_scores_are_bit_identical_on_one_and_on_two_devices(differences: dict[str, Any]) -> None:
    names = ("received", "long", "received_strict", "released", "watched")
    assert [differences[name] for name in names] == [0] * 5


def test_mixing_tensors_of_two_simulated_devices_is_an_error(differences: dict[str, Any]) -> None:
    """Without this error, the tests above could not fail."""
    assert "tensors on privateuseone:0, privateuseone:1" in differences["mixed"]


def test_accelerate_spreads_a_model_if_the_spec_says_device_map_auto(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    device_maps: list[Any] = []

    def load(*_: Any, **options: Any) -> Any:
        device_maps.append(options.get("device_map"))
        raise OSError("far enough")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load)
    for spec in (ModelSpec(model=str(tiny), device_map="auto"), ModelSpec(model=str(tiny))):
        with pytest.raises(UserError, match="far enough"):
            load_model(spec, "cuda")
    assert device_maps == ["auto", {"": 0}]


def test_fully_trained_weights_are_spread_like_their_base_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[ModelSpec] = []
    monkeypatch.setattr(loading, "load_model", lambda spec, device: loaded.append(spec))
    spec = ModelSpec(model="zoo:large", dtype="bfloat16", device_map="auto")
    load_trained(spec, "cuda", ZOO / "small")
    assert (loaded[0].device_map, loaded[0].dtype) == ("auto", "bfloat16")


def test_device_map_is_refused_on_a_cpu(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"device_map: auto: spreads a model over GPUs, and the device is cpu; leave"):
        load_model(ModelSpec(model=str(tiny), device_map="auto"), "cpu")


@pytest.mark.parametrize("device", ["cpu", "disk"])
def test_a_model_with_parts_outside_the_gpus_is_refused(device: str) -> None:
    spec = ModelSpec(model="zoo:large", device_map="auto")
    check_spread(spec, SimpleNamespace(hf_device_map={"model.layers.0": 0, "model.layers.1": torch.device("cuda", 1)}))
    with pytest.raises(
        UserError, match=r"1 of its parts do not fit on the GPUs, for example model\.layers\.3; use more GPUs"
    ):
        check_spread(spec, SimpleNamespace(hf_device_map={"model.layers.0": 0, "model.layers.3": device}))
