"""Hostile models: each is loaded as it was saved, or refused in one line, and its code does not run unasked."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.core.errors import UserError
from benchmark.models.gguf import read_header
from benchmark.models.loading import context_length, load_config, load_model, load_tokenizer, tokenizer_of
from benchmark.models.spec import ModelSpec
from tests.hostile import refusal, spoilt


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def refused(folder: Path, *loads: Callable[[ModelSpec], object], **options: Any) -> str:
    """Check that each of `loads` refuses the model; returns the message of the last."""
    spec, line = ModelSpec(model=str(folder), **options), ""
    for load in loads:
        line = refusal(lambda load=load: load(spec), str(folder))  # type: ignore[misc]
        assert line
    return line


def load(spec: ModelSpec) -> object:
    return load_model(spec, "cpu")


# --- code and pickles


class Trap:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, (str(self.mark),))


@pytest.fixture
def own_code(folder: Path, tmp_path: Path) -> Path:
    """Give configuration, model and tokenizer code of their own; returns the folder that it creates if it runs."""
    mark = tmp_path / "mark"
    (folder / "own.py").write_text(
        f"import os\nos.makedirs({str(mark)!r}, exist_ok=True)\n"
        "from transformers import LlamaConfig, LlamaForCausalLM as OwnModel, PreTrainedTokenizerFast\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "OwnModel = type('OwnModel', (OwnModel,), {'config_class': OwnConfig, '__module__': __name__})\n"
        "class OwnTokenizer(PreTrainedTokenizerFast):\n    pass\n"
    )
    names = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    change(folder / "config.json", model_type="own", auto_map=names)
    tokenizer = {"AutoTokenizer": [None, "own.OwnTokenizer"]}
    change(folder / "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map=tokenizer)
    return mark


def test_code_of_a_model_and_its_tokenizer_runs_only_with_trust_remote_code(folder: Path, own_code: Path) -> None:
    load_tokenizer.cache_clear()
    refused(folder, load, load_config, context_length, tokenizer_of)
    assert not own_code.exists()
    assert type(load_config(ModelSpec(model=str(folder), trust_remote_code=True))).__name__ == "OwnConfig"
    assert own_code.exists()


def test_code_of_another_repository_is_neither_downloaded_nor_run(folder: Path, own_code: Path) -> None:
    names = {"AutoConfig": "some/body--own.OwnConfig", "AutoModelForCausalLM": "some/body--own.OwnModel"}
    change(folder / "config.json", auto_map=names)
    refused(folder, load, load_config)
    change(folder / "config.json", auto_map={name: f"..{'/..' * 3}/own.{name}" for name in names})
    refused(folder, load, load_config)
    assert not own_code.exists()


def test_a_pickle_is_opened_neither_as_weights_nor_beside_weights(folder: Path, tmp_path: Path) -> None:
    names = ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "model.pt", "consolidated.00.pth")
    for name in names:
        (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "mark")))
    load(ModelSpec(model=str(folder)))
    (folder / "model.safetensors").unlink()
    assert "pickled weights are not read" in refused(folder, lambda spec: spec.fingerprint())
    refused(folder, load)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap(tmp_path / "mark")))
    refused(folder, load)
    assert not (tmp_path / "mark").exists()


def test_a_pickle_is_not_opened_as_an_adapter(folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    untyped: Any = load(ModelSpec(model=str(folder)))
    adapter = tmp_path / "adapter"
    get_peft_model(untyped, LoraConfig(r=2, target_modules="all-linear")).save_pretrained(str(adapter))
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "mark")))
    load(ModelSpec(model=str(folder), adapter=str(adapter)))
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    for content in (b"", weights[:-9], b"\xff" * 200, pickle.dumps(Trap(tmp_path / "mark"))):
        (adapter / "adapter_model.safetensors").write_bytes(content)
        assert refusal(lambda: load(ModelSpec(model=str(folder), adapter=str(adapter))), str(adapter))
    (adapter / "adapter_model.safetensors").unlink()
    assert refusal(lambda: load(ModelSpec(model=str(folder), adapter=str(adapter))), str(adapter))
    assert not (tmp_path / "mark").exists()


# --- configurations and weights


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", -1),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", 10**9),
        ("num_hidden_layers", "many"),
        ("vocab_size", -1),
        ("vocab_size", 0),
        ("vocab_size", 10**7),
        ("vocab_size", 10**30),
        ("hidden_size", -32),
        ("hidden_size", 10**6),
        ("intermediate_size", 10**12),
        ("num_attention_heads", 0),
        ("num_attention_heads", 10**9),
        ("head_dim", 10**9),
        ("max_position_embeddings", -5),
        ("max_position_embeddings", float("inf")),
        ("model_type", "../own"),
        ("model_type", None),
        ("rope_parameters", {"rope_type": "none such"}),
        ("dtype", "system"),
    ],
)
def test_a_configuration_with_absurd_values_is_refused_in_one_line(folder: Path, field: str, value: object) -> None:
    change(folder / "config.json", **{field: value})
    refused(folder, load)


def test_a_layer_that_the_weights_lack_is_refused_and_not_made_up(folder: Path) -> None:
    change(folder / "config.json", num_hidden_layers=3)
    assert "its weight files lack" in refused(folder, load)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{", b"[" * 100_000, b"\xff", b'{"a": ' + b"9" * 5_000 + b"}"]
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_file_with_arbitrary_bytes_is_refused_in_one_line(folder: Path, name: str, content: bytes) -> None:
    load_tokenizer.cache_clear()
    (folder / name).write_bytes(content)
    refused(folder, load if name == "config.json" else tokenizer_of)


def _header(content: object) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


def _tensor(**changes: Any) -> dict[str, Any]:
    return {"model.norm.weight": {"dtype": "F32", "shape": [32], "data_offsets": [0, 128], **changes}}


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        _header(b"[" * 100_000),
        _header(_tensor()) + b"x" * 8,
        _header(_tensor(data_offsets=[0, 2**63])) + b"x" * 128,
        _header(_tensor(data_offsets=[128, 0])) + b"x" * 128,
        _header(_tensor(shape=[2**40, 2**40])) + b"x" * 128,
        _header(_tensor(shape=[-32])) + b"x" * 128,
        _header(_tensor(dtype="pickle")) + b"x" * 128,
        _header({**_tensor(), "other": _tensor()["model.norm.weight"]}) + b"x" * 128,
    ],
)
def test_weights_with_a_false_header_are_refused_in_one_line(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, load)


# --- GGUF


def _gguf(path: Path) -> bytes:
    """The bytes of a small file that gguf's own writer made."""
    import numpy as np
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_token_list(["a", "b", "ü"])
    writer.add_array("some.numbers", [1, 2, 3])
    writer.add_bool("some.truth", True)
    writer.add_tensor("token_embd.weight", np.zeros((3, 4), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_a_whole_gguf_header_is_read_and_every_cut_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    content = _gguf(path)
    read_header(path)
    end = content.index(b"token_embd.weight") + len("token_embd.weight") + 4 + 2 * 8 + 12
    for length in range(end):
        path.write_bytes(content[:length])
        assert refusal(lambda: read_header(path), str(path))


ARRAY_OF_BYTES = struct.pack("<IIQ", 9, 0, 2**60)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<IQQ", 3, 2**60, 0),
        struct.pack("<IQQ", 3, 0, 2**60) + b"\0" * 100,
        struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62) + b"key",
        struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 3) + b"key" + ARRAY_OF_BYTES,
        struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 3) + b"key" + struct.pack("<IIQ", 9, 9, 1) * 50 + b"\0" * 900,
        struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 3) + b"key" + struct.pack("<IIQ", 9, 8, 2**58) + b"\0" * 900,
        struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 3) + b"key" + struct.pack("<I", 77) + b"\0" * 900,
        struct.pack("<IQQ", 3, 0, 1)
        + struct.pack("<Q", 17)
        + b"llama.block_count"
        + struct.pack("<II", 4, 10**9)
        + b"\0" * 99,
        struct.pack("<IQQ", 3, 1, 0) + struct.pack("<QII", 0, 2**31, 0) + b"\0" * 900,
        struct.pack("<IQQ", 3, 1, 0) + struct.pack("<QIQQ", 0, 2, 2**40, 2**20) + b"\0" * 900,
    ],
)
def test_a_gguf_header_that_counts_more_than_the_file_can_hold_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + content)
    refused(path, load, load_config, tokenizer_of)


@given(data=st.data())
def test_a_damaged_gguf_file_is_read_or_refused_in_one_line(tmp_path_factory: Any, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    content = data.draw(spoilt(_gguf(path)) | st.binary(max_size=200).map(lambda some: b"GGUF" + some))
    path.write_bytes(content)
    refusal(lambda: read_header(path), str(path))


# --- names


@pytest.mark.parametrize("revision", ["../../etc", "/etc", "a/../../b", "a\\..\\b", "x\n", "\0", "", "n" * 300])
def test_a_revision_cannot_lead_to_another_folder_of_the_cache(revision: str) -> None:
    for field in ("revision", "adapter_revision"):
        with pytest.raises(ValueError, match=field):
            ModelSpec.model_validate({"model": "some/body", field: revision})
    assert ModelSpec(model="some/body", revision="refs/pr/1").revision == "refs/pr/1"


def test_a_revision_cannot_bring_the_content_of_a_file_into_a_suite(tmp_path: Path) -> None:
    from benchmark.suite.retention import make_entry

    (tmp_path / "secret").write_text("hf_sentinel")
    with pytest.raises(ValueError, match="expected a commit, branch or tag"):
        make_entry({"name": "x", "dataset": "some/body", "revision": f"../../../../..{tmp_path}/secret"})


@pytest.mark.parametrize(
    "model", ["/etc/passwd", "/dev/zero", "a/../../b", "\0", "n" * 5_000, "C:\\models", "a\nb/c", "."]
)
def test_a_hostile_model_name_is_refused_in_one_line(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refusal(lambda: ModelSpec(model=model).fingerprint(), "model ")
    assert refusal(lambda: ModelSpec(model="zoo:small", adapter=model).fingerprint(), "adapter ")


def test_a_pipe_among_the_files_of_a_model_is_refused_without_waiting(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    assert "is a pipe or a device" in refused(folder, lambda spec: spec.fingerprint())


def test_a_loaded_model_is_the_one_that_was_saved(folder: Path) -> None:
    from safetensors.torch import load_file

    model: Any = load(ModelSpec(model=str(folder)))
    saved = load_file(folder / "model.safetensors")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in saved.items())
    with pytest.raises(UserError, match="neither a path that exists nor a hub id"):
        ModelSpec(model="a b/c d").fingerprint()
