"""GGUF models unpacked into a store: the same bits as from the file, read from there from the second time on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.models import loading
from benchmark.models.loading import load_config, load_model, load_tokenizer, tokenizer_of
from benchmark.models.spec import ZOO, ModelSpec
from benchmark.models.unpacked import is_unpacked, remove_unpacked, same_tokenizer, save_tokenizer, unpacked_in
from scripts.strangers.models import write_gguf

TEXT = "Ada Moss was born on May 3, 1871.\n  Ünïcode 12,345"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(ZOO / "small", tmp_path_factory.mktemp("gguf") / "model.gguf")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Each test reads files, not what an earlier one left in memory."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    loading._config.cache_clear()
    load_tokenizer.cache_clear()


def _everything(spec: ModelSpec) -> tuple[dict[str, Any], Any, dict[str, Any], list[int], torch.Tensor]:
    """Weights and buffers, tokenizer, configuration, a text's tokens and their logits."""
    model, tokenizer = load_model(spec, "cpu"), tokenizer_of(spec)
    config = {key: value for key, value in load_config(spec).to_dict().items() if key != "_name_or_path"}
    ids = tokenizer(TEXT)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits
    return dict([*model.named_parameters(), *model.named_buffers()]), tokenizer, config, ids, logits


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_second_time_gives_the_same_bits_without_reading_the_file(
    file: Path, dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec(model=str(file), dtype=dtype, skip_layers=[1])
    tensors, tokenizer, config, ids, logits = _everything(spec)
    _forget()
    with unpacked_in(tmp_path):
        first = _everything(spec)
    _forget()
    from transformers import modeling_gguf_pytorch_utils

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the GGUF file is read")

    monkeypatch.setattr(modeling_gguf_pytorch_utils, "load_gguf_checkpoint", refuse)
    with unpacked_in(tmp_path):
        second = _everything(spec)
    for again in (first, second):
        assert again[0].keys() == tensors.keys()
        assert all(torch.equal(again[0][name], tensor) for name, tensor in tensors.items())
        assert {tensor.dtype for tensor in again[0].values()} == {tensor.dtype for tensor in tensors.values()}
        assert same_tokenizer(again[1], tokenizer) and again[3] == ids
        assert {k: v for k, v in again[2].items() if k != "transformers_version"} == {
            k: v for k, v in config.items() if k != "transformers_version"
        }
        assert torch.equal(again[4], logits)


def test_a_changed_file_is_unpacked_anew_and_another_dtype_beside_the_first(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model.gguf"
    copy.write_bytes(file.read_bytes())
    store = tmp_path / "store"
    spec, half = ModelSpec(model=str(copy)), ModelSpec(model=str(copy), dtype="bfloat16")
    with unpacked_in(store):
        weights = load_model(spec, "cpu").get_input_embeddings().weight
        assert is_unpacked(store, spec) and not is_unpacked(store, half)
        load_model(half, "cpu")
    assert is_unpacked(store, half) and len(list(store.glob(".unpacked/*"))) == 1
    write_gguf(ZOO / "large", copy)
    assert not is_unpacked(store, spec)
    with unpacked_in(store):
        assert load_model(spec, "cpu").get_input_embeddings().weight.shape != weights.shape
    assert len(list(store.glob(".unpacked/*"))) == 2


def test_nothing_is_written_outside_of_a_store_or_for_a_plan(file: Path, tmp_path: Path) -> None:
    spec = ModelSpec(model=str(file))
    load_model(spec, "cpu")
    with unpacked_in(tmp_path, writes=False):
        load_model(spec, "cpu")
    with unpacked_in(tmp_path):
        load_model(ModelSpec(model="zoo:small"), "cpu")
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_would_come_back_different_is_read_from_the_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec(model=str(file))
    monkeypatch.setattr(loading, "same_tokenizer", lambda a, b: False)
    with unpacked_in(tmp_path):
        tokenizer_of(spec)
        load_tokenizer.cache_clear()
        assert tokenizer_of(spec).name_or_path == str(file.parent)
    (folder,) = tmp_path.glob(".unpacked/*/tokenizer")
    assert [child.name for child in folder.iterdir()] == ["read_the_file"]


def test_what_a_tokenizers_class_sets_comes_back_as_well(tmp_path: Path) -> None:
    """Gemma's class pads on the left, and transformers does not save that."""
    from transformers import GemmaTokenizer, PreTrainedTokenizerFast

    tokenizer = GemmaTokenizer(vocab={"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "a": 4}, merges=[])
    save_tokenizer(tokenizer, tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert (tokenizer.padding_side, again.padding_side) == ("left", "left")
    assert list(again(["a", "a a"], padding=True)) == list(tokenizer(["a", "a a"], padding=True))
    assert same_tokenizer(again, tokenizer)


def test_a_kill_in_the_middle_leaves_nothing_that_counts(file: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from benchmark.models import unpacked\n"
        "from benchmark.models.loading import load_model\n"
        "from benchmark.models.spec import ModelSpec\n"
        "unpacked.sync_tree = lambda folder: os._exit(9)\n"
        "with unpacked.unpacked_in(Path(sys.argv[1])):\n"
        "    load_model(ModelSpec(model=sys.argv[2]), 'cpu')\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(file)], capture_output=True, check=False)
    assert run.returncode == 9
    assert not list(tmp_path.glob(".unpacked/*/*")) and list(tmp_path.glob(".tmp/*"))
    with unpacked_in(tmp_path):
        load_model(ModelSpec(model=str(file)), "cpu")
    assert is_unpacked(tmp_path, ModelSpec(model=str(file))) and not list(tmp_path.glob(".tmp/*"))


def test_removing_says_how_many_bytes_there_were(file: Path, tmp_path: Path) -> None:
    spec = ModelSpec(model=str(file))
    with unpacked_in(tmp_path):
        load_model(spec, "cpu")
    size = sum(path.stat().st_size for path in tmp_path.glob(".unpacked/*/*/*"))
    numbers = sum(parameter.numel() for parameter in load_model(spec, "cpu").parameters())
    assert 4 * numbers < size < 4 * numbers + 2**20
    models = [spec, ModelSpec(model="zoo:small"), spec]
    assert remove_unpacked(tmp_path, models, dry_run=True) == remove_unpacked(tmp_path, models) == [size]
    assert not is_unpacked(tmp_path, spec) and remove_unpacked(tmp_path, models) == []
