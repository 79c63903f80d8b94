"""What of an architecture memory depends on, counted on a model built without memory for its parameters."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from benchmark.core.errors import UserError
from benchmark.models.loading import load_config, remove_layers
from benchmark.models.spec import ModelSpec


@dataclass(frozen=True)
class Shape:
    """Counts of numbers, not of bytes.

    Attributes:
        parameters: all of them, those that are tied once.
        linear: those of linear layers but the head: what is quantized, and what adapters stand beside.
        outputs: Σ output width of these layers.
        inputs: Σ input width of these layers.
        linears: how many there are.
        largest: numbers of the largest of them.
        head: vocabulary × width, of the layer that makes logits, tied or not.
        layers: decoder layers.
        hidden: width of the residual stream.
        intermediate: width within the feed-forward part.
        query: heads × their width.
        key: heads of keys × their width.
        heads: of queries.
        vocabulary: logits of a token.
        context: most tokens of a text, None where the configuration does not say.
        eager: whether transformers computes this architecture's attention as stored matrices (soft-capping).
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
        """Parameters that quantization leaves as they are: embeddings, head, norms."""
        return self.parameters - self.linear

    def adapter(self, rank: int) -> int:
        """Parameters of LoRA (Hu et al., 2022) on all linear layers but the head: rank × (inputs + outputs) each."""
        return rank * (self.inputs + self.outputs)


@cache
def _counted(spec_json: str) -> Shape:
    spec = ModelSpec.model_validate_json(spec_json)
    return count(load_config(spec), spec)


def shape_of(spec: ModelSpec) -> Shape:
    """The shape of a spec's model. Of a model on the hub config.json alone is fetched.

    Raises UserError if its configuration cannot be had, or is of an architecture whose layers cannot be told.
    """
    if spec.trust_remote_code:
        raise UserError(f"model {spec.model!r}: memory cannot be predicted of a model that brings code of its own")
    return _counted(spec.model_dump_json(include={"model", "revision", "skip_layers"}))


def count(config: Any, spec: ModelSpec) -> Shape:
    """Build what a transformers configuration says on accelerate's meta device, and count."""
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
            f"model {spec.model!r}: memory cannot be predicted of a {type(model).__name__}, which is no decoder of "
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
