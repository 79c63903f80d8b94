"""Random models of several architectures, small enough for a test."""

from typing import Any

SIZES: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
HEADS = {**SIZES, "head_dim": 8}
KINDS = ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"]
OLD = {"n_layer": 2, "n_head": 4, "initializer_range": 0.3, "bos_token_id": 0, "eos_token_id": 0, "vocab_size": 100}
FALCON = {key: SIZES[key] for key in SIZES if key not in ("intermediate_size", "num_key_value_heads")}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 4,
    "long_factor": [2.0] * 4,
    "original_max_position_embeddings": 16,
}

# Architectures that PrefixReader supports; sliding windows are of 16 tokens.
SUPPORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SIZES),
    "gemma2": ("gemma2", {**HEADS, "sliding_window": 16}),
    "gemma3": ("gemma3_text", {**HEADS, "sliding_window": 16, "layer_types": KINDS}),
    "qwen3": ("qwen3", HEADS),
    "mistral": ("mistral", {**SIZES, "sliding_window": 16}),
    "gpt2": ("gpt2", {**OLD, "n_embd": 32}),
    "gpt_oss": ("gpt_oss", {**HEADS, "sliding_window": 16, "num_local_experts": 4, "num_experts_per_tok": 2}),
}
# Architectures that it does not support, by the reason.
UNSUPPORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "a state beside keys and values": ("lfm2", {**SIZES, "layer_types": ["conv", "full_attention"] * 2}),
    "a state instead of keys and values": (
        "mamba",
        {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 100, "bos_token_id": 0, "eos_token_id": 0},
    ),
    "positions counted in another way": ("bloom", {**OLD, "hidden_size": 32}),
    "keys that change as a row grows": (
        "phi3",
        {**SIZES, "original_max_position_embeddings": 16, "rope_parameters": LONG_ROPE},
    ),
}


def random_model(kind: str, sizes: dict[str, Any]) -> Any:
    """A random causal language model in evaluation mode, the same every time."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes)).eval()
