"""How many bytes a model takes, and what it computes with: a function for each part, with where it comes from.

Symbols: T tokens of a pass, padding included; h hidden, I intermediate, q heads × width of a head, V vocabulary; a
number of the arithmetic has e bytes. Formulas of activations follow what autograd keeps of each operation of a decoder
layer with RMS norms, rotary positions and a gated feed-forward part, as Korthikanti et al. (2022) do for GPT's layer;
`tests/memory/test_formulas.py` holds them against what autograd says that it keeps.
"""

from dataclasses import dataclass
from typing import Literal

from benchmark.memory.shape import Shape
from benchmark.scoring.attention import BLOCK as ATTENTION_ROWS
from benchmark.scoring.losses import BLOCK

SINGLE = 4  # bytes of a float32
ADAM = 2 * SINGLE  # AdamW's two moving means of a trained parameter (Loshchilov & Hutter, 2019)
NF4_BLOCK = 64  # weights that share a float32 scale in bitsandbytes' 4-bit format (Dettmers et al., 2023)


@dataclass(frozen=True)
class Arithmetic:
    """In what a model's numbers are kept and computed.

    Attributes:
        weight: bytes of a weight that is not quantized.
        autocast: whether matrices are multiplied in bfloat16 whatever the weights are.
        quantization: of the linear layers' weights.
    """

    weight: int
    autocast: bool = False
    quantization: Literal["8bit", "4bit"] | None = None

    @property
    def matrix(self) -> int:
        """Bytes of what matrix products of attention give."""
        return 2 if self.autocast else self.weight

    @property
    def feed_forward(self) -> int:
        """Bytes of what the feed-forward part's products give: bitsandbytes gives them in the dtype of their input."""
        return self.weight if self.quantization else self.matrix


def weights(shape: Shape, arithmetic: Arithmetic) -> int:
    """A model's weights, tied ones once.

    bitsandbytes keeps an 8-bit linear layer as int8 with a float32 scale for every output (LLM.int8(), Dettmers et al.,
    2022), a 4-bit one as half a byte and a float32 scale for every 64 weights; embeddings, head and norms stay.
    """
    others = shape.others * arithmetic.weight
    if arithmetic.quantization == "8bit":
        return others + shape.linear + shape.outputs * SINGLE
    if arithmetic.quantization == "4bit":
        return others + shape.linear // 2 + shape.linear // NF4_BLOCK * SINGLE
    return others + shape.linear * arithmetic.weight


def cast_weights(shape: Shape, arithmetic: Arithmetic) -> int:
    """bfloat16 copies of float32 weights under autocast: each product keeps its own until its backward pass is done.

    The head's is among them also where linear layers are quantized, for peft makes float32 of what is not quantized.
    """
    if not arithmetic.autocast or arithmetic.weight != SINGLE:
        return 0
    return 2 * (shape.head + (0 if arithmetic.quantization else shape.linear))


def activations(
    shape: Shape, arithmetic: Arithmetic, tokens: int, length: int, rank: int | None, masked: bool = True
) -> int:
    """What autograd keeps of a forward pass with gradients, all layers together. No gradient checkpointing is used.

    Of a layer, for every token:

    - a norm: its input in float32; where the norm is trained, the normed numbers too: 2 norms of h.
    - attention: query, key, value and output, and a row of the mask. With a mask, keys and values are repeated for all
      heads: q of each. Soft-capped ("eager") attention keeps whole rows of every head in place of the mask's: softmax
      in float32, its copy in e, and the tanh.
    - the feed-forward part: what the gate gives, its activation, and what it is multiplied by: 3 I.
    - inputs of trained matrices. In full fine-tuning these are the matrices themselves: h, h and I (attention's output
      is kept already); where autocast meets float32 it keeps a bfloat16 copy of h for each product. With LoRA it is the
      first adapter matrix of every linear layer: the same, but for low precision without autocast, where peft casts the
      input to the adapter's float32 for each product anew, and for quantized layers under autocast, which do likewise.
    - LoRA: `rank` numbers between the adapter's two matrices.
    - 8-bit layers keep their input: h, h and I (bitsandbytes' MatMul8bitLt).

    Args:
        shape: of the model.
        arithmetic: of the training.
        tokens: T.
        length: tokens of a row.
        rank: of LoRA; None in full fine-tuning.
        masked: whether attention is given a mask (`in_rows`).
    """
    full = rank is None
    residual, matrix, forward = arithmetic.weight, arithmetic.matrix, arithmetic.feed_forward
    h, wide, q, layers = shape.hidden, shape.intermediate, shape.query, shape.layers
    norms = 2 * h * (SINGLE + (residual if full else 0))
    attention = (4 * q + length if masked else 2 * (q + shape.key)) * matrix
    if shape.eager:
        attention = 4 * q * matrix + shape.heads * length * (SINGLE + 2 * matrix)
    kept = norms + attention + 3 * wide * forward
    if arithmetic.autocast and arithmetic.quantization:
        inputs = shape.inputs // layers * 2
    elif arithmetic.autocast and residual == SINGLE:
        inputs = (5 * h + wide) * 2
    elif arithmetic.autocast or residual == SINGLE or full:
        inputs = (2 * h + wide) * residual
    else:
        inputs = shape.inputs // layers * SINGLE
    adapters = 0 if rank is None else shape.linears // layers * rank * (2 if arithmetic.autocast else SINGLE)
    held = (2 * h * residual + wide * forward) if arithmetic.quantization == "8bit" and not full else 0
    last = h * (SINGLE + ((residual + matrix) if full else 0))
    return tokens * (layers * (kept + inputs + adapters + held) + last)


def loss(shape: Shape, tokens: int, weighted: bool) -> int:
    """Logits and what the loss makes of them when the backward pass begins, in float32: transformers casts them.

    log_softmax keeps its result; backward, the gradient of that and of the logits stand beside it: 3 × T × V. A loss
    that weighs tokens is cut from logits of all places, and so has one more.
    """
    return tokens * shape.vocabulary * SINGLE * (4 if weighted else 3)


def backward_of_a_layer(shape: Shape, arithmetic: Arithmetic, tokens: int) -> int:
    """What one layer's backward pass needs for a moment.

    These are the gradients of its three wide results, and of a quantized layer the weight itself, unpacked as in
    bitsandbytes' backward pass.
    """
    unpacked = shape.largest * arithmetic.feed_forward if arithmetic.quantization else 0
    return tokens * (3 * shape.intermediate + 2 * shape.hidden) * arithmetic.feed_forward + unpacked


def forward_of_a_layer(shape: Shape, arithmetic: Arithmetic, tokens: int) -> int:
    """What a pass without gradients needs at its widest.

    There are the residual stream, a norm in float32, and the feed-forward part's three wide results or attention's
    four. A quantized layer has its int32 result, or its weight unpacked, besides.
    """
    wide = max(3 * shape.intermediate, 4 * shape.query) * arithmetic.matrix
    extra = 0
    if arithmetic.quantization == "8bit":
        extra = tokens * shape.intermediate * (SINGLE + 1)
    elif arithmetic.quantization == "4bit":
        extra = shape.largest * arithmetic.matrix
    return tokens * (shape.hidden * (2 * arithmetic.matrix + SINGLE) + wide) + extra


def received(shape: Shape, arithmetic: Arithmetic, rows: int, length: int, whole: bool) -> int:
    """What `ReceivedAttention` needs beside a layer's pass: a block of query rows of all heads, as scores and float32.

    `whole` is for the reduction "released", which averages n × n matrices: there are the sum, and a layer's share.
    """
    block = min(ATTENTION_ROWS, length)
    copies = 3 if shape.eager else 1  # soft-capping makes two more
    found = rows * shape.heads * block * length * (SINGLE + copies * arithmetic.matrix)
    found += rows * block * length * arithmetic.matrix  # the mask
    return found + (rows * length * length * 2 * SINGLE if whole else rows * length * SINGLE)


def cache(shape: Shape, arithmetic: Arithmetic, tokens: int) -> int:
    """Keys and values of all layers; while a layer takes up new ones, it has both (transformers' DynamicCache)."""
    return 2 * (shape.layers + 1) * shape.key * tokens * arithmetic.matrix


def answers(shape: Shape, arithmetic: Arithmetic, rows: int) -> int:
    """Logits of the last token of every row, and their copy in float32."""
    return rows * shape.vocabulary * (arithmetic.matrix + SINGLE)


def choices(shape: Shape, arithmetic: Arithmetic, places: int) -> int:
    """Logits of all places where choices are compared: as made, as picked, and as logarithms of probabilities."""
    return places * shape.vocabulary * 3 * arithmetic.matrix


def token_losses(shape: Shape, arithmetic: Arithmetic, tokens: int) -> int:
    """Logits of a block of `TokenLosses`, in float32 too where they are not, and the logarithms of probabilities."""
    copy = 0 if arithmetic.matrix == SINGLE else SINGLE
    most = max(BLOCK, shape.vocabulary)
    return min(most, tokens * shape.vocabulary) * (arithmetic.matrix + copy + SINGLE)
