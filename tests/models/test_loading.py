"""Loading models, tokenizers and configurations from a folder: on tiny random models."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    ByT5Tokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from benchmark.core.errors import UserError
from benchmark.models.adapters import with_adapter
from benchmark.models.loading import (
    context_length,
    load_config,
    load_model,
    load_tokenizer,
    tokenizer_of,
)
from benchmark.models.spec import ModelSpec

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
LAYERS = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]


def _llama(layers: int = 4) -> Any:
    return LlamaForCausalLM(LlamaConfig(**SIZES | {"num_hidden_layers": layers}))


def _gemma(layers: int = 4, kinds: list[str] | None = None) -> Any:
    sizes = SIZES | {"num_hidden_layers": layers, "head_dim": 8}
    return Gemma3ForCausalLM(Gemma3TextConfig(**sizes, layer_types=kinds or LAYERS, sliding_window=4))


@pytest.fixture(scope="session")
def _saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(1)
    _llama().save_pretrained(folder)
    byte_level = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=byte_level).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(_saved: Path, tmp_path: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(_saved, tmp_path / "model"))


def _spec(folder: Path, **options: Any) -> ModelSpec:
    return ModelSpec(model=str(folder), **options)


def _refusal(load: Callable[[], object]) -> str:
    """The message with which `load` refuses a model: a single short line."""
    with pytest.raises(UserError) as error:
        load()
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


def test_a_folder_gives_the_model_that_was_saved_in_it(folder: Path) -> None:
    model = load_model(_spec(folder), "cpu")
    saved = LlamaForCausalLM.from_pretrained(folder)
    ids = torch.tensor([[5, 9, 2, 7]])
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model(ids).logits, saved.eval()(ids).logits)
    assert {p.dtype for p in load_model(_spec(folder, dtype="bfloat16"), "cpu").parameters()} == {torch.bfloat16}


def test_two_loads_share_no_weights(folder: Path) -> None:
    first, second = load_model(_spec(folder), "cpu"), load_model(_spec(folder), "cpu")
    with torch.no_grad():
        first.lm_head.weight.zero_()
    assert second.lm_head.weight.abs().sum() > 0


def test_the_context_length_comes_from_the_configuration(folder: Path) -> None:
    assert context_length(_spec(folder)) == 64
    assert context_length(_spec(folder, skip_layers=[0])) == 64
    assert load_config(_spec(folder, skip_layers=[0])).num_hidden_layers == 4


def _gpt2(layers: int = 4) -> Any:
    """A model whose list of layers has the name "h"."""
    sizes: dict[str, Any] = {"n_embd": 16, "n_head": 2, "n_positions": 64}
    return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_layer=layers, bos_token_id=1, eos_token_id=1, **sizes))


@pytest.mark.parametrize(
    ("make", "skip"),
    [(_llama, [1, 3]), (_llama, [0]), (_gemma, [0]), (_gemma, [3, 1, 1]), (_gpt2, [1, 2])],
)
def test_removing_layers_gives_the_model_built_without_them(
    folder: Path, make: Callable[..., Any], skip: list[int]
) -> None:
    torch.manual_seed(2)
    whole = make()
    whole.save_pretrained(folder)
    kept = [number for number in range(4) if number not in skip]
    naive = make(len(kept), [LAYERS[number] for number in kept]) if make is _gemma else make(len(kept))
    weights = {}
    for name, value in whole.state_dict().items():
        parts = name.split(".")
        if {"layers", "h"} & set(parts):
            index = parts.index("h" if "h" in parts else "layers") + 1
            if int(parts[index]) not in kept:
                continue
            parts[index] = str(kept.index(int(parts[index])))
        weights[".".join(parts)] = value
    naive.load_state_dict(weights)
    naive.eval()

    model = load_model(_spec(folder, skip_layers=skip), "cpu")
    ids = torch.arange(2, 14)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, naive(ids).logits)
        assert not torch.equal(model(ids).logits, whole.eval()(ids).logits)
    # Generation uses the key-value cache, which counts the layers.
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    generate: Any = model.generate
    assert torch.equal(generate(ids, **options), naive.generate(ids, **options))
    assert model.config.num_hidden_layers == len(kept)


@pytest.mark.parametrize(
    ("skip", "message_part"), [([4], "[4] of 4 layers"), ([1, 7], "[7] of 4"), ([0, 1, 2, 3], "all of 4")]
)
def test_unknown_layers_and_all_layers_cannot_be_left_out(folder: Path, skip: list[int], message_part: str) -> None:
    message = _refusal(lambda: load_model(_spec(folder, skip_layers=skip), "cpu"))
    assert "skip_layers" in message and message_part in message


def test_offsets_are_characters_of_the_text(folder: Path) -> None:
    text = "Łódź!"
    offsets = tokenizer_of(_spec(folder))(text, return_offsets_mapping=True)["offset_mapping"]
    assert [text[start:end] for start, end in offsets] == ["Ł", "Ł", "ó", "ó", "d", "ź", "ź", "!"]


def test_a_tokenizer_without_offsets_is_refused_with_a_remedy(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    ByT5Tokenizer().save_pretrained(folder)
    message = _refusal(lambda: load_tokenizer(str(folder)))
    assert "ByT5Tokenizer gives no character offsets" in message and "tokenizer.json" in message


def test_a_missing_tokenizer_is_refused_in_one_line(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    (folder / "config.json").unlink()
    assert "tokenizer cannot be loaded" in _refusal(lambda: load_tokenizer(str(folder)))


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_broken_file_is_refused_in_one_line_with_the_model(folder: Path, name: str, damage: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2] if damage == "cut" else b"\xff" * 50)
    of_tokenizer = name == "tokenizer.json"
    message = _refusal(lambda: load_tokenizer(str(folder)) if of_tokenizer else load_model(_spec(folder), "cpu"))
    assert str(folder) in message and "cannot be loaded" in message


def test_an_unknown_architecture_is_refused_in_one_line(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "hyperllama"}
    (folder / "config.json").write_text(json.dumps(config))
    for load in (lambda: load_config(_spec(folder)), lambda: load_model(_spec(folder), "cpu")):
        message = _refusal(load)
        assert str(folder) in message and "hyperllama" in message


class _Trap:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, (str(self.mark),))


def test_pickled_weights_are_not_opened(folder: Path, tmp_path: Path) -> None:
    weights = LlamaForCausalLM.from_pretrained(folder).state_dict()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Trap(tmp_path / "mark")))
    assert str(folder) in _refusal(lambda: load_model(_spec(folder), "cpu"))
    assert not (tmp_path / "mark").exists()
    torch.save(weights, folder / "pytorch_model.bin")  # a harmless pickle is not opened either
    assert str(folder) in _refusal(lambda: load_model(_spec(folder), "cpu"))


def test_code_in_a_model_folder_does_not_run_without_trust_remote_code(folder: Path, tmp_path: Path) -> None:
    (folder / "own.py").write_text(
        f"import os\nos.mkdir({str(tmp_path / 'mark')!r})\n"
        "from transformers import LlamaConfig as OwnConfig, LlamaForCausalLM as OwnModel\n"
    )
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "own"}
    config["auto_map"] = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (folder / "config.json").write_text(json.dumps(config))
    assert str(folder) in _refusal(lambda: load_model(_spec(folder), "cpu"))
    assert str(folder) in _refusal(lambda: load_config(_spec(folder)))
    assert not (tmp_path / "mark").exists()


def test_a_gguf_file_gives_a_model_and_its_tokenizer() -> None:
    file = os.environ.get("BENCHMARK_GGUF")
    if not file:
        pytest.skip("set BENCHMARK_GGUF to a .gguf file of a small model")
    spec = ModelSpec(model=file, skip_layers=[0], dtype="bfloat16")
    tokenizer = tokenizer_of(spec)
    ids = tokenizer("The sky is", return_tensors="pt")["input_ids"]
    model = load_model(spec, "cpu")
    assert model(ids).logits.isfinite().all()
    assert model.config.num_hidden_layers == load_config(spec).num_hidden_layers - 1
    assert not getattr(model, "is_quantized", False)  # transformers' Trainer refuses quantized models


def test_quantization_of_a_gguf_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    spec = ModelSpec(model=str(file), quantization="8bit")
    assert "leave the field out" in _refusal(lambda: load_model(spec, "cpu"))


@pytest.fixture
def adapter(folder: Path, tmp_path: Path) -> Path:
    """A LoRA adapter for the model of `folder`, saved by peft, with no weight of 0."""
    from peft import LoraConfig, get_peft_model

    untyped: Any = load_model(ModelSpec(model=str(folder)), "cpu")
    adapted = get_peft_model(untyped, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(3)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(str(tmp_path / "adapter"))
    return tmp_path / "adapter"


def test_an_adapter_is_merged_before_layers_are_removed(folder: Path, adapter: Path) -> None:
    from peft import PeftModel

    ids = torch.tensor([[1, 5, 7, 9, 11]])
    untyped: Any = load_model(ModelSpec(model=str(folder)), "cpu")
    base = untyped(ids).logits
    expected = PeftModel.from_pretrained(untyped, adapter).eval()(ids).logits
    merged: Any = load_model(ModelSpec(model=str(folder), adapter=str(adapter)), "cpu")
    torch.testing.assert_close(merged(ids).logits, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(base, expected, atol=1e-2)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    shorter: Any = load_model(ModelSpec(model=str(folder), adapter=str(adapter), skip_layers=[1]), "cpu")
    assert len(shorter.get_decoder().layers) == 3


def test_an_adapter_of_another_model_is_refused_in_one_line(folder: Path, adapter: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["no_such_module"]}))
    with pytest.raises(UserError, match=r"^adapter .*: does not fit model ") as error:
        load_model(ModelSpec(model=str(folder), adapter=str(adapter)), "cpu")
    assert "\n" not in str(error.value)


def test_merging_an_adapter_into_quantized_weights_is_refused(folder: Path, adapter: Path) -> None:
    with pytest.raises(UserError, match="cannot be merged into quantized weights"):
        with_adapter(
            load_model(ModelSpec(model=str(folder)), "cpu"),
            ModelSpec(model=str(folder), adapter=str(adapter), quantization="8bit"),
        )
