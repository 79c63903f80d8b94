"""Models, adapters and GGUF files that would silently give wrong numbers: each is read correctly or refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmark.core.errors import UserError
from benchmark.data.texts import AugmentedText, Text
from benchmark.models.forward_checks import padding_is_harmless
from benchmark.models.loading import context_of, load_config, load_model, load_tokenizer, tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.models.special_tokens import added_tokens
from benchmark.scoring.scores import score_texts
from benchmark.suite.stage_calls import READ_ALIKE, models_read_alike
from benchmark.training.data import encode
from benchmark.training.recipe import Recipe
from scripts.strangers.models import (
    LARGE,
    append_end,
    change,
    change_weights,
    rename_adapter_weights,
    write_adapter,
    write_gguf,
)

TEXTS = [Text("a", "Ada was born on May 13, 1871."), Text("b", "Bo works in Zürich.")]
IDS = torch.tensor([[5, 100, 200, 300, 400, 50, 7, 9, 1000]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped large model, to change."""
    return Path(shutil.copytree(LARGE, tmp_path / "model"))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(IDS).logits
    return result


def refusal(spec: ModelSpec) -> str:
    with pytest.raises(UserError) as error:
        load_model(spec, "cpu")
    return str(error.value)


# --- special tokens that a tokenizer adds


@pytest.mark.parametrize("kind", ["template", "sequence"])
def test_an_end_token_that_the_tokenizer_appends_is_removed(folder: Path, kind: str) -> None:
    append_end(folder, kind)
    stock, plain = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(LARGE)
    assert stock("Ada")["input_ids"][-1] == 0, "the stock tokenizer must append it"
    spec = ModelSpec(model=str(folder))
    tokenizer = tokenizer_of(spec)
    for text in TEXTS:
        assert tokenizer(text.text)["input_ids"] == plain(text.text)["input_ids"]
    expected = score_texts(load_model(ModelSpec(model=str(LARGE)), "cpu"), plain, TEXTS)
    assert score_texts(load_model(spec, "cpu"), tokenizer, TEXTS) == expected
    trained = encode([AugmentedText(text.id, 0, text.text) for text in TEXTS], tokenizer, Recipe(), None)
    assert trained == [[*plain(text.text)["input_ids"], 0] for text in TEXTS]


def test_a_special_token_before_the_text_stays(folder: Path) -> None:
    append_end(folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["post_processor"]["single"].insert(0, {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}})
    (folder / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = tokenizer_of(ModelSpec(model=str(folder)))
    assert added_tokens(tokenizer) == ([0], [])
    assert tokenizer("Ada")["input_ids"] == [0, *AutoTokenizer.from_pretrained(LARGE)("Ada")["input_ids"]]


def test_a_tokenizer_whose_appended_token_cannot_be_removed_is_refused(folder: Path) -> None:
    append_end(folder, "roberta")
    with pytest.raises(
        UserError, match="appends '<|endoftext|>' to every text, and this cannot be switched off; save a"
    ):
        tokenizer_of(ModelSpec(model=str(folder)))


def test_a_tokenizer_class_that_splits_text_differently_from_its_file_is_refused(folder: Path) -> None:
    change(folder / "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")
    plain, other = AutoTokenizer.from_pretrained(LARGE), AutoTokenizer.from_pretrained(folder)
    assert other(" 1871")["input_ids"] != plain(" 1871")["input_ids"], "the two must differ"
    with pytest.raises(UserError, match="Qwen2Tokenizer, the tokenizer_class of its .* splits text differently from"):
        tokenizer_of(ModelSpec(model=str(folder)))


@pytest.mark.parametrize("named", ["Qwen2Tokenizer", "TokenizersBackend", None])
def test_a_class_that_follows_from_the_model_type_is_refused_without_a_remedy_that_does_not_help(
    folder: Path, named: str | None
) -> None:
    from transformers import Qwen2Config

    change(folder / "tokenizer_config.json", tokenizer_class=named)
    Qwen2Config(vocab_size=64).save_pretrained(folder)
    with pytest.raises(UserError, match="transformers takes for model_type qwen2 whatever .*; use a tokenizer.json of"):
        tokenizer_of(ModelSpec(model=str(folder)))


def test_the_file_of_a_tokenizer_on_the_hub_is_compared_whatever_the_models_id(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "1" * 40
    cached = tmp_path / "hub" / "models--gpt"
    shutil.copytree(folder, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert tokenizer_of(ModelSpec(model="gpt", revision=commit))
    load_tokenizer.cache_clear()
    change(cached / "snapshots" / commit / "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")
    with pytest.raises(UserError, match="splits text differently from its tokenizer.json"):
        tokenizer_of(ModelSpec(model="gpt", revision=commit))


def test_models_listed_as_read_alike_have_no_appended_token_and_no_settings() -> None:
    listed = models_read_alike()
    for name in ("zoo:large", "zoo:small"):
        spec = ModelSpec(model=name)
        assert listed[spec.fingerprint()] == name
        settings = json.loads((LARGE.parent / name[4:] / "generation_config.json").read_text())
        harmless = {"_from_model_config", "pad_token_id", "transformers_version", "use_cache"}
        assert {key for key, value in settings.items() if value} <= harmless
        assert load_tokenizer(name)("Ada")["input_ids"] == AutoTokenizer.from_pretrained(spec.local)("Ada")["input_ids"]
    assert READ_ALIKE.is_file() and len(listed) == 3


# --- weights that do not fit


def test_unused_weights_of_an_adapter_are_refused_by_name(tmp_path: Path) -> None:
    adapter = write_adapter(LARGE, tmp_path / "adapter")
    plain = ModelSpec(model=str(LARGE), adapter=str(adapter))
    assert not torch.allclose(logits(load_model(plain, "cpu")), logits(load_model(ModelSpec(model=str(LARGE)), "cpu")))
    rename_adapter_weights(adapter, lambda name: name.replace("base_model.model.", "base_model.model._orig_mod."))
    assert "has no use for 56 of its weights, for example base_model.model._orig_mod.model.layers.0.mlp" in refusal(
        plain
    )


def test_missing_weights_of_an_adapter_are_refused_by_name(tmp_path: Path) -> None:
    adapter = write_adapter(LARGE, tmp_path / "adapter")
    rename_adapter_weights(adapter, lambda name: name if "layers.0" in name or "layers.1" in name else None)
    message = refusal(ModelSpec(model=str(LARGE), adapter=str(adapter)))
    assert "lacks 28 of the weights that its adapter_config.json asks for" in message and "layers.2" in message


@pytest.mark.parametrize("config", [{}, {"use_dora": True}, {"use_rslora": True}, {"modules_to_save": ["lm_head"]}])
def test_a_merged_adapter_has_the_logits_of_the_unmerged_adapter(tmp_path: Path, config: dict[str, Any]) -> None:
    from peft import PeftModel

    adapter = write_adapter(LARGE, tmp_path / "adapter", **config)
    beside: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(LARGE), str(adapter)).eval()
    merged = load_model(ModelSpec(model=str(LARGE), adapter=str(adapter)), "cpu")
    torch.testing.assert_close(logits(merged), logits(beside), rtol=1e-4, atol=1e-4)


def test_an_adapter_of_embeddings_tied_to_the_head_is_refused(tmp_path: Path) -> None:
    adapter = write_adapter(LARGE, tmp_path / "adapter", scale=0.2, target_modules=["embed_tokens", "q_proj"])
    message = refusal(ModelSpec(model=str(LARGE), adapter=str(adapter)))
    assert "merged into model" in message and "it computes something else than unmerged" in message


def test_an_adapter_that_changes_its_base_at_random_is_refused(tmp_path: Path) -> None:
    how: dict[str, Any] = {"init_lora_weights": "pissa_niter_4", "target_modules": ["q_proj", "v_proj"]}
    adapter = write_adapter(LARGE, tmp_path / "adapter", **how)
    assert "its init_lora_weights 'pissa_niter_4' changed the base model" in refusal(
        ModelSpec(model=str(LARGE), adapter=str(adapter))
    )


def test_an_adapter_of_a_kind_that_cannot_be_merged_is_refused(tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    model: Any = AutoModelForCausalLM.from_pretrained(LARGE)
    get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)).save_pretrained(
        str(tmp_path / "adapter")
    )
    message = refusal(ModelSpec(model=str(LARGE), adapter=str(tmp_path / "adapter")))
    assert "is of the kind PROMPT_TUNING, which cannot be merged into weights" in message


def test_unused_weights_of_a_model_are_refused_by_name(folder: Path) -> None:
    change_weights(folder, lambda w: {**w, "model.layers.0.self_attn.q_proj.bias": torch.ones(128)})
    assert "leaves 1 of its weights unused, for example model.layers.0.self_attn.q_proj.bias" in refusal(
        ModelSpec(model=str(folder))
    )


def test_a_head_tied_to_different_embeddings_is_refused(folder: Path) -> None:
    change_weights(folder, lambda w: {**w, "lm_head.weight": w["model.embed_tokens.weight"] * 1.5})
    assert "ties lm_head.weight to model.embed_tokens.weight, but the two differ in its weight file" in refusal(
        ModelSpec(model=str(folder))
    )
    change(folder / "config.json", tie_word_embeddings=False)
    expected = logits(AutoModelForCausalLM.from_pretrained(LARGE)) * 1.5
    torch.testing.assert_close(logits(load_model(ModelSpec(model=str(folder)), "cpu")), expected)


def test_two_sets_of_weights_in_one_folder_are_refused(folder: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(LARGE)
    (folder / "model.safetensors").rename(folder / "kept")
    model.save_pretrained(folder, max_shard_size="1MB")
    load_model(ModelSpec(model=str(folder)), "cpu")
    (folder / "kept").rename(folder / "model.safetensors")
    assert "has both model.safetensors and shards with an index" in refusal(ModelSpec(model=str(folder)))


@pytest.mark.parametrize("row", [3, 2047])
def test_weights_that_are_not_finite_are_refused(folder: Path, row: int) -> None:
    def spoil(weights: dict[str, Any]) -> dict[str, Any]:
        weights["model.embed_tokens.weight"][row, 0] = float("nan")
        return weights

    change_weights(folder, spoil)
    assert "model.embed_tokens.weight has numbers that are not finite in float32" in refusal(
        ModelSpec(model=str(folder))
    )


def test_a_model_that_overflows_in_float16_is_refused(folder: Path) -> None:
    def enlarge(weights: dict[str, Any]) -> dict[str, Any]:
        return {name: value * 3e4 if "down_proj" in name else value for name, value in weights.items()}

    change_weights(folder, enlarge)
    assert "not finite numbers in float16; set dtype" in refusal(ModelSpec(model=str(folder), dtype="float16"))


# --- GGUF


def test_a_gguf_file_has_the_logits_and_tokens_of_its_folder(tmp_path: Path) -> None:
    spec = ModelSpec(model=str(write_gguf(LARGE, tmp_path / "model.gguf")))
    torch.testing.assert_close(logits(load_model(spec, "cpu")), logits(AutoModelForCausalLM.from_pretrained(LARGE)))
    tokenizer, plain = tokenizer_of(spec), AutoTokenizer.from_pretrained(LARGE)
    for text in TEXTS:
        assert tokenizer(text.text)["input_ids"] == plain(text.text)["input_ids"]


def test_an_end_token_that_a_gguf_file_appends_is_removed(tmp_path: Path) -> None:
    file = write_gguf(LARGE, tmp_path / "model.gguf", extra=lambda writer: writer.add_add_eos_token(True))
    stock = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    assert stock("Ada")["input_ids"][-1] == 0, "the stock tokenizer must append it"
    tokenizer = tokenizer_of(ModelSpec(model=str(file)))
    assert tokenizer("Ada")["input_ids"] == AutoTokenizer.from_pretrained(LARGE)("Ada")["input_ids"]


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def llama3_factors(base: float, size: int) -> Any:
    """The tensor rope_freqs.weight as llama.cpp's converter computes it."""
    import numpy as np

    factors = []
    for frequency in 1 / base ** (np.arange(0, size, 2) / size):
        wavelength = 2 * np.pi / frequency
        if wavelength < 8192 / 4.0:
            factors.append(1.0)
        elif wavelength > 8192 / 1.0:
            factors.append(8.0)
        else:
            smooth = (8192 / wavelength - 1.0) / (4.0 - 1.0)
            factors.append(1 / ((1 - smooth) / 8.0 + smooth))
    return np.array(factors, dtype=np.float32)


@pytest.mark.parametrize("kind", ["linear", "yarn", "llama3", "old linear"])
def test_a_gguf_file_with_scaled_positions_has_the_logits_of_its_folder(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    scaling = {
        "linear": {"rope_type": "linear", "factor": 4.0},
        "old linear": {"rope_type": "linear", "factor": 4.0},
        "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
        "llama3": {"rope_type": "llama3", **LLAMA3},
    }[kind]

    def extra(writer: Any) -> None:
        if kind == "llama3":
            writer.add_tensor("rope_freqs.weight", llama3_factors(1e4, 32))
        elif kind == "old linear":
            writer.add_float32("llama.rope.scale_linear", 4.0)
        else:
            writer.add_string("llama.rope.scaling.type", kind)
            writer.add_float32("llama.rope.scaling.factor", 4.0)
            if kind == "yarn":
                writer.add_uint32("llama.rope.scaling.original_context_length", 128)

    change(folder / "config.json", rope_parameters={"rope_theta": 10000.0, **scaling})
    file = write_gguf(LARGE, tmp_path / "model.gguf", extra=extra)
    model = load_model(ModelSpec(model=str(file)), "cpu")
    expected: Any = AutoModelForCausalLM.from_pretrained(folder)
    torch.testing.assert_close(logits(model), logits(expected))
    assert not torch.allclose(logits(model), logits(AutoModelForCausalLM.from_pretrained(LARGE)), atol=1e-3)
    model.save_pretrained(tmp_path / "again")  # as trained weights are saved
    torch.testing.assert_close(logits(load_model(ModelSpec(model=str(tmp_path / "again")), "cpu")), logits(expected))


@pytest.mark.parametrize(
    ("extra", "split", "without", "message_part"),
    [
        (lambda w: w.add_string("llama.rope.scaling.type", "longrope"), "gpt-2", (), "rope.scaling.type = longrope"),
        (lambda w: w.add_float32("llama.attention.clamp_kqv", 8.0), "gpt-2", (), "llama.attention.clamp_kqv = 8.0"),
        (lambda w: w.add_float32("llama.logit_scale", 0.5), "gpt-2", (), "ignores llama.logit_scale = 0.5, so its"),
        (lambda w: w.add_uint32("llama.rope.dimension_count", 16), "gpt-2", ("add_rope_dimension_count",), "cannot"),
        (lambda w: w.add_tensor("blk.0.attn_q.bias", torch.ones(128).numpy()), "gpt-2", (), "1 of its tensors"),
        (lambda w: w.add_tensor("rope_freqs.weight", torch.rand(16).numpy()), "gpt-2", (), "rope_freqs.weight"),
        (lambda w: w.add_uint16("split.count", 3), "gpt-2", (), "is one of 3 parts of a split model; merge"),
        (lambda w: w.add_string("general.type", "adapter"), "gpt-2", (), "its general.type is 'adapter', so it"),
        (lambda w: None, None, (), "lacks tokenizer.ggml.pre, which says how text is split into tokens"),
        (lambda w: None, "deepseek-llm", (), "tokenizer.ggml.pre = deepseek-llm, which says how text is split"),
        (lambda w: None, "gpt-2", ("add_head_count_kv",), "lacks llama.attention.head_count_kv, without which"),
    ],
)  # fmt: skip
def test_a_gguf_file_that_transformers_reads_in_part_is_refused_by_key(
    tmp_path: Path, extra: Any, split: str | None, without: tuple[str, ...], message_part: str
) -> None:
    file = write_gguf(LARGE, tmp_path / "model.gguf", extra=extra, split=split, without=without)
    assert message_part in refusal(ModelSpec(model=str(file)))


# --- models that break assumptions


def bert(folder: Path, **options: Any) -> Path:
    from transformers import BertConfig, BertLMHeadModel

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 2048, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertLMHeadModel(BertConfig(**sizes, intermediate_size=64, **options)).save_pretrained(folder)
    return folder


def test_an_encoder_is_refused(tmp_path: Path) -> None:
    assert "its tokens see what comes after them" in refusal(ModelSpec(model=str(bert(tmp_path / "encoder"))))
    load_model(ModelSpec(model=str(bert(tmp_path / "decoder", is_decoder=True))), "cpu")


@pytest.mark.parametrize(
    ("name", "length"),
    [("max_position_embeddings", 77), ("n_positions", 77), ("max_seq_len", 77), ("seq_length", 77), ("none", None)],
)
def test_the_context_length_is_found_under_each_of_its_names(name: str, length: int | None) -> None:
    from transformers import PreTrainedConfig

    config: Any = PreTrainedConfig()
    setattr(config, name, 77)
    assert context_of(config) == length
    assert context_of(load_config(ModelSpec(model=str(LARGE)))) == 512


class IgnoresMask(torch.nn.Module):
    """A causal language model that reads padding as text: its logits are running means of embeddings."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        from transformers import PreTrainedConfig

        self.config: Any = PreTrainedConfig()
        self.config.vocab_size = 50
        self.embed = torch.nn.Embedding(50, 50)
        self.device = torch.device("cpu")

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Any:
        from types import SimpleNamespace

        steps = torch.arange(1, input_ids.shape[1] + 1)[None, :, None]
        return SimpleNamespace(logits=self.embed(input_ids).cumsum(dim=1) / steps)


def test_padding_is_found_harmful_for_a_model_that_ignores_the_mask() -> None:
    model = AutoModelForCausalLM.from_pretrained(LARGE).eval()
    assert padding_is_harmless(model) and padding_is_harmless(model, left=True)
    assert padding_is_harmless(IgnoresMask()) and not padding_is_harmless(IgnoresMask(), left=True)
