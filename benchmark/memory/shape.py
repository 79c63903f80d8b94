"""The shape of a model, on which its memory depends: counted on a model built without memory for its parameters."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from benchmark.core.errors import UserError
from benchmark.models.loading import load_config, remove_layers
from benchmark.models.spec import ModelSpec


@dataclass(frozen=True)
class Shape:
    """The shape of a model, in numbers, not bytes.

    Attributes:
        parameters: All parameters, tied parameters once.
        linear: Parameters of the linear layers without the head; these layers are quantized and get adapters.
        outputs: Sum of the output widths of these layers.
        inputs: Sum of the input widths of these layers.
        linears: Number of these layers.
        largest: Parameters of the largest of these layers.
        head: Vocabulary × width of the layer that makes logits, tied or not.
        layers: Number of decoder layers.
        hidden: Width of the residual stream.
        intermediate: Width within the feed-forward part.
        query: Number of query heads × width of a head.
        key: Number of key heads × width of a head.
        heads: Number of query heads.
        vocabulary: Logits of a token.
        context: Most tokens of a text; None where the configuration does not say.
        eager: Whether transformers stores this architecture's attention matrices (soft-capping).
    """

    parameters: int
    linear: int
    outputs: int
    inputs: int
    linears: int
    largest: int
    head: int
    layers: int
    hidden: int
    intermediate: int
    query: int
    key: int
    heads: int
    vocabulary: int
    context: int | None
    eager: bool

    @property
    def others(self) -> int:
        """Parameters that are not quantized: embeddings, head and norms."""
        return self.parameters - self.linear

    def adapter(self, rank: int) -> int:
        """Parameters of LoRA (Hu et al., 2022) on these linear layers: rank × (inputs + outputs) each."""
        return rank * (self.inputs + self.outputs)


@cache
def _counted(spec_json: str) -> Shape:
    spec = ModelSpec.model_validate_json(spec_json)
    return count(load_config(spec), spec)


def shape_of(spec: ModelSpec) -> Shape:
    """The shape of a spec's model. For a model on the hub only config.json is fetched.

    Raises:
        UserError: If the configuration cannot be loaded, or the architecture is not supported.
    """
    if spec.trust_remote_code:
        raise UserError(f"model {spec.model!r}: memory cannot be predicted for a model with its own code")
    return _counted(spec.model_dump_json(include={"model", "revision", "skip_layers"}))


def count(config: Any, spec: ModelSpec) -> Shape:
    """Count on a model that a transformers configuration describes, built on the meta device by accelerate."""
    import torch
    from accelerate.big_modeling import init_empty_weights
    from transformers import AutoModelForCausalLM

    with init_empty_weights(include_buffers=True):
        model: Any = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    if spec.skip_layers:
        remove_layers(model, spec)
    text = config.get_text_config(decoder=True)
    head = model.get_output_embeddings()
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    heads = getattr(text, "num_attention_heads", None)
    if not heads or not linear or head is None:
        raise UserError(
            f"model {spec.model!r}: memory cannot be predicted for a {type(model).__name__}, which is not a decoder of "
            "attention and linear layers"
        )
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    return Shape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        linear=sum(module.weight.numel() for module in linear),
        outputs=sum(module.out_features for module in linear),
        inputs=sum(module.in_features for module in linear),
        linears=len(linear),
        largest=max(module.weight.numel() for module in linear),
        head=head.weight.numel(),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        query=heads * width,
        key=(getattr(text, "num_key_value_heads", None) or heads) * width,
        heads=heads,
        vocabulary=text.vocab_size,
        context=getattr(text, "max_position_embeddings", None),
        eager=model.config._attn_implementation == "eager",
    )
