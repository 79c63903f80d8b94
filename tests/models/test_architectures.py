"""Architectures in whole runs, with random weights: those that work, and those that are refused in one line."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from benchmark.core.errors import UserError
from benchmark.runs.runner import run_suite
from tests.tiny import InThisProcess, tiny_suite

pytestmark = pytest.mark.slow

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
HEADS = {**SIZES, "head_dim": 8}
ONE_KIND = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}
BLOOM = {"hidden_size": 32, "n_layer": 2, "n_head": 4}

SUPPORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "tied embeddings": ("llama", {**SIZES, "tie_word_embeddings": True}),
    "vocabulary of 256,000": ("gemma2", {**HEADS, "vocab_size": 256_000, "sliding_window": 64}),
    "gemma3_text": ("gemma3_text", {**HEADS, "sliding_window": 64}),
    "qwen3": ("qwen3", HEADS),
    "qwen3_moe": ("qwen3_moe", {**HEADS, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
    "mistral": ("mistral", {**SIZES, "sliding_window": 64}),
    "phi3": ("phi3", SIZES),
    "olmo2": ("olmo2", SIZES),
    "granite": ("granite", SIZES),
    "starcoder2": ("starcoder2", SIZES),
    "gpt2": ("gpt2", GPT2),
    "gpt_neox": ("gpt_neox", ONE_KIND),
}
QWEN2 = ("qwen2", SIZES)
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("bloom", BLOOM),
    "falcon": ("falcon", {key: value for key, value in ONE_KIND.items() if key != "intermediate_size"}),
    "mamba": ("mamba", {"hidden_size": 32, "num_hidden_layers": 2}),
}


def _save(kind: str, sizes: dict[str, Any], tokenizer: Path, folder: Path) -> Path:
    """Save a random model; its tokenizer has an end token, but no start token, padding token or chat template."""
    end_alone = AutoTokenizer.from_pretrained(tokenizer)
    assert end_alone.bos_token is None and end_alone.pad_token is None and end_alone.chat_template is None
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    # More embeddings than tokens, as real models have: transformers adds tokens for models such as Qwen.
    config = AutoConfig.for_model(kind, **{"vocab_size": len(end_alone) + 16, **ends, **sizes})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    end_alone.save_pretrained(folder)
    return folder


def _run(model: Path, adaptation: str, folder: Path) -> Any:
    """Train two steps with contrastive dropout; the small model is the model without its second layer."""
    suite = tiny_suite(
        model,
        models={"tiny": str(model), "thin": {"model": str(model), "skip_layers": [1]}},
        pairs={"one": {"large": "tiny", "small": "thin"}},
        methods=[{"name": "contrastive_dropout", "alpha": 0.4}],
        recipe={"adaptation": adaptation, "learning_rate": 0.01, "batch_size": 4},
        budgets=[{"steps": 2}],
    )
    (record,) = run_suite(suite, folder, folder / "records", InThisProcess(), plain=True).records.values()
    return record


@pytest.mark.parametrize("adaptation", ["full", "lora"])
@pytest.mark.parametrize("name", SUPPORTED)
def test_a_run_with_the_architecture_writes_a_record(
    name: str, adaptation: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, sizes = SUPPORTED[name]
    record = _run(_save(kind, sizes, tiny, tmp_path / "model"), adaptation, tmp_path)
    assert record.training.steps == 2
    trains_all = record.training.trainable_parameters == record.model.parameters
    assert trains_all == (adaptation == "full")
    by_shots = record.scores["biography_major"]
    assert by_shots.keys() == {"0", "1", "5"}
    assert all(halves["test"].keys() == {"answered", "exact_match", "f1"} for halves in by_shots.values())


@pytest.mark.parametrize("name", REFUSED)
def test_an_architecture_with_unreadable_attention_is_refused_in_one_line(
    name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, sizes = REFUSED[name]
    model = _save(kind, sizes, tiny, tmp_path / "model")
    with pytest.raises(UserError, match="attention code of its own, which cannot be read") as error:
        _run(model, "full", tmp_path)
    assert "\n" not in str(error.value)


def test_a_tokenizer_of_another_kind_in_the_folder_of_a_qwen2_model_is_refused(tiny: Path, tmp_path: Path) -> None:
    """transformers reads it as Qwen2Tokenizer because of the model's configuration, whatever its own files say."""
    model = _save(*QWEN2, tiny, tmp_path / "model")
    with pytest.raises(UserError, match="Qwen2Tokenizer.* splits text differently from its tokenizer.json"):
        _run(model, "full", tmp_path)
