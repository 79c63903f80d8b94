"""Attention scores must equal those of the attention matrices that transformers' eager attention returns."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    BertConfig,
    BertModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from benchmark.core.errors import UserError
from benchmark.data.attention import AttentionPart
from benchmark.scoring import attention_blocks
from benchmark.scoring.attention import ReceivedAttention

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    # Far larger than usual, so that attention is far from uniform and a wrong scale or soft-cap shows.
    "initializer_range": 0.6,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LENGTHS = (23, 9, 1, 17)


def llama() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def gemma2() -> Any:
    return Gemma2ForCausalLM(
        Gemma2Config(**SIZES, attn_logit_softcapping=2.0, query_pre_attn_scalar=5, sliding_window=7)
    )


def gemma3() -> Any:
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    return Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, sliding_window=5, layer_types=layers))


def qwen3() -> Any:
    return Qwen3ForCausalLM(Qwen3Config(**SIZES))


def mistral() -> Any:
    return MistralForCausalLM(MistralConfig(**SIZES, sliding_window=6))


def gpt_oss() -> Any:
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    experts: dict[str, Any] = {"num_local_experts": 2, "num_experts_per_tok": 1}
    model = GptOssForCausalLM(GptOssConfig(**SIZES, **experts, sliding_window=6, layer_types=layers))
    for layer in model.model.layers:
        torch.nn.init.normal_(layer.self_attn.sinks)
    return model


MAKERS = (llama, gemma2, gemma3, qwen3, mistral, gpt_oss)


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    return request.param().eval()


def padded(side: str) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Random texts of LENGTHS: each alone, all as a padded batch, and the batch's mask."""
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(3, SIZES["vocab_size"], (length,), generator=generator) for length in LENGTHS]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_side=side)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True, padding_side=side)
    return rows, ids, mask


def eager(model: Any, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention (layers, heads, n, n) and last hidden state (n, width) of a text, by transformers' eager attention."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        out = model.model(input_ids=row[None], output_attentions=True, use_cache=False)
    return torch.cat(out.attentions), out.last_hidden_state[0]


def column_means(matrices: torch.Tensor, strict: bool) -> torch.Tensor:
    """The definition of "received", computed token by token."""
    length = matrices.shape[-1]
    scores = []
    for key in range(length):
        values = [matrices[:, :, query, key] for query in range(key + strict, length)]
        scores.append(torch.stack(values).mean() if values else torch.tensor(0.0))
    return torch.stack(scores)


def scored(
    model: Any,
    mode: str,
    ids: torch.Tensor,
    mask: torch.Tensor | None,
    block: int = 256,
    part: AttentionPart | None = None,
) -> torch.Tensor:
    with torch.inference_mode(), ReceivedAttention(model, mode, block, part) as reader:
        model.model(input_ids=ids, attention_mask=mask, use_cache=False)
        return reader.scores()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("mode", ["received", "received_strict"])
def test_scores_of_padded_batches_equal_those_of_attention_matrices(model: Any, mode: str, side: str) -> None:
    rows, ids, mask = padded(side)
    scores = scored(model, mode, ids, mask)
    for row, real, got in zip(rows, mask.bool(), scores, strict=True):
        expected = column_means(eager(model, row)[0], strict=mode == "received_strict")
        assert_close(got[real], expected, atol=1e-5, rtol=0)
        assert not got[~real].any()


def test_the_output_of_the_model_equals_that_of_its_own_attention(model: Any) -> None:
    rows, ids, mask = padded("right")
    with torch.inference_mode(), ReceivedAttention(model):
        hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    for row, got in zip(rows, hidden, strict=True):
        assert_close(got[: len(row)], eager(model, row)[1], atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("block", [4, 256])
@pytest.mark.parametrize("side", ["right", "left"])
def test_watched_queries_give_rows_of_attention_matrices_and_do_not_change_the_scores(
    model: Any, side: str, block: int
) -> None:
    rows, ids, mask = padded(side)
    shifts = [0 if side == "right" else ids.shape[1] - len(row) for row in rows]
    queries = [[22, 3, 3], [0, 8], [], [16]]  # in any order, twice, none; the first and the last
    with torch.inference_mode(), ReceivedAttention(model, block=block) as reader:
        reader.watch([[shift + q for q in of_text] for shift, of_text in zip(shifts, queries, strict=True)])
        model.model(input_ids=ids, attention_mask=mask, use_cache=False)
        watched, scores = iter(reader.rows()), reader.scores()
    for row, shift, of_text in zip(rows, shifts, queries, strict=True):
        matrices = eager(model, row)[0]
        for query in of_text:
            got = next(watched)
            assert_close(got[shift : shift + len(row)], matrices[:, :, query].mean(dim=(0, 1)), atol=1e-5, rtol=0)
            assert not got[:shift].any()
            assert not got[shift + query + 1 :].any()
    assert next(watched, None) is None
    assert torch.equal(scores, scored(model, "received", ids, mask, block))


@pytest.mark.parametrize("mode", ["received", "received_strict", "released"])
@pytest.mark.parametrize("block", [1, 4, 22, 23])
def test_the_block_size_does_not_matter(model: Any, mode: str, block: int) -> None:
    _, ids, mask = padded("right")
    assert_close(scored(model, mode, ids, mask, block), scored(model, mode, ids, mask), atol=1e-6, rtol=0)


class LargestTensor(TorchDispatchMode):
    """While this is open, records the number of elements of the largest tensor that an operation returned."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


def test_memory_grows_linearly_with_the_length_of_a_text(model: Any) -> None:
    """The largest tensor is a block of attention: heads × block × n."""
    length, block = 512, 8
    model.config.max_position_embeddings = length
    ids = torch.randint(3, SIZES["vocab_size"], (1, length), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), ReceivedAttention(model, block=block) as reader, LargestTensor() as seen:
        model.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        reader.scores()
    assert seen.elements < length * length / 4
    model.set_attn_implementation("eager")
    with torch.inference_mode(), LargestTensor() as seen:
        model.model(input_ids=ids, use_cache=False)
    assert seen.elements >= 4 * length * length


def released_formula(matrices: torch.Tensor) -> torch.Tensor:
    """The released code's scores of a text: sums of rows, not of columns, in the dtype of the matrices."""
    lower = matrices.mean(dim=(0, 1)).tril()
    divisor = torch.tensor([float(index + 1) for index in range(lower.shape[0])]).to(lower.dtype)
    return (lower.sum(dim=1) / divisor).float()


# gpt-oss is left out: with attention sinks, rows do not sum to 1. `digits` counts units of the last digit; in bfloat16,
# sums are rounded so coarsely that the order of additions hardly shows.
@pytest.mark.parametrize("model", MAKERS[:-1], indirect=True, ids=lambda make: make.__name__)
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 4), (torch.bfloat16, 1)])
def test_released_scores_depend_on_the_position_alone(model: Any, dtype: torch.dtype, digits: int) -> None:
    model.to(dtype)
    rows, ids, mask = padded("right")
    for row, got in zip(rows, scored(model, "released", ids, mask), strict=True):
        step = torch.finfo(dtype).eps
        assert_close(got[: len(row)], 1 / torch.arange(1, len(row) + 1), rtol=2 * step, atol=0)
        assert_close(got[: len(row)], released_formula(eager(model, row)[0]), rtol=digits * step, atol=0)
        assert not got[len(row) :].any()


def test_released_scores_contain_rounding_noise() -> None:
    torch.manual_seed(0)
    _, ids, mask = padded("left")
    got = scored(llama(), "released", ids, mask)[0]
    assert (got != 1 / torch.arange(1, len(got) + 1)).any()


def test_two_layers_of_three_tokens_have_the_scores_computed_by_hand() -> None:
    reader = ReceivedAttention(llama())
    first = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.2, 0.6]])
    second = torch.tensor([[1.0, 0.0, 0.0], [0.1, 0.9, 0.0], [0.4, 0.4, 0.2]])
    for layer in (first, second):
        reader.add(layer[None, None], start=0, length=3, dtype=torch.float32)
    # Token 0: (1 + .5 + .2 + 1 + .1 + .4) / 6; token 1: (.5 + .2 + .9 + .4) / 4; token 2: (.6 + .2) / 2.
    assert_close(reader.scores(), torch.tensor([[3.2 / 6, 2.0 / 4, 0.8 / 2]]))


def test_a_query_that_cannot_see_a_token_counts_with_zero() -> None:
    """With equal keys and a window of 2, every query but the first attends half to itself, half to its predecessor."""
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(**{**SIZES, "num_hidden_layers": 1}, sliding_window=2))
    torch.nn.init.zeros_(model.model.layers[0].self_attn.k_proj.weight)
    scores = scored(model, "received", torch.tensor([[5, 6, 7, 8]]), None)
    assert_close(scores, torch.tensor([[1.5 / 4, 1 / 3, 1 / 2, 1 / 2]]))


def test_the_scores_are_those_of_the_last_pass() -> None:
    torch.manual_seed(0)
    model = llama().eval()
    first, last = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[9, 8, 7]])
    with torch.no_grad(), ReceivedAttention(model) as reader:
        model(input_ids=first)
        model(input_ids=last)
        assert_close(reader.scores(), scored(model, "received", last, None))


@pytest.mark.parametrize("name", ["sdpa", "eager"])
def test_the_attention_implementation_is_restored_even_after_an_exception(name: str) -> None:
    model = llama()
    model.set_attn_implementation(name)
    with ReceivedAttention(model):
        assert model.config._attn_implementation == attention_blocks.NAME
    assert model.config._attn_implementation == name
    with pytest.raises(IndexError), ReceivedAttention(model):
        model(input_ids=torch.tensor([[SIZES["vocab_size"]]]))
    assert model.config._attn_implementation == name
    assert not model.model._forward_pre_hooks


def test_a_bidirectional_model_is_refused() -> None:
    config = BertConfig(vocab_size=97, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    model = BertModel(config)
    with pytest.raises(UserError, match="only causal attention"), ReceivedAttention(model):
        model(input_ids=torch.tensor([[5, 6, 7]]))


def test_scores_without_readable_attention_are_refused() -> None:
    with pytest.raises(UserError, match="LlamaModel: this architecture"), ReceivedAttention(llama()) as reader:
        reader.scores()


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="sideways"):
        ReceivedAttention(llama(), "sideways")


# --- a part of the attention

PARTS = {
    "upper half": (AttentionPart(depth=(0.5, 1.0)), [(1, h) for h in range(4)] + [(2, h) for h in range(4)]),
    "first third": (AttentionPart(depth=(0.0, 0.34)), [(0, h) for h in range(4)]),
    "heads": (AttentionPart(heads=((0, 1), (2, 0), (2, 3))), [(0, 1), (2, 0), (2, 3)]),
    "heads before depth": (AttentionPart(depth=(0.9, 0.9), heads=((1, 2),)), [(1, 2)]),
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("mode", ["received", "received_strict"])
def test_scores_of_a_part_equal_those_of_its_attention_matrices(model: Any, mode: str, name: str) -> None:
    part, heads = PARTS[name]
    rows, ids, mask = padded("right")
    scores = scored(model, mode, ids, mask, 4, part)
    for row, got in zip(rows, scores, strict=True):
        stored = eager(model, row)[0]  # layers, heads, n, n
        chosen = torch.stack([stored[layer, head] for layer, head in heads])[:, None]
        assert_close(got[: len(row)], column_means(chosen, mode == "received_strict"), atol=1e-5, rtol=0)


def test_a_part_with_every_head_has_the_scores_of_the_whole() -> None:
    torch.manual_seed(0)
    model, (_, ids, mask) = llama().eval(), padded("right")
    every = AttentionPart(heads=tuple((layer, head) for layer in range(3) for head in range(4)))
    assert_close(scored(model, "received", ids, mask, part=every), scored(model, "received", ids, mask))
    assert torch.equal(scored(model, "received", ids, mask, part=AttentionPart()), scored(model, "received", ids, mask))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (AttentionPart(depth=(0.4, 0.45)), "from depth 0.4 to 0.45: has none of the 3 layers of LlamaModel; widen"),
        (AttentionPart(heads=((0, 0), (3, 1))), "attention heads L3H1: not in this LlamaModel"),
        (AttentionPart(heads=((0, 0), (1, 4), (2, 9))), "attention heads L1H4 L2H9: not in this LlamaModel"),
    ],
)
def test_a_part_that_the_model_lacks_is_refused_in_one_line(part: AttentionPart, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        scored(llama(), "received", torch.tensor([[5, 6, 7]]), None, part=part)
    assert "\n" not in str(error.value)
