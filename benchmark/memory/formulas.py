"""How many bytes each part of a model takes: one function for each part, with the source of its formula.

Symbols: T tokens of a pass with padding; h hidden, I intermediate, q heads × width of a head, V vocabulary; e bytes of
a number. The formulas of activations follow what autograd keeps of each operation of a decoder layer with RMS norms,
rotary positions and a gated feed-forward part, as Korthikanti et al. (2022) do for GPT's layer.
`tests/memory/test_formulas.py` compares them with what autograd says that it keeps.
"""

from dataclasses import dataclass
from typing import Literal

from benchmark.memory.shape import Shape
from benchmark.scoring.attention import BLOCK as ATTENTION_ROWS
from benchmark.scoring.losses import BLOCK

SINGLE = 4  # bytes of a float32
ADAM = 2 * SINGLE  # AdamW's two moving averages of a trained parameter (Loshchilov & Hutter, 2019)
NF4_BLOCK = 64  # weights that share a float32 scale in bitsandbytes' 4-bit format (Dettmers et al., 2023)


@dataclass(frozen=True)
class Arithmetic:
    """The number formats in which a model is stored and computed.

    Attributes:
        weight: Bytes of a weight that is not quantized.
        autocast: Whether matrices are multiplied in bfloat16 whatever the weights are.
        quantization: Quantization of the weights of linear layers.
    """

    weight: int
    autocast: bool = False
    quantization: Literal["8bit", "4bit"] | None = None

    @property
    def matrix(self) -> int:
        """Bytes of a number in the results of attention's matrix products."""
        return 2 if self.autocast else self.weight

    @property
    def feed_forward(self) -> int:
        """Bytes of a number in the results of the feed-forward part; bitsandbytes returns the dtype of the input."""
        return self.weight if self.quantization else self.matrix


def weights(shape: Shape, arithmetic: Arithmetic) -> int:
    """A model's weights, tied weights once.

    bitsandbytes stores an 8-bit linear layer as int8 with a float32 scale for every output (LLM.int8(), Dettmers et
    al., 2022), and a 4-bit layer as half a byte per weight with a float32 scale for every 64 weights. Embeddings, head
    and norms are not quantized.
    """
    not_quantized = shape.others * arithmetic.weight
    if arithmetic.quantization == "8bit":
        return not_quantized + shape.linear + shape.outputs * SINGLE
    if arithmetic.quantization == "4bit":
        return not_quantized + shape.linear // 2 + shape.linear // NF4_BLOCK * SINGLE
    return not_quantized + shape.linear * arithmetic.weight


def cast_weights(shape: Shape, arithmetic: Arithmetic) -> int:
    """bfloat16 copies of float32 weights under autocast: each product keeps its copy until its backward pass is done.

    The head's copy is among them also where linear layers are quantized, since peft makes float32 of all other weights.
    """
    if not arithmetic.autocast or arithmetic.weight != SINGLE:
        return 0
    return 2 * (shape.head + (0 if arithmetic.quantization else shape.linear))


def activations(
    shape: Shape, arithmetic: Arithmetic, tokens: int, length: int, rank: int | None, masked: bool = True
) -> int:
    """Activations of all layers that autograd keeps of a forward pass. No gradient checkpointing is used.

    Per layer and token:

    - Norms: the input in float32 and, where the norm is trained, the normed numbers. There are 2 norms of h.
    - Attention: query, key, value and output, and a row of the mask. With a mask, keys and values are repeated for all
      heads: q each. Soft-capped ("eager") attention keeps rows of every head instead of the mask's row: the softmax in
      float32, its copy in e, and the tanh.
    - Feed-forward part: the gate, its activation, and the factor of the gate: 3 I.
    - Inputs of trained matrices. In full fine-tuning these are h, h and I (attention's output is counted above); where
      autocast meets float32 each product keeps a bfloat16 copy of h. With LoRA they are the inputs of the first adapter
      matrix of every linear layer: the same numbers, except in low precision without autocast, where peft casts the
      input to the adapter's float32 for each product, and for quantized layers under autocast, which do likewise.
    - LoRA: `rank` numbers between the two matrices of an adapter.
    - 8-bit layers keep their input: h, h and I (bitsandbytes' MatMul8bitLt).

    Args:
        shape: Shape of the model.
        arithmetic: Number formats of the training.
        tokens: T.
        length: Tokens of a row.
        rank: Rank of LoRA; None for full fine-tuning.
        masked: Whether attention gets a mask (`pack`).
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
    quantized = (2 * h * residual + wide * forward) if arithmetic.quantization == "8bit" and not full else 0
    last_norm = h * (SINGLE + ((residual + matrix) if full else 0))
    return tokens * (layers * (kept + inputs + adapters + quantized) + last_norm)


def loss(shape: Shape, tokens: int, weighted: bool) -> int:
    """Logits and the numbers of the loss when the backward pass begins, in the float32 that transformers casts to.

    These are the result of log_softmax, its gradient and the gradient of the logits: 3 × T × V. A loss that weighs
    tokens is computed from the logits of all positions, and so has one more.
    """
    return tokens * shape.vocabulary * SINGLE * (4 if weighted else 3)


def layer_backward(shape: Shape, arithmetic: Arithmetic, tokens: int) -> int:
    """Temporary memory of one layer's backward pass.

    These are the gradients of its three wide results and, for a quantized layer, the unpacked weight, as in
    bitsandbytes' backward pass.
    """
    unpacked = shape.largest * arithmetic.feed_forward if arithmetic.quantization else 0
    return tokens * (3 * shape.intermediate + 2 * shape.hidden) * arithmetic.feed_forward + unpacked


def layer_forward(shape: Shape, arithmetic: Arithmetic, tokens: int) -> int:
    """Temporary memory of one layer's forward pass without gradients, at its largest.

    These are the residual stream, a norm in float32, and the three wide results of the feed-forward part or the four of
    attention. A quantized layer also has its int32 result, or its unpacked weight.
    """
    wide = max(3 * shape.intermediate, 4 * shape.query) * arithmetic.matrix
    extra = 0
    if arithmetic.quantization == "8bit":
        extra = tokens * shape.intermediate * (SINGLE + 1)
    elif arithmetic.quantization == "4bit":
        extra = shape.largest * arithmetic.matrix
    return tokens * (shape.hidden * (2 * arithmetic.matrix + SINGLE) + wide) + extra


def attention_scores(shape: Shape, arithmetic: Arithmetic, rows: int, length: int, whole: bool) -> int:
    """What `ReceivedAttention` needs beside a layer's pass: a block of query rows of all heads, in e and in float32.

    `whole` is for the reduction "released", which averages n × n matrices: their sum, and the matrix of a layer.
    """
    block = min(ATTENTION_ROWS, length)
    copies = 3 if shape.eager else 1  # soft-capping makes two more
    scores = rows * shape.heads * block * length * (SINGLE + copies * arithmetic.matrix)
    mask = rows * block * length * arithmetic.matrix
    return scores + mask + (rows * length * length * 2 * SINGLE if whole else rows * length * SINGLE)


def key_value_cache(shape: Shape, arithmetic: Arithmetic, tokens: int) -> int:
    """Keys and values of all layers. A layer that adds new ones holds them twice (transformers' DynamicCache)."""
    return 2 * (shape.layers + 1) * shape.key * tokens * arithmetic.matrix


def answer_logits(shape: Shape, arithmetic: Arithmetic, rows: int) -> int:
    """Logits of the last token of every row, and their copy in float32."""
    return rows * shape.vocabulary * (arithmetic.matrix + SINGLE)


def drawing(shape: Shape) -> int:
    """What drawing a token takes of the vocabulary: logits and probabilities in float64, for one row at a time."""
    return 2 * 8 * shape.vocabulary


def choice_logits(shape: Shape, arithmetic: Arithmetic, computed: int, compared: int) -> int:
    """Logits where choices are compared: as computed, then those compared, as selected and as log-probabilities."""
    return (computed + 2 * compared) * shape.vocabulary * arithmetic.matrix


def token_losses(shape: Shape, arithmetic: Arithmetic, tokens: int) -> int:
    """Logits of a block of `TokenLosses`, their float32 copy if they are in another format, and log-probabilities."""
    copy = 0 if arithmetic.matrix == SINGLE else SINGLE
    most = max(BLOCK, shape.vocabulary)
    return min(most, tokens * shape.vocabulary) * (arithmetic.matrix + copy + SINGLE)
