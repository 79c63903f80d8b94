"""A small model on two made-up devices beside the same one on the CPU: prints the largest differences as JSON.

python -m tests.models.spread_model
"""

import json
from collections.abc import Callable
from typing import Any

import torch
from accelerate.hooks import attach_align_device_hook_on_blocks
from transformers import LlamaConfig, LlamaForCausalLM

from benchmark.models.reading import Reader, Row
from benchmark.scoring.attention import ReceivedAttention
from benchmark.scoring.losses import TokenLosses
from tests.models.fake_devices import KIND, Devices, Elsewhere, install

PARTS = {"model.embed_tokens": 0, "model.rotary_emb": 0, "model.layers.0": 0}
PARTS |= {"model.layers.1": 1, "model.layers.2": 1, "model.norm": 1, "lm_head": 1}


def make() -> Any:
    """A Llama of three layers whose attention is far from even; the same every time."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=97, initializer_range=0.4, **shape, **heads)).eval()


def spread(model: Any) -> Any:
    """The model as accelerate's `dispatch_model` leaves one: parts on two devices, and its hooks on them."""
    for name, number in PARTS.items():
        for module in model.get_submodule(name).modules():
            for store in (module._parameters, module._buffers):
                for key, tensor in [(key, one) for key, one in store.items() if one is not None]:
                    moved = Elsewhere(tensor.detach(), torch.device(KIND, number))
                    store[key] = torch.nn.Parameter(moved) if store is module._parameters else moved
    devices = {name: f"{KIND}:{number}" for name, number in PARTS.items()}
    whole = {"": f"{KIND}:0"}
    skip = model._skip_keys_device_placement
    attach_align_device_hook_on_blocks(model, {**devices, **whole}, dict.fromkeys(devices, False), skip_keys=skip)
    return model


def read(model: Any, reader: Any, result: Callable[[], torch.Tensor], length: int) -> torch.Tensor:
    """What `reader` makes of a pass over two texts, one of them padded."""
    ids = torch.arange(2 * length).reshape(2, length) * 31 % 97
    mask = torch.ones_like(ids)
    mask[1, -3:] = 0
    with reader:
        reader.decoder(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False)
        return result()


def attention(mode: str, length: int) -> Callable[[Any], torch.Tensor]:
    def way(model: Any) -> torch.Tensor:
        reader = ReceivedAttention(model, mode)
        return read(model, reader, reader.scores, length)

    return way


def watched(model: Any) -> torch.Tensor:
    reader = ReceivedAttention(model)
    reader.watch([[1, 5], [2]])
    return read(model, reader, reader.rows, 20)


def loss(model: Any) -> torch.Tensor:
    reader = TokenLosses(model)
    return read(model, reader, reader.scores, 20)


def answers(model: Any) -> torch.Tensor:
    """Logits of two continuations read behind a shared beginning, and tokens generated."""
    reader = Reader(model)
    assert reader.reads and reader.packs
    row = Row([1, 2, 3, 4, 5])
    places = [(0, place) for some in ([7, 8], [9, 6, 3]) for place in row.add(some)]
    logits = reader.predicted([row], reader.begin([1, 2, 3]), places)
    made = reader.continued([[1, 2, 3, 4], [1, 2, 3, 9, 8]], reader.begin([1, 2]), 4, lambda rows: [False] * len(rows))
    return torch.cat([logits.flatten().cpu(), torch.tensor(made).flatten()])


WAYS: dict[str, Callable[[Any], torch.Tensor]] = {
    "received": attention("received", 20),
    "long": attention("received", 600),  # more than a block of rows
    "received_strict": attention("received_strict", 20),
    "released": attention("released", 20),
    "watched": watched,
    "loss": loss,
    "answers": answers,
}


def main() -> None:
    """Compare every way, and try once to mix two devices."""
    install()
    found: dict[str, Any] = {}
    for name, way in WAYS.items():
        with torch.no_grad():
            wanted = way(make())
        try:
            with torch.no_grad(), Devices():
                found[name] = float((way(spread(make())).cpu() - wanted).abs().max())
        except RuntimeError as error:
            found[name] = str(error)[:300]
    try:
        with Devices():
            torch.ones(2).to(f"{KIND}:0") + torch.ones(2).to(f"{KIND}:1")
    except RuntimeError as error:
        found["mixed"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
