"""Compare a small model on two simulated devices with the same model on the CPU; print the differences as JSON.

python -m tests.models.spread_model
"""

import json
from collections.abc import Callable
from typing import Any

import torch
from accelerate.hooks import attach_align_device_hook_on_blocks
from transformers import LlamaConfig, LlamaForCausalLM

from benchmark.models.shared_prefix import PackedRow, PrefixReader
from benchmark.scoring.attention import ReceivedAttention
from benchmark.scoring.losses import TokenLosses
from tests.models.fake_devices import KIND, Devices, Elsewhere, install

PARTS = {"model.embed_tokens": 0, "model.rotary_emb": 0, "model.layers.0": 0}
PARTS |= {"model.layers.1": 1, "model.layers.2": 1, "model.norm": 1, "lm_head": 1}


def make() -> Any:
    """A Llama of three layers whose attention is far from uniform; the same every time."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=97, initializer_range=0.4, **shape, **heads)).eval()


def spread(model: Any) -> Any:
    """Spread the model as accelerate's `dispatch_model` does: parts on two devices, with hooks on them."""
    for name, number in PARTS.items():
        for module in model.get_submodule(name).modules():
            for store in (module._parameters, module._buffers):
                for key, tensor in [(key, value) for key, value in store.items() if value is not None]:
                    moved = Elsewhere(tensor.detach(), torch.device(KIND, number))
                    store[key] = torch.nn.Parameter(moved) if store is module._parameters else moved
    devices = {name: f"{KIND}:{number}" for name, number in PARTS.items()}
    whole = {"": f"{KIND}:0"}
    skip = model._skip_keys_device_placement
    attach_align_device_hook_on_blocks(model, {**devices, **whole}, dict.fromkeys(devices, False), skip_keys=skip)
    return model


def read(model: Any, reader: Any, result: Callable[[], torch.Tensor], length: int) -> torch.Tensor:
    """The result that `reader` has of a pass over two texts, the second padded."""
    ids = torch.arange(2 * length).reshape(2, length) * 31 % 97
    mask = torch.ones_like(ids)
    mask[1, -3:] = 0
    with reader:
        reader.decoder(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False)
        return result()


def attention(mode: str, length: int) -> Callable[[Any], torch.Tensor]:
    def compute(model: Any) -> torch.Tensor:
        reader = ReceivedAttention(model, mode)
        return read(model, reader, reader.scores, length)

    return compute


def watched(model: Any) -> torch.Tensor:
    reader = ReceivedAttention(model)
    reader.watch([[1, 5], [2]])
    return read(model, reader, reader.rows, 20)


def loss(model: Any) -> torch.Tensor:
    reader = TokenLosses(model)
    return read(model, reader, reader.scores, 20)


def answers(model: Any) -> torch.Tensor:
    """Logits of two continuations of a shared prefix, and tokens generated after it."""
    reader = PrefixReader(model)
    assert reader.supported and reader.packs
    row = PackedRow([1, 2, 3, 4, 5])
    indices = [(0, index) for continuation in ([7, 8], [9, 6, 3]) for index in row.add(continuation)]
    logits = reader.logits_at([row], reader.read_prefix([1, 2, 3]), indices)
    prompts = [[1, 2, 3, 4], [1, 2, 3, 9, 8]]
    generated = reader.generate(prompts, reader.read_prefix([1, 2]), 4, lambda rows: [False] * len(rows))
    return torch.cat([logits.flatten().cpu(), torch.tensor(generated).flatten()])


COMPUTATIONS: dict[str, Callable[[Any], torch.Tensor]] = {
    "received": attention("received", 20),
    "long": attention("received", 600),  # more than a block of queries
    "received_strict": attention("received_strict", 20),
    "released": attention("released", 20),
    "watched": watched,
    "loss": loss,
    "answers": answers,
}


def main() -> None:
    """Run every computation, and mix tensors of two devices, which has to fail."""
    install()
    differences: dict[str, Any] = {}
    for name, compute in COMPUTATIONS.items():
        with torch.no_grad():
            expected = compute(make())
        try:
            with torch.no_grad(), Devices():
                differences[name] = float((compute(spread(make())).cpu() - expected).abs().max())
        except RuntimeError as error:
            differences[name] = str(error)[:300]
    try:
        with Devices():
            torch.ones(2).to(f"{KIND}:0") + torch.ones(2).to(f"{KIND}:1")
    except RuntimeError as error:
        differences["mixed"] = str(error)
    print(json.dumps(differences))


if __name__ == "__main__":
    main()
