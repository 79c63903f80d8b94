"""Copies of a small Llama model, each changed in one way that users of public models meet."""

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
    """A copy of a model in a folder that is not there yet."""
    return Path(shutil.copytree(source, folder))


def change(file: Path, **values: Any) -> None:
    """Set keys of a JSON object in a file, which is made if it is not there."""
    before = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**before, **values}))


def append_end(folder: Path, kind: str = "template") -> None:
    """Have the tokenizer append its end token, as `add_eos_token` leaves it in tokenizer.json.

    `kind` is the post-processor: "template", "sequence" (behind ByteLevel, as Llama 3 has it) or "roberta".
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
    """Write a model's weights as `change` returns them."""
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
        file: Where to write.
        without: Names of the writer's methods that are not called.
        extra: Adds keys or tensors.
        split: tokenizer.ggml.pre; None leaves it out.
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
            array = _as_llama_cpp_has_it(array, heads if "q_proj" in name else kv_heads)
        writer.add_tensor(_gguf_name(name), array.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _write_tokenizer(writer: Any, source: Path, size: int, split: str | None) -> None:
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
    alone = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    if (stem := name.removesuffix(".weight")) in alone:
        return f"{alone[stem]}.weight"
    _, _, number, *parts, kind = name.split(".")
    return f"blk.{number}.{_GGUF_NAMES['.'.join(parts)]}.{kind}"


def _as_llama_cpp_has_it(weights: Any, heads: int) -> Any:
    """Rows in the order of llama.cpp, which turns neighbours by position where transformers turns halves."""
    rows = len(weights) // heads // 2
    turned = weights.reshape(heads, 2, rows, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)
    return np.ascontiguousarray(turned)


def write_adapter(base: Path, folder: Path, scale: float = 0.02, **config: Any) -> Path:
    """Write a LoRA adapter with random weights for a model, with peft's own layout."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    how = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **config}
    adapted: Any = get_peft_model(model, LoraConfig(**how))
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_" in name:
                value.normal_(0, scale)
    adapted.save_pretrained(folder)
    return folder


def rename_adapter_weights(folder: Path, names: Callable[[str], str | None]) -> None:
    """Give an adapter's weights other names, and leave out those that get none."""
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    renamed = {names(name): value for name, value in load_file(file).items()}
    save_file({name: value for name, value in renamed.items() if name is not None}, file, metadata={"format": "pt"})
