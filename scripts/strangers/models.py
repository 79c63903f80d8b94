"""Copies of a small Llama model with the peculiarities of public models, as files on disk."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.models.spec import ZOO

LARGE = ZOO / "large"

_GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def copy_of(folder: Path, source: Path = LARGE) -> Path:
    """Copy a model to a new folder."""
    return Path(shutil.copytree(source, folder))


def change(file: Path, **values: Any) -> None:
    """Set keys of the JSON object in a file; the file is created if it does not exist."""
    before = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**before, **values}))


def append_end(folder: Path, kind: str = "template") -> None:
    """Make the tokenizer append its end token, as `add_eos_token` does in tokenizer.json.

    `kind` is the post-processor: "template", "sequence" (a template after ByteLevel, as in Llama 3) or "roberta".
    """
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    number, end = next((token["id"], token["content"]) for token in content["added_tokens"])
    text = {"Sequence": {"id": "A", "type_id": 0}}
    special = {"SpecialToken": {"id": end, "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [text, special],
        "pair": [text, special, {"Sequence": {"id": "B", "type_id": 1}}, special],
        "special_tokens": {end: {"id": end, "ids": [number], "tokens": [end]}},
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    content["post_processor"] = {
        "template": template,
        "sequence": {"type": "Sequence", "processors": [byte_level, template]},
        "roberta": {
            "type": "RobertaProcessing",
            "sep": [end, number],
            "cls": [end, number],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
    }[kind]
    file.write_text(json.dumps(content))


def change_weights(folder: Path, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Replace a model's weights by those that `change` returns."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(dict(change(load_file(file))), file, metadata={"format": "pt"})


def write_gguf(
    source: Path,
    file: Path,
    without: Iterable[str] = (),
    extra: Callable[[Any], None] = lambda writer: None,
    split: str | None = "gpt-2",
) -> Path:
    """Write a Llama folder as llama.cpp's converter does, in float32.

    Args:
        source: The folder, with a byte-level tokenizer.json.
        file: The file to write.
        without: Names of methods of GGUFWriter that are not called, so that their keys are missing.
        extra: Adds keys or tensors to the writer.
        split: The value of tokenizer.ggml.pre; None leaves the key out.
    """
    from gguf import GGUFWriter
    from safetensors.torch import load_file

    config = json.loads((source / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = GGUFWriter(file, "llama")
    numbers = {
        "add_context_length": config["max_position_embeddings"],
        "add_embedding_length": config["hidden_size"],
        "add_block_count": config["num_hidden_layers"],
        "add_feed_forward_length": config["intermediate_size"],
        "add_head_count": heads,
        "add_head_count_kv": kv_heads,
        "add_layer_norm_rms_eps": config["rms_norm_eps"],
        "add_rope_freq_base": config["rope_parameters"]["rope_theta"],
        "add_rope_dimension_count": config["hidden_size"] // heads,
        "add_vocab_size": config["vocab_size"],
    }
    for method, number in numbers.items():
        if method not in without:
            getattr(writer, method)(number)
    _write_tokenizer(writer, source, config["vocab_size"], split)
    extra(writer)
    for name, value in load_file(source / "model.safetensors").items():
        array = value.numpy()
        if "q_proj" in name or "k_proj" in name:
            array = _in_llama_cpp_order(array, heads if "q_proj" in name else kv_heads)
        writer.add_tensor(_gguf_name(name), array.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _write_tokenizer(writer: Any, source: Path, size: int, split: str | None) -> None:
    """Add the vocabulary, the merges and the way to split text to the writer."""
    content = json.loads((source / "tokenizer.json").read_text())
    tokens = [f"[PAD{number}]" for number in range(size)]
    for token, number in content["model"]["vocab"].items():
        tokens[number] = token
    special = {token["id"] for token in content["added_tokens"]}
    for token in content["added_tokens"]:
        tokens[token["id"]] = token["content"]
    writer.add_tokenizer_model("gpt2")
    if split is not None:
        writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if number in special else 1 for number in range(size)])  # 3 is control, 1 normal
    merges = content["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(min(special))


def _gguf_name(name: str) -> str:
    """The name of a weight in GGUF."""
    outside_layers = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    if (stem := name.removesuffix(".weight")) in outside_layers:
        return f"{outside_layers[stem]}.weight"
    _, _, number, *parts, kind = name.split(".")
    return f"blk.{number}.{_GGUF_NAMES['.'.join(parts)]}.{kind}"


def _in_llama_cpp_order(weights: Any, heads: int) -> Any:
    """Rows in the order of llama.cpp, where rotary positions pair neighbours; transformers pairs halves."""
    rows = len(weights) // heads // 2
    reordered = weights.reshape(heads, 2, rows, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)
    return np.ascontiguousarray(reordered)


def write_adapter(base: Path, folder: Path, scale: float = 0.02, **config: Any) -> Path:
    """Save a LoRA adapter with random weights for a model, in peft's layout."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    settings = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **config}
    adapted: Any = get_peft_model(model, LoraConfig(**settings))
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_" in name:
                value.normal_(0, scale)
    adapted.save_pretrained(folder)
    return folder


def rename_adapter_weights(folder: Path, names: Callable[[str], str | None]) -> None:
    """Rename an adapter's weights; weights whose new name is None are removed."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    renamed = {names(name): value for name, value in load_file(file).items()}
    save_file({name: value for name, value in renamed.items() if name is not None}, file, metadata={"format": "pt"})
